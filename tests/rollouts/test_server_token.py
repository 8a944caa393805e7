import socket

import pytest

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.server_token import find_token, forget_token, leave_token, token_folder


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def _elsewhere(monkeypatch, name="another"):
    monkeypatch.setattr(socket, "gethostname", lambda: name)


def test_a_server_here_is_found_by_any_loopback_address_and_its_port():
    left = leave_token("127.0.0.1", 8000)
    assert find_token(["127.0.0.1"], 8000) == find_token(["::1", "127.0.0.1"], 8000) == left
    assert find_token(["127.0.0.1"], 8001) is None
    assert find_token(["127.0.0.1"], 800) is None
    assert find_token(["10.0.0.2"], 8000) is None


def test_a_folder_that_machines_share_tells_their_servers_apart(monkeypatch):
    here = leave_token("10.0.0.2", 8000)
    _elsewhere(monkeypatch)
    assert find_token(["127.0.0.1"], 8000) is None, "a tunnel of this machine leads who knows where"
    assert find_token(["10.0.0.2"], 8000) == here
    there = leave_token("10.0.0.3", 8000)
    assert find_token(["10.0.0.3"], 8000) == find_token(["127.0.0.1"], 8000) == there
    assert find_token(["10.0.0.2"], 8000) == here
    forget_token(8000)
    assert find_token(["10.0.0.3"], 8000) is None
    assert find_token(["10.0.0.2"], 8000) == here


def test_a_new_server_at_the_same_port_replaces_the_token():
    first, second = leave_token("127.0.0.1", 8000), leave_token("127.0.0.1", 8000)
    assert first.token != second.token
    assert find_token(["127.0.0.1"], 8000) == second
    assert len(list(token_folder().iterdir())) == 2


@pytest.mark.parametrize("suffix", [".token", ".json"])
def test_a_file_that_others_can_read_is_refused(suffix):
    path = leave_token("127.0.0.1", 8000).path.with_suffix(suffix)
    path.chmod(0o640)
    with pytest.raises(RolloutError, match=r"other users can read or change it\. Remove it"):
        find_token(["127.0.0.1"], 8000)


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".json", "{", "is damaged: remove it"),
        (".json", "[]", "is damaged: remove it"),
        (".json", '{"machine": 1, "addresses": 2}', "is damaged: remove it"),
        (".token", "", "must be printable ASCII"),
        (".token", "two words", "must be printable ASCII"),
    ],
)
def test_a_damaged_file_is_named(suffix, text, message):
    path = leave_token("127.0.0.1", 8000).path.with_suffix(suffix)
    path.write_text(text)
    with pytest.raises(RolloutError, match=message) as caught:
        find_token(["127.0.0.1"], 8000)
    assert str(path) in str(caught.value)


def test_a_missing_secret_is_named():
    leave_token("127.0.0.1", 8000).path.unlink()
    with pytest.raises(
        RolloutError, match=r"\.token, the token of one of your servers, cannot be read .*: start the server again"
    ):
        find_token(["127.0.0.1"], 8000)


def test_without_a_state_folder_of_ones_own_it_is_the_usual_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert token_folder() == tmp_path / ".local" / "state" / "drpt" / "servers"
