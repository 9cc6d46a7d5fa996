"""A small server on 127.0.0.1 that speaks OpenAI's chat protocol, for tests: it answers by rules and remembers."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


Answer = tuple[int, dict[str, str], Any]  # status, headers, body (a text as it is, anything else as JSON)


def reply(text: str | None, finish_reason: str = "stop") -> Answer:
    """A well-formed answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return 200, {}, {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}


class ChatServer:
    """
    Attributes:
        url: Address for `base_url`.
        requests: (path, headers, body) of every request, in the order in which they came.
        most_at_once: How many requests were being answered at the same time.
    """

    def __init__(self, answer: Callable[[str, int], Answer], seconds: float = 0.0):
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.most_at_once, self._now, self._lock = 0, 0, threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                question = body["messages"][-1]["content"]
                with owner._lock:
                    owner.requests.append((self.path, dict(self.headers), body))
                    asked = sum(there[2] == body for there in owner.requests)
                    owner._now += 1
                    owner.most_at_once = max(owner.most_at_once, owner._now)
                time.sleep(seconds)
                status, headers, content = answer(question, asked)
                with owner._lock:
                    owner._now -= 1
                text = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: Any) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator["ChatServer"]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
