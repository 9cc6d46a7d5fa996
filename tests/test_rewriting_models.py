"""A server on 127.0.0.1 that speaks OpenAI's chat protocol, and a tiny local model."""

import json
import pickle
import shutil

import pytest
from transformers import AutoTokenizer

from tests.chat_server import ChatServer, reply
from trl_srl import build_prompt
from trl_srl.preparing.rewriting import ReplyCache, ReplyFailure, Rewriter, build_rewrite_request
from trl_srl.preparing.rewriting_models import API_KEY_VARIABLE, LocalModel, ServerModel, ServerUnavailableError


def question(text):
    return [{"role": "user", "content": text}]


def ask(server, *texts, **options):
    options = {"first_wait": 0.001, "retries": 2, **options}
    with server.running():
        model = ServerModel("m", server.url, **options)
        return dict(model.replies([question(text) for text in texts]))


def test_protocol(monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, "secret-key")
    server = ChatServer(lambda text, asked: reply(f"reply to {text}"))
    assert ask(server, "a", "é", max_tokens=7) == {0: "reply to a", 1: "reply to é"}
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret-key"
    assert body == {
        "model": "m",
        "messages": question(body["messages"][0]["content"]),
        "stream": False,
        "max_tokens": 7,
        "temperature": 0.0,
    }


def test_without_a_key_no_token_of_the_hub_is_sent(monkeypatch):
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server = ChatServer(lambda text, asked: reply("x"))
    ask(server, "a")
    assert "Authorization" not in server.requests[0][1]
    assert "hf_secret" not in str(server.requests)


def test_several_requests_are_in_flight_but_not_more():
    server = ChatServer(lambda text, asked: reply("x"), seconds=0.05)
    assert len(ask(server, *map(str, range(12)), max_in_flight=4)) == 12
    assert server.most_at_once == 4


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_errors_are_repeated(status):
    server = ChatServer(lambda text, asked: reply("x") if asked == 3 else (status, {}, "busy"))
    assert ask(server, "a") == {0: "x"}
    assert len(server.requests) == 3


def test_repetitions_end():
    server = ChatServer(lambda text, asked: (503, {}, "busy\nnow") if text == "a" else reply("x"))
    replies = ask(server, "a", "b")
    assert replies[1] == "x"
    assert replies[0] == ReplyFailure(f"{server.url}/chat/completions answers 503: busy now")
    assert len(server.requests) == 3 + 1


def test_retry_after_is_respected():
    import time

    server = ChatServer(lambda text, asked: reply("x") if asked == 2 else (429, {"Retry-After": "1"}, "slow down"))
    start = time.monotonic()
    assert ask(server, "a") == {0: "x"}
    assert 1.0 <= time.monotonic() - start < 30.0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_is_one_failure(status):
    server = ChatServer(lambda text, asked: (status, {}, {"error": "too long"}) if text == "a" else reply("x"))
    replies = ask(server, "a", "b")
    assert replies[1] == "x"
    assert "too long" in str(replies[0])
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_wrong_settings_end_the_run(status, monkeypatch):
    monkeypatch.setenv(API_KEY_VARIABLE, "secret-key")
    server = ChatServer(lambda text, asked: (status, {"Location": "http://127.0.0.1:9/"}, "no"))
    with pytest.raises(ServerUnavailableError, match=rf"answers {status}: no Check --rewrite_base_url") as error:
        ask(server, *map(str, range(50)), max_in_flight=2)
    assert "secret-key" not in str(error.value)
    assert len(server.requests) < 10  # the rest is not asked


def test_a_server_that_only_fails_ends_the_run():
    server = ChatServer(lambda text, asked: (500, {}, "broken"))
    with pytest.raises(ServerUnavailableError, match=r"4 requests in a row failed.*500: broken.*run the same command"):
        ask(server, *map(str, range(50)), max_in_flight=1, retries=0, max_failures=4)
    assert len(server.requests) < 10


def test_failures_between_successes_do_not_end_the_run():
    server = ChatServer(lambda text, asked: reply("x") if int(text) % 3 else (400, {}, "no"))
    replies = ask(server, *map(str, range(30)), max_in_flight=1, max_failures=2)
    assert sum(isinstance(answer, ReplyFailure) for answer in replies.values()) == 10


