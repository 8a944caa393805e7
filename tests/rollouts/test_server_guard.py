import asyncio

import pytest

from drpt.rollouts.server_guard import RequestGuard


async def _app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


def _status(guard, path="/collective_rpc", **headers):
    sent = []

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(guard({"type": "http", "path": path, "headers": pairs}, None, send))
    return sent[0]["status"]


@pytest.fixture
def guard(monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    return RequestGuard(_app)


def test_the_token_opens_every_path(guard):
    assert _status(guard, authorization="Bearer secret") == 200


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}])
def test_without_the_token_no_path_opens(guard, headers):
    assert _status(guard, **headers) == 401


@pytest.mark.parametrize("path", ["/collective_rpc", "/update_weight_version", "/inference/v1/generate", "/health"])
def test_a_server_without_a_token_answers_nothing(monkeypatch, path):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    assert _status(RequestGuard(_app), path) == 401
    assert _status(RequestGuard(_app), path, authorization="Bearer ") == 401


def test_requests_of_web_pages_are_refused(guard):
    assert _status(guard, authorization="Bearer secret", origin="http://example.org") == 403
