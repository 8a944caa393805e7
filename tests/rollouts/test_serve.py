import pytest

from drpt.rollouts.serve import _parser as parser
from drpt.rollouts.serve import main, start_command, vllm_command
from drpt.rollouts.spec import CPU_BLOCK_TOKENS


def _command(tmp_path, *words, **environment):
    options = parser().parse_args(["--model", str(tmp_path), "--max-model-len", "64", *words])
    return vllm_command(options, environment), environment


def test_it_listens_on_this_machine_and_offers_what_syncing_needs(tmp_path):
    command, environment = _command(tmp_path)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--logprobs-mode") + 1] == "processed_logprobs"
    assert command[command.index("--generation-config") + 1] == "vllm"
    assert {"--enable-scale-out", "--worker-extension-cls", "--middleware"} <= set(command)
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"


def test_the_token_travels_in_the_environment_alone(tmp_path):
    command, environment = _command(tmp_path, "--token-variable", "MINE", MINE="secret")
    assert environment["VLLM_API_KEY"] == "secret"
    assert not any("secret" in word for word in command)


def test_other_machines_reach_it_only_with_a_token(tmp_path):
    with pytest.raises(ValueError, match=r"--host=0\.0\.0\.0 lets other machines reach.*--token-variable"):
        _command(tmp_path, "--host", "0.0.0.0")
    _command(tmp_path, "--host", "0.0.0.0", "--token-variable", "MINE", MINE="secret")


def test_a_token_that_is_not_set_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="--token-variable=MINE: this environment variable is not set"):
        _command(tmp_path, "--token-variable", "MINE")


def test_a_token_that_nobody_named_is_not_demanded(tmp_path):
    _, environment = _command(tmp_path, VLLM_API_KEY="left over")
    assert "VLLM_API_KEY" not in environment


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
    assert "is no folder" in capsys.readouterr().err


def test_the_command_we_recommend_is_one_we_understand(tmp_path):
    words = start_command(port=8001, dtype="bfloat16", max_model_len=99, host="10.0.0.2", token_variable="MINE").split()
    assert words[:3] == ["python", "-m", "drpt.rollouts.serve"]
    options = parser().parse_args(words[3:])
    assert (options.port, options.dtype, options.max_model_len, options.host) == (8001, "bfloat16", 99, "10.0.0.2")
    assert options.token_variable == "MINE"
