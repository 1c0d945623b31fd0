"""A language model behind a server that speaks the OpenAI chat protocol (vLLM, Ollama, llama.cpp, LM Studio).

`POST {url}/v1/chat/completions`, one answer at a time, temperature 0, with a seed and a JSON schema for the answer.

What is sent comes from patients' records, so only this machine is asked unless the caller allows more: the host is
resolved, every address must be loopback, and the connection goes to the address that was looked at. Proxies of the
environment are not used and redirects are not followed. A server on this machine can still hand on what it is given;
that is seen here only where the model's name says so, as Ollama's do that run in its cloud.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import logging
import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from stethos.errors import EndpointError
from stethos.io.loopback import Address, connect, ends_at, is_loopback, resolve

_LOG = logging.getLogger("stethos")
_PATH = "/v1/chat/completions"
_MOST_BYTES = 2**22
_EXCERPT = 160  # characters
_AGAIN = (408, 425, 429)
_LASTING = (401, 403, 404, 405)
_LONGEST_PAUSE = 60.0  # s
_STAYS = (
    "records under a data use agreement, such as PhysioNet's credentialed data, may not be sent to a third party "
    "that keeps them"
)


@dataclass(frozen=True)
class Patience:
    """How long and how often a server is asked.

    Args:
        timeout: For one whole answer, in s.
        retries: Further attempts after a timeout, a lost connection, HTTP 408, 425, 429 or 5xx, or an answer that
            is no JSON.
        pause: Before the first of them, in s; twice as long before each next one. The server's own Retry-After
            wins. No pause is longer than a minute.
    """

    timeout: float = 120.0
    retries: int = 3
    pause: float = 1.0


@dataclass(frozen=True)
class Question:
    """What a model is asked; the same question to the same model has the same answer, as far as the model keeps to it.

    Args:
        messages: Each with `role` and `content`.
        schema: JSON schema of the answer.
        most: Tokens of the answer, at most.
    """

    messages: Sequence[Mapping[str, str]]
    schema: Mapping[str, Any]
    most: int


@dataclass(frozen=True)
class Reply:
    """What a model answered.

    Args:
        text: The answer.
        url: Of the server.
        model: Its name as the server tells it; empty where it does not.
        read: Tokens of the question; None where the server does not tell.
        written: Tokens of the answer; None likewise.
        cut: Whether the answer ended because it was too long.
    """

    text: str
    url: str = ""
    model: str = ""
    read: int | None = None
    written: int | None = None
    cut: bool = False


@dataclass(frozen=True)
class Endpoint:
    """A server and the model to ask there.

    Args:
        url: Such as `http://127.0.0.1:8000`; with or without `/v1` behind it.
        model: As the server names it.
        allow_remote: Whether a server that is not on this machine may be asked.
        key_variable: Environment variable that holds the server's key; empty where it needs none. The key itself is
            read at each question, and neither kept nor logged.
        seed: For the model's draws.
        at_once: Questions under way at the same time, at most.
        patience: How long and how often it is asked.

    Raises:
        EndpointError: The URL is none, has a key or password in it, or leads away from this machine without leave;
            its host has no address; the model has no name; the variable with the key is not set; `at_once` is below 1.
    """

    url: str
    model: str
    allow_remote: bool = False
    key_variable: str = ""
    seed: int = 0
    at_once: int = 4
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1").rstrip("/")
        object.__setattr__(self, "url", f"{parts.scheme}://{parts.netloc}{path}")
        if not self.model.strip():
            raise EndpointError(f"{self.url}: needs the name of a model; ask the server for those that it has")
        if self.at_once < 1:
            raise EndpointError(f"{self.url}: needs at least one question under way; got {self.at_once}")
        self._key()
        elsewhere = not all(is_loopback(address) for address in self._addresses())
        if elsewhere or _in_a_cloud(self.model):
            _LOG.warning("%s, %s: what the records say leaves this machine, and %s", self.url, self.model, _STAYS)
        if elsewhere and parts.scheme == "http":
            _LOG.warning("%s: it is sent unencrypted; https would be encrypted", self.url)

    def ask(self, question: Question, stop: threading.Event | None = None) -> Reply:
        """The model's answer.

        Args:
            question: What is asked.
            stop: Once it is set no further attempt is made.

        Raises:
            EndpointError: No attempt brought an answer; its message may quote what the server said.
        """
        body = json.dumps(self._asked(question)).encode()
        stop = stop or threading.Event()
        for attempt in range(self.patience.retries + 1):
            try:
                return self._attempt(body)
            except _Failure as failure:
                pause = self.patience.pause * 2**attempt if failure.wait is None else failure.wait
                last = attempt == self.patience.retries or not failure.again
                if last or stop.wait(min(pause, _LONGEST_PAUSE)):
                    raise EndpointError(self._told(failure, attempt + 1), failure.kind, failure.lasting) from failure
        raise AssertionError("the last attempt returns or raises")

    def _asked(self, question: Question) -> dict[str, Any]:
        schema = {"name": "answer", "strict": True, "schema": question.schema}
        return {
            "model": self.model,
            "messages": list(question.messages),
            "temperature": 0,
            "seed": self.seed,
            "max_tokens": question.most,
            "stream": False,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }

    def _attempt(self, body: bytes) -> Reply:
        """One request and its answer."""
        deadline = time.monotonic() + self.patience.timeout
        try:
            with self._connected(deadline) as connection:
                connection.request("POST", urlsplit(self.url).path + _PATH, body, self._headers())
                with connection.getresponse() as response:
                    data = _whole(response)
                    if time.monotonic() >= deadline:  # cut off by us, which a body of no told length does not show
                        raise TimeoutError
                    return replace(_reply(response, data, self._key()), url=self.url)
        except EndpointError:
            raise
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                raise _Failure("timeout", f"gave no answer within {self.patience.timeout:g} s", again=True) from error
            raise _Failure("connection lost", "broke the connection off", again=True) from error

    @contextlib.contextmanager
    def _connected(self, deadline: float) -> Iterator[http.client.HTTPConnection]:
        """A connection to an address that was looked at, whatever the name leads to a moment later."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        addresses = self._addresses()
        try:
            sock = connect(addresses, host if parts.scheme == "https" else "", self.patience.timeout)
        except OSError as error:
            again, why = not isinstance(error, ssl.SSLError), error.strerror or str(error)
            raise _Failure("unreachable", f"cannot be reached ({why})", again=again, lasting=True) from error
        with sock, ends_at(deadline, sock):
            connection = http.client.HTTPConnection(host, _port(parts))
            connection.sock = sock
            yield connection

    def _addresses(self) -> list[Address]:
        """Where the server is; refused where that is not this machine and has to be."""
        parts = urlsplit(self.url)
        try:
            addresses = resolve(parts.hostname or "", _port(parts))
        except (OSError, UnicodeError) as error:
            raise EndpointError(
                f"{self.url}: needs a host that has an address, and this one has none ({error}); check the URL",
                "unreachable",
                lasting=True,
            ) from error
        elsewhere = [address for address in addresses if not is_loopback(address)]
        if (elsewhere or _in_a_cloud(self.model)) and not self.allow_remote:
            raise EndpointError(_refusal(self.url, self.model, elsewhere), "not on this machine", lasting=True)
        return addresses

    def _headers(self) -> dict[str, str]:
        key = self._key()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "stethos"}
        return {**headers, "Connection": "close", **({"Authorization": f"Bearer {key}"} if key else {})}

    def _key(self) -> str:
        if not self.key_variable:
            return ""
        key = os.environ.get(self.key_variable, "").strip()
        if not key or not (key.isascii() and key.isprintable()):
            raise EndpointError(
                f"{self.url}: needs its key in the environment variable {self.key_variable}, which is empty or has "
                "signs that no key has; set it, or name no variable"
            )
        return key

    def _told(self, failure: _Failure, attempts: int) -> str:
        times = "" if attempts == 1 else f", {attempts} times"
        return f"{self.url}: the server of the language model {self.model} {failure.what}{times}; {failure.advice}"


