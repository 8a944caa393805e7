import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drpt.rollouts.errors import RolloutError
from drpt.rollouts.server_connection import ServerConnection
from drpt.rollouts.server_token import leave_token

TOKEN = "sesame-4711"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/wait":
            self.server.is_waiting.set()
            self.server.may_answer.wait(20)
        token = self.headers.get("Authorization", "none")
        status, text = {
            "/echo": (200, f'{{"token": "{token}"}}'),
            "/fault": (500, f"broken by {token} " + "x" * 1000),
            "/text": (200, "hello"),
            "/empty": (200, ""),
            "/refuse": (401, "no"),
        }.get(self.path, (200, "{}"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("DRPT_SERVER_TOKEN", raising=False)


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.is_waiting, server.may_answer = threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.may_answer.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connection(server, monkeypatch):
    monkeypatch.setenv("SESAME", TOKEN)
    return ServerConnection(f"http://127.0.0.1:{server.server_port}", "SESAME", "Start it.")


def test_the_token_is_sent_and_json_comes_back(connection):
    assert connection.ask("GET", "/echo", seconds=5) == {"token": f"Bearer {TOKEN}"}
    assert connection.ask("GET", "/empty", seconds=5) is None


def test_errors_name_the_server_the_request_and_the_way_out_but_not_the_token(connection):
    with pytest.raises(RolloutError) as caught:
        connection.ask("GET", "/fault", seconds=5)
    text = str(caught.value)
    assert text.startswith(f"{connection.url}, asked for GET /fault, answered 500: broken by Bearer ***")
    assert text.endswith("…\nStart it.")
    assert len(text) < 600
    assert TOKEN not in text + repr(connection) + str(vars(caught.value))


def test_a_refused_token_names_its_variable(connection):
    with pytest.raises(RolloutError, match="Its token is not the one in SESAME"):
        connection.ask("GET", "/refuse", seconds=5)


def test_a_missing_token_names_both_ways_to_it(server):
    with pytest.raises(RolloutError, match=r"none was found\. .*servers; .*environment variable DRPT_SERVER_TOKEN"):
        ServerConnection(f"http://127.0.0.1:{server.server_port}", None, "").ask("GET", "/refuse", seconds=5)


def test_what_a_server_left_is_found_without_being_told(server):
    left = leave_token("127.0.0.1", server.server_port)
    for host in ("127.0.0.1", "localhost"):
        connection = ServerConnection(f"http://{host}:{server.server_port}", None, "Start it.")
        assert connection.ask("GET", "/echo", seconds=5) == {"token": f"Bearer {left.token}"}
        with pytest.raises(RolloutError, match=f"Its token is not the one in {left.path}") as caught:
            connection.ask("GET", "/refuse", seconds=5)
        assert left.token not in str(caught.value) + repr(left) + repr(connection)


def test_the_environment_goes_before_what_a_server_left(server, monkeypatch):
    leave_token("127.0.0.1", server.server_port)
    monkeypatch.setenv("DRPT_SERVER_TOKEN", TOKEN)
    connection = ServerConnection(f"http://127.0.0.1:{server.server_port}", None, "")
    assert connection.ask("GET", "/echo", seconds=5) == {"token": f"Bearer {TOKEN}"}


def test_an_answer_that_is_no_json_is_an_error(connection):
    with pytest.raises(RolloutError, match="gave an answer that is not JSON: hello"):
        connection.ask("GET", "/text", seconds=5)


def test_silence_ends_in_an_error(connection):
    with pytest.raises(RolloutError, match="gave no answer"):
        connection.ask("GET", "/wait", seconds=0.2)


def test_stopping_ends_a_request_that_waits(server, connection):
    caught = []

    def ask():
        try:
            connection.ask("GET", "/wait", seconds=None)
        except RolloutError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert server.is_waiting.wait(5)
    connection.stop()
    thread.join(5)
    assert "gave no answer" in str(caught[0])
    with pytest.raises(RolloutError, match="another request has failed"):
        connection.ask("GET", "/echo", seconds=5)
    connection.restart()
    connection.ask("GET", "/echo", seconds=5)


@pytest.mark.parametrize("url", ["http://8.8.8.8:80", "https://8.8.8.8:443", "http://[2001:4860:4860::8888]:80"])
def test_public_addresses_are_refused(url):
    with pytest.raises(RolloutError, match=r"neither this machine nor a private network.*ssh -L"):
        ServerConnection(url, None, "")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1:8000", "http://127.0.0.1", "http://127.0.0.1:x", "http://a:1/v1"]
)
def test_other_forms_of_address_are_refused(url):
    with pytest.raises(RolloutError, match="must have the form http://HOST:PORT"):
        ServerConnection(url, None, "")


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(RolloutError, match="must not contain a user name or password") as caught:
        ServerConnection(f"http://me:{TOKEN}@127.0.0.1:8000", None, "")
    assert TOKEN not in str(caught.value)


def test_an_unset_token_is_an_error(monkeypatch):
    monkeypatch.delenv("SESAME", raising=False)
    with pytest.raises(RolloutError, match=r"rollout\.token_variable=SESAME: this environment variable is not set"):
        ServerConnection("http://127.0.0.1:8000", "SESAME", "")


def test_a_token_with_a_line_end_is_an_error_without_it(monkeypatch):
    monkeypatch.setenv("SESAME", f"{TOKEN}\n")
    with pytest.raises(RolloutError, match="printable ASCII") as caught:
        ServerConnection("http://127.0.0.1:8000", "SESAME", "")
    assert TOKEN not in str(caught.value)