def test_nobody_listens():
    model = ServerModel("m", "http://127.0.0.1:9/v1", retries=1, first_wait=0.001, max_failures=1)
    with pytest.raises(ServerUnavailableError, match="refused"):
        list(model.replies([question("a")]))


def test_a_slow_server_is_a_failure():
    server = ChatServer(lambda text, asked: reply("x"), seconds=0.5)
    assert "timed out" in str(ask(server, "a", timeout=0.05, retries=0)[0])


@pytest.mark.parametrize(
    ("answer", "message", "lasting"),
    [
        (reply("cut of", finish_reason="length"), "cut off at 4096 tokens", True),
        (reply(None), "no text", True),
        ((200, {}, "not JSON"), "not of OpenAI's chat protocol", False),
        ((200, {}, {"choices": []}), "not of OpenAI's chat protocol", False),
        ((200, {}, []), "not of OpenAI's chat protocol", False),
    ],
)
def test_replies_that_cannot_be_used(answer, message, lasting):
    (failure,) = ask(ChatServer(lambda text, asked: answer), "a").values()
    assert message in str(failure)
    assert failure.lasting is lasting


@pytest.mark.parametrize(
    "url", ["localhost:8000", "file:///etc/passwd", "ftp://x/v1", "http://", "http://me:secret@host/v1"]
)
def test_addresses(url):
    with pytest.raises(ValueError, match=r"must be http://HOST\[:PORT\]/v1") as error:
        ServerModel("m", url)
    assert "secret" not in str(error.value)


def test_path_of_the_address():
    for url in ("http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/chat/completions"):
        assert ServerModel("m", url).url == "http://h:1/v1/chat/completions"


def test_no_request_in_flight():
    with pytest.raises(ValueError, match="At least one request"):
        ServerModel("m", "http://h/v1", max_in_flight=0)


def test_models_can_be_sent_to_other_processes(tmp_path):
    for model in (ServerModel("m", "http://h/v1"), LocalModel("m")):
        assert pickle.loads(pickle.dumps(Rewriter(model, ReplyCache(tmp_path / "c")))).model.name == "m"


def test_local_model(format_model, tmp_path):
    """A model that cannot do it: what counts is that it is asked, in batches, and that its replies are checked."""
    model = LocalModel(format_model, max_tokens=8, batch_size=2)
    requests = [build_rewrite_request(text, "24 and 72") for text in ("a", "b b b b", "c")]
    replies = dict(model.replies(requests))
    assert sorted(replies) == [0, 1, 2]
    assert all(isinstance(answer, str | ReplyFailure) for answer in replies.values())
    alone = dict(LocalModel(format_model, max_tokens=8, batch_size=1).replies(requests))
    assert alone == replies  # padding changes nothing
    rewriter = Rewriter(model, ReplyCache(tmp_path / "cache.sqlite"))
    (row,) = rewriter.rewrite_rows([{"problem": "a", "steps": ["24 and 72"]}])
    assert row["drop_reason"] in ("rewrite_format", "rewrite_failed")
    assert list(model.replies([])) == []


def test_a_local_model_s_generation_config(format_model, tmp_path):
    """Whatever ends a reply ends it, beside a longer one too; penalties are not applied."""
    requests = [build_prompt("a", system_prompt="S"), build_rewrite_request("a", "24")]
    first, second = (reply for _, reply in LocalModel(format_model, max_tokens=40).replies(requests))
    assert "m" in first and "m" not in second
    model = shutil.copytree(format_model, tmp_path / "model")
    file = model / "generation_config.json"
    config = json.loads(file.read_text())
    ending = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids("m")
    config |= {"eos_token_id": [config["eos_token_id"], ending], "repetition_penalty": 9.0}
    file.write_text(json.dumps(config))
    replies = dict(LocalModel(str(model), max_tokens=len(second) + 1).replies(requests))
    assert replies == {0: first.partition("m")[0], 1: second}
    cut_off = ReplyFailure("Cut off at 1 tokens.", lasting=True)
    assert dict(LocalModel(str(model), max_tokens=1).replies(requests)) == {0: cut_off, 1: cut_off}


def test_half_a_surrogate_pair_does_not_stop_anything():
    assert ask(ChatServer(lambda text, asked: reply("a\ud83d")), "a") == {0: "a\ufffd"}