class _Failure(Exception):
    """An attempt without an answer."""

    def __init__(self, kind: str, what: str, *, again: bool, lasting: bool = False, wait: float | None = None) -> None:
        super().__init__(what)
        self.kind, self.what, self.again, self.lasting, self.wait = kind, what, again, lasting, wait

    @property
    def advice(self) -> str:
        """What to do."""
        return _ADVICE.get(self.kind, "look into the server's log")


_ADVICE = {
    "unreachable": "start it, or check the URL",
    "timeout": "give it more time, ask fewer questions at once, or take a smaller model",
    "redirect": "name the address that answers itself",
    "HTTP 400": "check that it takes a JSON schema as response_format, and prompts of this length",
    "HTTP 401": "name the environment variable that holds its key",
    "HTTP 403": "name the environment variable that holds its key",
    "HTTP 404": "check the URL and the model's name",
    "HTTP 429": "ask fewer questions at once",
}


def _parts(url: str) -> SplitResult:
    """The parts of a server's URL."""
    needed = "needs http:// or https://, a host, and at most a port and a path"
    try:
        parts = urlsplit(url)
        _port(parts)
    except ValueError:
        raise EndpointError(f"the language model's URL {needed}; got one that cannot be read") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        # not quoted: what stands there may be a secret
        raise EndpointError(
            f"the language model's URL {needed}; got a user, password or query too; put a key into an environment "
            "variable and name that"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not (url.isascii() and " " not in url):
        raise EndpointError(f"the language model's URL {needed}; got {url!r}")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _in_a_cloud(model: str) -> bool:
    """Whether Ollama hands a model's questions on to its cloud, by the model's name: "gpt-oss:120b-cloud"."""
    tag = model.lower().rpartition(":")[2]
    return ":" in model and (tag == "cloud" or tag.endswith("-cloud"))


def _refusal(url: str, model: str, elsewhere: Sequence[Address]) -> str:
    hosts = ", ".join(host for host, _ in elsewhere)
    why = f"is at {hosts}" if hosts else f"hands {model} on to a cloud"
    return (
        f"{url}: needs a language model on this machine, and this server {why}; {_STAYS}; serve a model here "
        "(http://127.0.0.1:8000), or pass --allow-remote where every agreement allows it"
    )


def _whole(response: http.client.HTTPResponse) -> bytes:
    """The body; a shorter one than the header promises is a lost connection."""
    promised = response.length
    data = response.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise _Failure("unreadable answer", f"sent more than {_MOST_BYTES} bytes", again=False)
    if promised is not None and len(data) < promised:
        raise http.client.IncompleteRead(data, promised - len(data))
    return data


def _reply(response: http.client.HTTPResponse, data: bytes, key: str) -> Reply:
    if response.status != http.client.OK:
        raise _refused(response, data, key)
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Failure("unreadable answer", "sent no JSON", again=True) from error
    try:
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        text = choice["message"]["content"]
        if not isinstance(text, str | None) or not isinstance(usage, dict):
            raise TypeError
    except (LookupError, TypeError, AttributeError) as error:
        raise _Failure("unreadable answer", "sent JSON that is no chat completion", again=True) from error
    if not text or not text.strip():
        raise _Failure("empty answer", "answered nothing", again=False)
    told = answer.get("model")
    read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    cut = choice.get("finish_reason") == "length"
    return Reply(text, "", _short(told) if isinstance(told, str) else "", read, written, cut)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _short(text: str) -> str:
    """A server's words on one line, the beginning of them, and nothing that a terminal or a file cannot take."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:_EXCERPT]


def _refused(response: http.client.HTTPResponse, data: bytes, key: str) -> _Failure:
    """What a status other than 200 means."""
    status = response.status
    if 300 <= status < 400:
        to = _short((response.getheader("Location") or "nowhere").partition("?")[0])
        return _Failure("redirect", f"sends on to {to}, which is not followed", again=False, lasting=True)
    said = _excerpt(data, key)
    what = f"answered HTTP {status}" + (f" ({said})" if said else "")
    again = status in _AGAIN or status >= 500
    wait = _retry_after(response.getheader("Retry-After")) if again else None
    return _Failure(f"HTTP {status}", what, again=again, lasting=status in _LASTING, wait=wait)


def _excerpt(data: bytes, key: str) -> str:
    """The beginning of what a server says about an error, without the key."""
    try:
        said = json.loads(data)
        error = said.get("error", said)
        said = error if isinstance(error, str) else error.get("message", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    text = str(said)
    return _short(text.replace(key, "…") if key else text)


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, of a header that gives them or a date; None where it gives neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    return None
