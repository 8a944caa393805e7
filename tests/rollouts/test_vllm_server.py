import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from drpt.models.tiny import byte_tokenizer, tiny_model
from drpt.rollouts.errors import RolloutError
from drpt.rollouts.protocol import Sampling
from drpt.rollouts.server_token import find_token
from drpt.rollouts.vllm_server import VllmServerRollout
from tests.app.test_rlvr import TINY, wait_for_step

CONTEXT = 512
EOS = byte_tokenizer().eos_token_id
LONG = [(7 * i) % 250 for i in range(200)]  # several blocks, so that their cache is used again
PROMPTS = [[5, 6, 7], [100], LONG]
START_SECONDS = 400


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _sampling(**changes):
    values = {"num_responses": 2, "max_tokens": 24, "temperature": 0.7, "seed": 11, "stop_token_ids": (EOS,)}
    return Sampling(**(values | changes))


def _client(url, **changes):
    values = {"token_variable": None, "weights_folder": None, "max_model_len": CONTEXT, "dtype": "float32"}
    return VllmServerRollout(url=url, **(values | changes))


@pytest.fixture(autouse=True, scope="module")
def _state(tmp_path_factory):
    """Where servers of these tests leave their tokens, and their clients find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("DRPT_SERVER_TOKEN", raising=False)
        yield


def _token_of(server):
    return find_token(["127.0.0.1"], server.port).token


# --- without a server


def test_a_missing_server_is_named_with_the_command_that_starts_one():
    port = _free_port()
    with pytest.raises(RolloutError) as caught:
        _client(f"http://127.0.0.1:{port}")
    text = str(caught.value)
    assert f"http://127.0.0.1:{port}, asked for GET /health, cannot be reached" in text
    assert (
        f"python -m drpt.rollouts.serve --model FOLDER --host 127.0.0.1 --port {port} --dtype float32 --max-model-len {CONTEXT}"
    ) in text


def test_a_public_address_is_refused():
    with pytest.raises(RolloutError, match="neither this machine nor a private network"):
        _client("http://8.8.8.8:8000")


def test_a_server_elsewhere_needs_a_shared_folder():
    with pytest.raises(RolloutError, match=r"rollout\.weights_folder must be a folder"):
        _client("http://10.255.255.1:8000")


# --- with a real one


@contextmanager
def _running_server(folder, port):
    tiny_model().save_pretrained(folder / "model")
    byte_tokenizer().save_pretrained(folder / "model")
    words = ["--model", str(folder / "model"), "--port", str(port), "--max-model-len", str(CONTEXT)]
    words += ["--kv-cache-mib", "128"]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "drpt.rollouts.serve", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its children outlive a killed server; one signal to the session reaches all
        )
    server = SimpleNamespace(url=f"http://127.0.0.1:{port}", port=port, process=process, log=log)
    try:
        _wait_for(server)
        yield server
    finally:
        _kill(server)


def _kill(server):
    with suppress(ProcessLookupError):  # it was killed before
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("vllm", reason="vLLM is not installed", exc_type=ImportError)
    with _running_server(tmp_path_factory.mktemp("server"), _free_port()) as server:
        yield server


def _wait_for(server):
    for _ in range(START_SECONDS):
        try:
            _ask(server, "/health", token=_token_of(server))
            return
        except (AttributeError, OSError):  # no token is left yet, or nobody listens
            assert server.process.poll() is None, server.log.read_text()[-3000:]
            time.sleep(1)
    pytest.fail(f"no server after {START_SECONDS} s: {server.log.read_text()[-3000:]}")


def _ask(server, path, *, token, method="GET"):
    """The answer's status."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{server.url}{path}", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def rollout(server):
    rollout = _client(server.url)
    rollout.sync(tiny_model().named_parameters())
    yield rollout
    rollout.close()


def _perturbed(scale=0.3):
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * parameter.std() * torch.randn_like(parameter))
    return model


def _reference_logprobs(model, prompt, response, temperature):
    ids = torch.tensor([*prompt, *response.token_ids])
    with torch.no_grad():
        logits = model(ids[None]).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, ids[len(prompt) :, None])[:, 0]


def _assert_same_logprobs(model, rollout, sampling):
    for prompt, responses in zip(PROMPTS, rollout.generate(PROMPTS, sampling), strict=True):
        for response in responses:
            expected = _reference_logprobs(model, prompt, response, sampling.temperature)
            # Float32 kernels of two libraries, through two layers.
            torch.testing.assert_close(torch.tensor(response.logprobs), expected, atol=1e-4, rtol=0)


