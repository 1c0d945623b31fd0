"""A server of one folder for this machine's own browser: loopback only, listed files only, a strict policy."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stethos.errors import RecipeError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".csv": "text/csv; charset=utf-8",
}
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
)
NAMES = ("127.0.0.1", "localhost")


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of every file of a folder, bound to 127.0.0.1; `serve_forever` starts it.

    Args:
        folder: Read once, when the server is made.
        port: 0 for any that is free.

    Raises:
        RecipeError: The port is taken.
    """
    files = {f"/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*")) if path.is_file()}
    if "/index.html" in files:
        files["/"] = files["/index.html"]
    kind = type("Handler", (_Handler,), {"files": {name: _held(path) for name, path in files.items()}})
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), kind)
    except OSError as error:
        raise RecipeError(f"port {port} of this machine is taken ({error}); pass another with --port") from None


def address(made: ThreadingHTTPServer) -> str:
    """Where a server's page is."""
    return f"http://127.0.0.1:{made.server_address[1]}/"


def _held(path: Path) -> tuple[bytes, str, str]:
    """Content, type and tag of a file."""
    content = path.read_bytes()
    kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of listed files, of requests that name this machine: another name is a rebound one."""

    files: Mapping[str, tuple[bytes, str, str]] = MappingProxyType({})
    server_version = "stethos"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of the file."""
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        found = self.files.get(self.path.partition("?")[0])
        if self.headers.get("Host", "").partition(":")[0] not in NAMES:
            status, body, kind, tag = 421, b"this server answers to 127.0.0.1 and localhost only\n", "text/plain", ""
        elif found is None:
            status, body, kind, tag = 404, b"no such file\n", "text/plain", ""
        else:
            status, (body, kind, tag) = 200, found
            if self.headers.get("If-None-Match") == tag:
                status, body = 304, b""
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: who looked at what is nobody's business."""
