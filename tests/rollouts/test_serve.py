import socket

import pytest

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.serve import _parser as parser
from drpt.rollouts.serve import main, require_free_port, set_token, start_command, vllm_command
from drpt.rollouts.server_token import leave_token
from drpt.rollouts.spec import CPU_BLOCK_TOKENS


def _command(tmp_path, *words, **environment):
    options = parser().parse_args(["--model", str(tmp_path), "--max-model-len", "64", *words])
    return vllm_command(options, environment), environment


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """The user's own folder of tokens."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("DRPT_SERVER_TOKEN", raising=False)
    return tmp_path / "state" / "drpt" / "servers"


def _token(tmp_path, *words, **environment):
    """What is said of the token, and what the server sees."""
    options = parser().parse_args(["--model", str(tmp_path), "--max-model-len", "64", *words])
    return set_token(options, environment), environment


def test_it_listens_on_this_machine_and_offers_what_syncing_needs(tmp_path):
    command, environment = _command(tmp_path)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--logprobs-mode") + 1] == "processed_logprobs"
    assert command[command.index("--generation-config") + 1] == "vllm"
    assert {"--enable-scale-out", "--worker-extension-cls", "--middleware"} <= set(command)
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"


def test_a_token_is_made_and_left_for_its_user_alone(tmp_path, state):
    said, environment = _token(tmp_path, VLLM_API_KEY="left over")
    token = environment["VLLM_API_KEY"]
    assert len(token) >= 40
    (file,) = state.glob("*.token")
    assert file.read_text() == token
    assert {path.stat().st_mode & 0o777 for path in state.iterdir()} == {0o600}
    assert state.stat().st_mode & 0o777 == 0o700
    assert str(file) in said
    assert 'export DRPT_SERVER_TOKEN="$(ssh ' in said
    assert token not in said


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_every_server_has_a_token_of_its_own_wherever_it_listens(tmp_path, host):
    tokens = {_token(tmp_path, "--host", host, "--port", port)[1]["VLLM_API_KEY"] for port in ("8000", "8000", "8001")}
    assert len(tokens) == 3


@pytest.mark.parametrize("words", [["--token-variable", "MINE"], []])
def test_a_named_token_is_taken_and_the_one_left_before_is_removed(tmp_path, state, words):
    _token(tmp_path)
    name = "MINE" if words else "DRPT_SERVER_TOKEN"
    said, environment = _token(tmp_path, *words, **{name: "secret"})
    assert environment["VLLM_API_KEY"] == "secret"
    assert name in said
    assert "secret" not in said
    assert list(state.iterdir()) == []


def test_the_token_travels_in_the_environment_alone(tmp_path):
    command, _ = _command(tmp_path, "--token-variable", "MINE", MINE="secret")
    assert not any("secret" in word for word in command)


def test_a_token_that_is_not_set_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="--token-variable=MINE: this environment variable is not set"):
        _token(tmp_path, "--token-variable", "MINE")


def test_a_token_that_no_header_can_carry_is_an_error(tmp_path):
    with pytest.raises(RolloutError, match="printable ASCII"):
        _token(tmp_path, "--token-variable", "MINE", MINE="two words")


def test_a_token_that_cannot_be_left_is_an_error_with_the_way_out(tmp_path, state):
    state.parent.mkdir(parents=True)
    state.write_text("in the way")
    with pytest.raises(
        ValueError, match=r"token file cannot be written .*DRPT_SERVER_TOKEN to a secret, here and for the runs"
    ):
        _token(tmp_path)


def test_a_host_that_is_not_known_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"--host=no\.such\.host\.invalid cannot be resolved"):
        _command(tmp_path, "--host", "no.such.host.invalid")


def test_options_of_vllm_cannot_change_the_address(tmp_path):
    command, _ = _command(tmp_path, "--", "--host", "0.0.0.0", "--seed", "3")
    assert command[len(command) - 1 - command[::-1].index("--host") + 1] == "127.0.0.1"
    assert "--seed" in command


def test_blocks_are_short_on_the_cpu_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr("drpt.rollouts.serve._is_cpu_wheel", lambda: True)
    command, _ = _command(tmp_path)
    assert command[command.index("--block-size") + 1] == str(CPU_BLOCK_TOKENS)
    command, _ = _command(tmp_path, "--", "--block-size", "64")
    assert command[len(command) - 1 - command[::-1].index("--block-size") + 1] == "64"
    monkeypatch.setattr("drpt.rollouts.serve._is_cpu_wheel", lambda: False)
    command, _ = _command(tmp_path)
    assert "--block-size" not in command


def test_a_model_that_is_no_folder_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--model", str(tmp_path / "none"), "--max-model-len", "64"])
    assert "is not a folder" in capsys.readouterr().err


def test_the_command_we_recommend_is_one_we_understand(tmp_path):
    words = start_command(port=8001, dtype="bfloat16", max_model_len=99, host="10.0.0.2", token_variable="MINE").split()
    assert words[:3] == ["python", "-m", "drpt.rollouts.serve"]
    options = parser().parse_args(words[3:])
    assert (options.port, options.dtype, options.max_model_len, options.host) == (8001, "bfloat16", 99, "10.0.0.2")
    assert options.token_variable == "MINE"


def test_a_server_at_the_same_port_keeps_its_token(tmp_path, state, capsys):
    left = leave_token("127.0.0.1", 8123)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        mine = leave_token("127.0.0.1", port)
        with pytest.raises(SystemExit):
            main(["--model", str(tmp_path), "--max-model-len", "64", "--port", str(port)])
        assert f"--port={port} of --host=127.0.0.1 cannot be used (another process listens there)" in capsys.readouterr().err
        assert mine.path.read_text() == mine.token
    assert left.path.read_text() == left.token
    require_free_port("127.0.0.1", port)
