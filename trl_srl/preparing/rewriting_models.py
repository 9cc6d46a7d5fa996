"""The models that rewriting asks: a server that speaks OpenAI's chat protocol, or a model of transformers in this
process.

The server is asked with the standard library. `huggingface_hub.InferenceClient` could do it, but refuses every
request, to 127.0.0.1 too, when HF_HUB_OFFLINE is set, which is how a cluster without internet runs beside its own
vLLM server; and without a key it would send the user's Hub token to whatever server is named.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from http.client import HTTPException
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..actions import encodable
from ..prompts import Message
from .rewriting import ReplyFailure


if TYPE_CHECKING:
    from ..evaluation.backends import Backend

API_KEY_VARIABLE = "OPENAI_API_KEY"
_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
_SETTINGS_ARE_WRONG = {401, 402, 403, 404, 405}


class ServerUnavailableError(OSError):
    """The server answers nothing, or refuses everything: going on would drop every solution that is left."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Never: the key would go to another server."""


class ServerModel:
    """
    A model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, a paid service), `max_in_flight` requests at
    once.

    Transient errors (no connection, time-outs, 429, 5xx) are repeated `retries` times, after 1, 2, 4 … seconds or
    what the server's `Retry-After` says, at most a minute. A request that still fails, or that the server refuses, is
    a [`ReplyFailure`]; a wrong address, model or key, or `max_failures` failed requests in a row, end the run.

    Args:
        name (`str`):
            Name of the model, as the server knows it.
        base_url (`str`):
            Address up to and including `/v1`. The key is read from the environment variable OPENAI_API_KEY, sent to
            this server only, and written nowhere.
        max_in_flight (`int`, *optional*, defaults to `8`):
            Requests at the same time.
        max_tokens (`int`, *optional*, defaults to `4096`):
            Longest reply.
        timeout (`float`, *optional*, defaults to `600.0`):
            Seconds for one request.
        retries (`int`, *optional*, defaults to `5`):
            Repetitions of a request that fails for a transient reason.
        max_failures (`int`, *optional*, defaults to `20`):
            Failed requests in a row that end the run.
        first_wait (`float`, *optional*, defaults to `1.0`):
            Seconds before the first repetition.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        max_in_flight: int = 8,
        max_tokens: int = 4096,
        timeout: float = 600.0,
        retries: int = 5,
        max_failures: int = 20,
        first_wait: float = 1.0,
    ):
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError(
                "The server's address must be http://HOST[:PORT]/v1 or https://…, without a name or a password in it "
                f"(the key comes from {API_KEY_VARIABLE}); got scheme {parts.scheme!r} and host {parts.hostname!r}."
            )
        if max_in_flight < 1:
            raise ValueError(f"At least one request must be in flight, got {max_in_flight}.")
        self.name, self.settings = name, {"max_tokens": max_tokens, "temperature": 0.0}
        self.url = f"{base_url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"
        self.max_in_flight, self.timeout, self.retries = max_in_flight, timeout, retries
        self.max_failures, self.first_wait = max_failures, first_wait
        self._failures_in_a_row = 0

    def replies(self, requests: Sequence[list[Message]]) -> Iterator[tuple[int, str | ReplyFailure]]:
        stopped = Event()
        with ThreadPoolExecutor(self.max_in_flight) as pool:
            places = {pool.submit(self._reply, request, stopped): place for place, request in enumerate(requests)}
            try:
                for done in as_completed(places):
                    reply = done.result()
                    failed = isinstance(reply, ReplyFailure)
                    self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
                    if self._failures_in_a_row >= self.max_failures:
                        raise ServerUnavailableError(
                            f"{self._failures_in_a_row} requests in a row failed, the last one so: {reply} "
                            "What was answered is kept: mend the server and run the same command again."
                        )
                    yield places[done], reply
            finally:  # also when the reader stops: what waits is not asked any more
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _reply(self, messages: list[Message], stopped: Event) -> str | ReplyFailure:
        """The reply to one request, after repetitions if need be."""
        wait, failure = self.first_wait, ReplyFailure("")
        for attempt in range(self.retries + 1):
            try:
                return self._ask(messages)
            except urllib.error.HTTPError as error:
                with error:
                    detail = error.read(300).decode("utf-8", "replace")
                failure = ReplyFailure(f"{self.url} answers {error.code}: {' '.join(detail.split())}")
                if error.code in _SETTINGS_ARE_WRONG or 300 <= error.code < 400:
                    raise ServerUnavailableError(
                        f"{failure.message} Check --rewrite_base_url (no redirects are followed), the model's name "
                        f"{self.name!r}, and the key in {API_KEY_VARIABLE}."
                    ) from None
                if error.code not in _TRANSIENT:
                    return failure
                asked_for = error.headers.get("Retry-After") or ""
                wait = max(wait, float(asked_for)) if asked_for.isdigit() else wait
            except (OSError, HTTPException) as error:  # no connection, a time-out, a reply cut short
                failure = ReplyFailure(f"{self.url}: {getattr(error, 'reason', error) or type(error).__name__}.")
            except (ValueError, LookupError, TypeError):  # no JSON, or not of this protocol
                return ReplyFailure(f"{self.url} gave a reply that is not of OpenAI's chat protocol.")
            if attempt == self.retries or stopped.wait(min(wait, 60.0)):
                break
            wait *= 2
        return failure

    def _ask(self, messages: list[Message]) -> str | ReplyFailure:
        body = json.dumps({"model": self.name, "messages": messages, "stream": False} | self.settings)
        headers = {"Content-Type": "application/json", "User-Agent": "trl-srl"}
        if key := os.environ.get(API_KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, body.encode(), headers, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
            choice = json.loads(response.read())["choices"][0]
        if choice.get("finish_reason") == "length":
            return ReplyFailure(f"The reply was cut off at {self.settings['max_tokens']} tokens.", lasting=True)
        content = choice["message"]["content"]
        if not isinstance(content, str):
            return ReplyFailure("The reply has no text.", lasting=True)
        return encodable(content)


class LocalModel:
    """
    A model of transformers in this process, decoded greedily.

    Args:
        name (`str`):
            Path or Hub id.
        max_tokens (`int`, *optional*, defaults to `4096`):
            Longest reply.
        batch_size (`int`, *optional*, defaults to `8`):
            Replies generated at once.
    """

    def __init__(self, name: str, *, max_tokens: int = 4096, batch_size: int = 8):
        self.name, self.batch_size = name, batch_size
        self.settings: dict[str, Any] = {"max_tokens": max_tokens, "temperature": 0.0}

    @cached_property
    def _backend(self) -> "Backend":
        from ..evaluation.backends import load_backend

        return load_backend("transformers", self.name, self.batch_size)

    def replies(self, requests: Sequence[list[Message]]) -> Iterator[tuple[int, str | ReplyFailure]]:
        limit = self.settings["max_tokens"]
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            for place, reply in enumerate(self._backend.generate(batch, max_completion_length=limit), start):
                cut_off = ReplyFailure(f"Cut off at {limit} tokens.", lasting=True)
                yield place, cut_off if reply.truncated else reply.text
