"""A judge behind a real HTTP server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Endpoint:
    """A server that speaks the chat API and prefers the longer answer; `failures` are answered first."""

    url: str = ""
    failures: list[int] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    answer: str | None = None


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.seen.append(body)
            made.keys.append(self.headers.get("Authorization"))
            if made.failures:
                self.send_response(made.failures.pop(0))
                self.end_headers()
                return
            text = body["messages"][1]["content"]
            a, b = text.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
            word = made.answer or ("A" if len(a) > len(b) else "B" if len(b) > len(a) else "TIE")
            reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": word}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
