"""An OpenAI-compatible endpoint on the loopback that does what it is told, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler", dict[str, Any]], None]


@dataclass
class Seen:
    """What came in."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """One request; the server's script says what becomes of it."""

    seen: Seen
    script: Sequence[Behaviour]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = len(self.seen.bodies)
        self.seen.bodies.append(body)
        self.seen.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.script[min(number, len(self.script) - 1)](self, body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def begin(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def event(self, content: str | None = None, finish: str | None = None, **more: Any) -> None:
        delta = {"content": content} if content is not None else {}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
        chunk["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]  # type: ignore[assignment]
        self.raw(f"data: {json.dumps({**chunk, **more})}\n\n")

    def raw(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()


def says(text: str, finish: str = "stop", pieces: int = 3) -> Behaviour:
    """A whole answer, in a few pieces, with usage."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        handler.begin()
        size = max(len(text) // pieces, 1)
        for start in range(0, len(text), size):
            handler.event(text[start : start + size])
        handler.event(finish=finish)
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        handler.event(choices=[], usage=usage)
        handler.raw("data: [DONE]\n\n")

    return behave


def refuses(status: int, message: str = "no", **headers: str) -> Behaviour:
    """An error with a status."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        handler.begin(status, "application/json", **headers)
        handler.raw(json.dumps({"error": {"message": message, "type": "refused"}}))

    return behave


def breaks_off(handler: Handler, body: dict[str, Any]) -> None:
    """A stream without an end."""
    handler.begin()
    handler.event("half an ans")


def babbles(handler: Handler, body: dict[str, Any]) -> None:
    """No JSON at all."""
    handler.begin()
    handler.raw("data: {this is : no json\n\n")


def is_silent(seconds: float) -> Behaviour:
    """No answer for a while."""

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(seconds)

    return behave


def never_ends(handler: Handler, body: dict[str, Any]) -> None:
    """More and more text, until nobody reads it."""
    handler.begin()
    try:
        for _ in range(2000):
            handler.event("for ever and ever " * 20)
            time.sleep(0.001)
    except OSError:
        return


@contextmanager
def serving(*script: Behaviour) -> Iterator[Seen]:
    """A server that goes through the script, and repeats its last line."""
    seen = Seen()
    handler = type("Scripted", (Handler,), {"seen": seen, "script": script})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        seen.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