def _greedy(model, prompt, max_tokens):
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_tokens, eos_token_id=EOS)
    return tuple(out[0, len(prompt) :].tolist())


real = [pytest.mark.vllm, pytest.mark.slow]


class TestRealServer:
    pytestmark = real

    def test_a_fresh_server_answers_with_the_weights_of_its_folder(self, server):
        rollout = _client(server.url)
        _assert_same_logprobs(tiny_model(), rollout, _sampling())
        rollout.close()

    def test_the_most_likely_tokens_are_those_of_transformers(self, rollout):
        answers = rollout.generate(PROMPTS, _sampling(num_responses=2, temperature=0.0))
        model = tiny_model()
        assert [answer[0].token_ids for answer in answers] == [_greedy(model, prompt, 24) for prompt in PROMPTS]

    def test_after_a_sync_logprobs_are_those_of_the_new_weights(self, server, rollout, tmp_path):
        rollout.generate(PROMPTS, _sampling())  # fills the cache that the sync must forget
        for client in (rollout, _client(server.url, weights_folder=str(tmp_path / "shared"))):
            model = _perturbed()
            client.sync(model.named_parameters())
            _assert_same_logprobs(model, client, _sampling())
            _assert_same_logprobs(model, client, _sampling(num_responses=3, temperature=1.3, seed=5))
        assert not list((tmp_path / "shared").iterdir())

    def test_the_same_seed_draws_the_same_and_another_draws_others(self, rollout):
        first, again = rollout.generate(PROMPTS, _sampling()), rollout.generate(PROMPTS, _sampling())
        assert first == again
        assert first != rollout.generate(PROMPTS, _sampling(seed=12))

    def test_seeds_are_spaced_by_the_number_of_responses(self, rollout):
        pair = rollout.generate([[5, 6, 7], [5, 6, 7]], _sampling(num_responses=3))
        flat = [response for responses in pair for response in responses]
        alone = [rollout.generate([[5, 6, 7]], _sampling(num_responses=1, seed=11 + i))[0][0] for i in range(6)]
        assert [response.token_ids for response in flat] == [response.token_ids for response in alone]

    def test_a_stop_token_ends_a_response_and_is_part_of_it(self, rollout):
        free = rollout.generate([LONG], _sampling(num_responses=1, stop_token_ids=()))[0][0]
        assert len(free.token_ids) == 24
        assert not free.is_finished
        stop = free.token_ids[5]
        stopped = rollout.generate([LONG], _sampling(num_responses=1, stop_token_ids=(stop,)))[0][0]
        assert stopped.token_ids == free.token_ids[: free.token_ids.index(stop) + 1]
        assert stopped.is_finished

    def test_many_prompts_come_back_in_order(self, rollout):
        prompts = [[i, i + 1] for i in range(40)]
        together = rollout.generate(prompts, _sampling(num_responses=1, temperature=0.0, max_tokens=8))
        alone = rollout.generate([prompts[33]], _sampling(num_responses=1, temperature=0.0, max_tokens=8))
        assert together[33][0].token_ids == alone[0][0].token_ids
        assert rollout.generate([], _sampling()) == []

    def test_nothing_of_ours_shows_the_token(self, server, rollout):
        said = server.log.read_text()
        assert "Runs of this user find it automatically in " in said
        assert _token_of(server) not in repr(rollout) + str(rollout) + said
        (command,) = {Path(f"/proc/{server.process.pid}/cmdline").read_bytes()}
        assert _token_of(server).encode() not in command

    @pytest.mark.parametrize("token", [None, "", "open-0815"])
    def test_nobody_without_the_token_changes_weights_or_asks_workers(self, server, token):
        posted = ("/collective_rpc", "/update_weight_version", "/pause", "/reset_prefix_cache", "/inference/v1/generate")
        assert [_ask(server, path, token=token, method="POST") for path in posted] == [401] * len(posted)
        looked_at = ("/weight_info", "/health", "/version", "/metrics", "/openapi.json")
        assert [_ask(server, path, token=token) for path in looked_at] == [401] * len(looked_at)

    def test_a_wrong_token_is_refused_without_being_shown(self, server, monkeypatch):
        monkeypatch.setenv("DRPT_TEST_TOKEN", "open-0815")
        with pytest.raises(RolloutError, match=r"answered 401.*\nIts token is not the one in DRPT_TEST_TOKEN") as caught:
            _client(server.url, token_variable="DRPT_TEST_TOKEN")
        assert "0815" not in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [({"dtype": "bfloat16"}, "computes in float32, but"), ({"max_model_len": 513}, "takes 512 tokens, but .* need 513")],
    )
    def test_a_server_that_does_not_fit_is_refused(self, server, changes, message):
        with pytest.raises(RolloutError, match=message):
            _client(server.url, **changes)

    @pytest.mark.parametrize("prompt", [[], [1] * 489, [300]])
    def test_a_prompt_that_does_not_fit_is_an_error_and_the_next_call_works(self, rollout, prompt):
        with pytest.raises(RolloutError, match=r"at least 1 and at most 488|Token id 300 is out of vocabulary"):
            rollout.generate([[1], prompt, [2]], _sampling())
        assert len(rollout.generate([[1]], _sampling())) == 1

    def test_another_models_weights_are_refused_and_the_old_ones_stay(self, rollout):
        before = rollout.generate(PROMPTS, _sampling())
        with pytest.raises(RolloutError, match=r"server's model is not the policy's.*shape \[9, 64\]"):
            rollout.sync([("model.embed_tokens.weight", torch.ones(9, 64))])
        assert rollout.generate(PROMPTS, _sampling()) == before

    def test_a_sync_by_another_client_is_noticed(self, server, rollout):
        other = _client(server.url)
        with pytest.raises(RolloutError, match="does not have the policy's weights: sync before"):
            other.generate(PROMPTS, _sampling())
        other.sync(_perturbed().named_parameters())
        with pytest.raises(RolloutError, match="drew from other weights"):
            rollout.generate(PROMPTS, _sampling())
        other.close()

    def test_a_paused_server_is_reported_instead_of_waited_for(self, rollout):
        rollout._post("/pause")
        with pytest.raises(RolloutError, match="is paused: another run is syncing it"):
            rollout.generate(PROMPTS, _sampling())
        rollout.sync(tiny_model().named_parameters())
        assert len(rollout.generate(PROMPTS, _sampling())) == len(PROMPTS)

    def test_a_closed_client_says_so(self, server):
        rollout = _client(server.url)
        rollout.close()
        rollout.close()
        with pytest.raises(RolloutError, match="is closed"):
            rollout.generate(PROMPTS, _sampling())


