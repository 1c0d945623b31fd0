"""A language model's server on the loopback that does what a test tells it to, wrong things included."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["Handler"], None]


class Server(ThreadingHTTPServer):
    """Keeps what it was asked; `script` decides on each question, by what is asked and its number."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, script: Callable[[dict[str, Any], int], Act]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def prompts(self) -> list[str]:
        """The last message of each question."""
        return [question["messages"][-1]["content"] for question in self.asked]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""

    def shutdown_request(self, request: Any) -> None:
        """Close without the polite end, so that a connection can be reset."""
        self.close_request(request)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.asked)
            self.server.asked.append(question)
            self.server.headers.append(dict(self.headers))
            self.server.paths.append(self.path)
        self.server.script(question, number)(self)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def serving(script: Callable[[dict[str, Any], int], Act] | Act) -> Iterator[Server]:
    """A server that answers by a script, or always in one way."""
    server = Server(script if script.__name__ == "script" else lambda *_: script)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def sends(data: bytes, status: int = 200, **headers: str) -> Act:
    def act(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return act


def completion(text: str | None, **more: Any) -> bytes:
    """A chat completion with this text."""
    finish = more.pop("finish_reason", "stop")
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json.dumps({"object": "chat.completion", "model": "mock-1", "choices": [choice], **more}).encode()


def says(text: str | None, **more: Any) -> Act:
    return sends(completion(text, **more))


def fails(status: int, message: str = "", **headers: str) -> Act:
    return sends(json.dumps({"error": {"message": message}}).encode(), status, **headers)


def redirects(to: str, status: int = 307) -> Act:
    return sends(b"", status, Location=to)


def silent(handler: Handler) -> None:
    """No answer at all, until the test is over."""
    handler.server.over.wait(30)


def trickles(handler: Handler) -> None:
    """A byte now and then, so that no single read times out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def drips(handler: Handler) -> None:
    """As `trickles`, without a word of how much there will be."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def resets(handler: Handler) -> None:
    """The connection is reset in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ends_early(handler: Handler) -> None:
    """Whole JSON, though shorter than promised."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(completion("half of it"))