@pytest.mark.long
def test_a_killed_server_stops_a_run_clearly_and_the_run_goes_on_with_another(server, tmp_path):  # the last: it ends the server
    words = [*TINY, "rollout=vllm_server", f"rollout.url={server.url}"]
    words += ["rollout.num_prompts=3", "rollout.num_responses=4", "rollout.max_tokens=6", "trainer.max_steps=9", "sweep=long"]
    code = "from drpt.app.cli import main; main()"
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    run = subprocess.Popen([sys.executable, "-c", code, "train", *words], **options)
    wait_for_step(run, tmp_path, 2)
    _kill(server)
    said = " ".join(run.communicate(timeout=120)[0].split())
    assert run.returncode == 1, said
    assert f"{server.url}, asked for" in said
    assert "python -m drpt.rollouts.serve --model FOLDER" in said
    assert "Traceback" not in said
    (summary,) = tmp_path.glob("runs/long/*/summary.json")
    assert json.loads(summary.read_text())["status"] == "failed"
    (tmp_path / "server").mkdir()
    with _running_server(tmp_path / "server", server.port) as another:
        resumed = subprocess.run([sys.executable, "-c", code, "resume", "runs/long"], timeout=300, check=False, **options)
        assert resumed.returncode == 0, resumed.stdout
        assert "resumes after step" in resumed.stdout
        assert json.loads(summary.read_text())["status"] == "finished"
        rollout = _client(another.url)
        rollout.sync(tiny_model().named_parameters())
        killer = threading.Timer(1.0, another.process.kill)
        killer.start()
        started = time.monotonic()
        with pytest.raises(RolloutError, match=rf"{another.url}, asked for POST .* gave no answer .*\n.*\n  python -m drpt"):
            rollout.generate([[i] for i in range(100)], _sampling(num_responses=4, max_tokens=500, stop_token_ids=()))
        assert time.monotonic() - started < 60
        with pytest.raises(RolloutError, match="cannot be reached"):
            rollout.sync(tiny_model().named_parameters())
