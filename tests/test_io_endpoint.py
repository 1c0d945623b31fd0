"""A language model's server is asked on this machine alone, and what goes wrong there is one sentence."""

import json
import logging
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from mock_endpoint import (
    completion,
    drips,
    ends_early,
    fails,
    redirects,
    resets,
    says,
    sends,
    serving,
    silent,
    trickles,
)

from stethos.errors import EndpointError, StethosError
from stethos.io.endpoint import Endpoint, Patience, Question
from stethos.io.loopback import is_loopback

QUESTION = Question([{"role": "user", "content": "which?"}], {"type": "object"}, 64)
ONCE = Patience(timeout=20, retries=0)
SOON = Patience(timeout=20, retries=3, pause=0.01)
SHORT = Patience(timeout=0.2, retries=1, pause=0.01)


def ask(server, patience=SOON, **options):
    return Endpoint(server.url, "small", patience=patience, **options).ask(QUESTION)


def in_turn(*acts):
    def script(_, number):
        return acts[min(number, len(acts) - 1)]

    return script


def leads_to(monkeypatch, *hosts):
    found = [(socket.AF_INET6 if ":" in host else socket.AF_INET, 1, 6, "", (host, 80)) for host in hosts]
    asked = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **named: found if host[0].isalpha() else asked(host, *more, **named),
    )


@pytest.fixture
def no_socket(monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", opened)
    monkeypatch.setattr(socket, "create_connection", opened)


def test_the_question_is_put_as_the_protocol_wants_it():
    with serving(says("this", usage={"prompt_tokens": 7, "completion_tokens": 2})) as server:
        reply = ask(server, seed=5)
    assert (reply.text, reply.model, reply.read, reply.written, reply.cut) == ("this", "mock-1", 7, 2, False)
    (asked,) = server.asked
    assert server.paths == ["/v1/chat/completions"]
    assert asked == {
        "model": "small",
        "messages": [{"role": "user", "content": "which?"}],
        "temperature": 0,
        "seed": 5,
        "max_tokens": 64,
        "stream": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
        },
    }
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_url_may_be_given_with_or_without_its_tail(tail):
    with serving(says("this")) as server:
        endpoint = Endpoint(server.url + tail, "small", patience=ONCE)
        assert endpoint.ask(QUESTION).text == "this"
        assert endpoint.url == server.url
    assert server.paths == ["/v1/chat/completions"]


def test_a_server_below_a_path_is_asked_there():
    with serving(says("this")) as server:
        Endpoint(server.url + "/llm/v1", "small", patience=ONCE).ask(QUESTION)
    assert server.paths == ["/llm/v1/chat/completions"]


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.1",
        "10.0.0.5",
        "0.0.0.0",
        "[2001:db8::1]",
        "[::]",
        "[::ffff:192.0.2.1]",
        "169.254.169.254",
        "3221225985",
    ],
)
@pytest.mark.usefixtures("no_socket")
def test_elsewhere_is_refused_without_a_socket(host):
    with pytest.raises(
        EndpointError, match=r"needs a language model on this machine.*PhysioNet.*may not be sent.*--allow-remote"
    ):
        Endpoint(f"http://{host}:8000", "small")


@pytest.mark.usefixtures("no_socket")
def test_a_name_is_judged_by_every_address_it_has(monkeypatch):
    leads_to(monkeypatch, "127.0.0.1", "192.0.2.1")
    with pytest.raises(EndpointError, match=r"model\.example:1: needs .* is at 192\.0\.2\.1;"):
        Endpoint("http://model.example:1", "small")
    leads_to(monkeypatch, "::1", "127.0.0.1")
    assert Endpoint("http://model.example:1", "small").url == "http://model.example:1"


def test_a_name_that_leads_elsewhere_later_is_refused_then(monkeypatch):
    endpoint = Endpoint("http://localhost:9", "small", patience=ONCE)
    leads_to(monkeypatch, "192.0.2.1")
    with pytest.raises(EndpointError, match="on this machine, and this server is at 192"):
        endpoint.ask(QUESTION)


def test_the_address_that_was_looked_at_is_the_one_connected_to(monkeypatch):
    with serving(says("this")) as server:
        port = server.server_address[1]
        leads_to(monkeypatch, "127.0.0.1")
        assert Endpoint(f"http://model.example:{port}", "small", patience=ONCE).ask(QUESTION).text == "this"
        assert server.headers[0]["Host"] == f"model.example:{port}"


@pytest.mark.usefixtures("no_socket")
def test_a_user_in_the_url_does_not_hide_the_host():
    with pytest.raises(EndpointError) as refused:
        Endpoint("http://127.0.0.1:secret@192.0.2.1/", "small")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["", "model", "ftp://127.0.0.1", "http://", "http://127.0.0.1:x", "http://127.0.0.1/?key=hush", "http://a b"]
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(EndpointError, match="the language model's URL needs") as refused:
        Endpoint(url, "small")
    assert "hush" not in str(refused.value)


def test_loopback_is_what_stays_on_this_machine():
    stays = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
    leaves = ["0.0.0.0", "::", "128.0.0.1", "192.168.0.1", "::ffff:10.0.0.1", "fe80::1%1", "fd00::1"]
    assert [host for host in stays + leaves if is_loopback((host, 80))] == stays


def test_a_remote_server_is_asked_only_with_leave_and_a_warning(monkeypatch, caplog):
    tried = []

    def connect(address, _):
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", connect)
    with caplog.at_level(logging.WARNING, "stethos"):
        endpoint = Endpoint("http://192.0.2.1:8000", "small", allow_remote=True, patience=ONCE)
    assert "PhysioNet" in caplog.text
    assert "unencrypted" in caplog.text
    with pytest.raises(EndpointError, match="cannot be reached"):
        endpoint.ask(QUESTION)
    assert tried == [("192.0.2.1", 8000)]


def test_this_machine_is_asked_without_a_warning(caplog):
    Endpoint("http://localhost:8000", "small", allow_remote=True)
    assert not caplog.records


@pytest.mark.parametrize("model", ["gpt-oss:120b-cloud", "glm:cloud"])
def test_a_model_that_its_name_puts_into_a_cloud_is_remote(model, caplog):
    with pytest.raises(EndpointError, match=r"hands .*cloud on to a cloud"):
        Endpoint("http://127.0.0.1:11434", model)
    Endpoint("http://127.0.0.1:11434", model, allow_remote=True)
    assert "leaves this machine" in caplog.text
    assert Endpoint("http://127.0.0.1:11434", "cloud-7b:latest").model == "cloud-7b:latest"


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    with serving(says("through the proxy")) as proxy, serving(says("this")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert ask(server).text == "this"
        assert not proxy.asked


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_tried_again(status):
    with serving(redirects("http://192.0.2.1/v1/chat/completions?token=hush", status)) as server:
        with pytest.raises(EndpointError, match=r"sends on to http://192\.0\.2\.1/v1/chat/completions, which") as no:
            ask(server)
        assert len(server.asked) == 1
    assert (no.value.kind, no.value.lasting) == ("redirect", True)
    assert "hush" not in str(no.value)


def test_a_redirect_to_another_server_here_is_not_followed_either():
    with serving(says("this")) as other, serving(redirects(other.url)) as server:
        with pytest.raises(EndpointError, match="not followed"):
            ask(server)
        assert not other.asked


@pytest.mark.parametrize("wrong", [fails(500), fails(503), fails(429), resets, ends_early, sends(b"{"), sends(b"[1]")])
def test_what_may_pass_is_tried_again(wrong):
    with serving(in_turn(wrong, wrong, says("this"))) as server:
        assert ask(server).text == "this"
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (fails(500, "out of memory"), "HTTP 500", r"HTTP 500 \(out of memory\), 4 times"),
        (resets, "connection lost", "broke the connection off, 4 times"),
        (ends_early, "connection lost", "broke the connection off, 4 times"),
        (sends(b"<html>"), "unreadable answer", "no JSON, 4 times"),
        (sends(b'{"choices": [{"mess'), "unreadable answer", "no JSON, 4 times"),
        (sends(b"[" * 100_000), "unreadable answer", "no JSON, 4 times"),
        (sends(b'{"weather": "fair"}'), "unreadable answer", "no chat completion, 4 times"),
        (sends(b'{"choices": [{"message": {"content": 5}}]}'), "unreadable answer", "no chat completion, 4 times"),
    ],
)
def test_what_does_not_pass_is_one_sentence_in_the_end(wrong, kind, said):
    with serving(wrong) as server:
        with pytest.raises(StethosError, match=said) as last:
            ask(server)
        assert len(server.asked) == 4
    assert (last.value.kind, last.value.lasting) == (kind, False)


@pytest.mark.parametrize("silence", [silent, trickles, drips])
def test_a_server_that_does_not_come_to_an_end_times_out(silence):
    with serving(silence) as server:
        start = time.monotonic()
        with pytest.raises(EndpointError, match=r"gave no answer within 0\.2 s, 2 times") as late:
            ask(server, SHORT)
        assert 0.4 <= time.monotonic() - start < 15
    assert late.value.kind == "timeout"


def test_a_timeout_is_tried_again():
    with serving(in_turn(silent, says("this"))) as server:
        assert ask(server, Patience(timeout=1.5, retries=5, pause=0.01)).text == "this"
        assert len(server.asked) >= 2


@pytest.mark.parametrize(("status", "lasting"), [(400, False), (401, True), (403, True), (404, True), (422, False)])
def test_a_refused_question_is_not_asked_again(status, lasting):
    with serving(fails(status, "no such thing")) as server:
        with pytest.raises(EndpointError, match=rf"HTTP {status} \(no such thing\); ") as refused:
            ask(server)
        assert len(server.asked) == 1
    assert refused.value.lasting is lasting


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_an_empty_answer_is_none(text):
    with serving(says(text)) as server:
        with pytest.raises(EndpointError, match="answered nothing"):
            ask(server)
        assert len(server.asked) == 1


def test_an_answer_cut_off_is_marked():
    with serving(says("this and", finish_reason="length")) as server:
        assert ask(server).cut


@pytest.mark.parametrize(("model", "told"), [("\ud800", ""), ("a\x1b[2J\nb", "a [2J b"), ("m" * 9999, "m" * 160)])
def test_the_name_that_a_server_gives_itself_can_be_written_down(model, told):
    answer = {**json.loads(completion("this")), "model": model, "usage": {"prompt_tokens": -3, "completion_tokens": 2}}
    with serving(sends(json.dumps(answer).encode())) as server:
        reply = ask(server)
    assert (reply.model, reply.read, reply.written) == (told, None, 2)


def test_what_a_server_says_does_not_reach_the_terminal_as_commands():
    with serving(fails(400, "\x1b[2J over\nhere")) as server, pytest.raises(EndpointError) as refused:
        ask(server)
    assert "([2J over here)" in str(refused.value)


def test_an_endless_answer_is_not_kept():
    with serving(sends(b" " * (2**22 + 1))) as server, pytest.raises(EndpointError, match="more than 4194304 bytes"):
        ask(server)


def test_the_server_says_how_long_to_wait():
    with serving(in_turn(fails(429, Retry_After="1"), says("this"))) as server:
        start = time.monotonic()
        assert ask(server).text == "this"
        assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    "value", ["0", format_datetime(datetime.now(UTC) - timedelta(days=1)), "soon", "nan", "-5", "²"]
)
def test_a_strange_time_to_wait_does_no_harm(value):
    with serving(in_turn(fails(429, Retry_After=value), says("this"))) as server:
        assert ask(server).text == "this"


def test_nobody_there_is_said_and_lasting():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EndpointError, match=r"cannot be reached \(Connection refused\), 4 times; start it") as none:
            Endpoint(url, "small", patience=SOON).ask(QUESTION)
    assert (none.value.kind, none.value.lasting) == ("unreachable", True)


def test_what_speaks_no_tls_is_not_spoken_to():
    with serving(says("this")) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(EndpointError, match="cannot be reached"):
            Endpoint(url, "small", patience=Patience(timeout=5, retries=0)).ask(QUESTION)
        assert not server.asked


def test_a_host_without_an_address_is_named(monkeypatch):
    def none(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    with pytest.raises(EndpointError, match=r"nowhere\.example.*Name or service not known"):
        Endpoint("http://nowhere.example", "small")


def test_the_key_is_sent_and_never_shown(monkeypatch, caplog):
    monkeypatch.setenv("SMALL_KEY", "sk-hush")
    with serving(in_turn(says("this"), fails(401, "wrong key sk-hush given"))) as server, caplog.at_level(0):
        endpoint = Endpoint(server.url, "small", key_variable="SMALL_KEY", patience=ONCE)
        endpoint.ask(QUESTION)
        assert server.headers[0]["Authorization"] == "Bearer sk-hush"
        with pytest.raises(EndpointError, match="wrong key … given") as refused:
            endpoint.ask(QUESTION)
    assert "hush" not in repr(endpoint) + str(refused.value) + caplog.text


@pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(monkeypatch, key):
    monkeypatch.setenv("SMALL_KEY", key)
    with pytest.raises(EndpointError, match="environment variable SMALL_KEY") as refused:
        Endpoint("http://127.0.0.1:1", "small", key_variable="SMALL_KEY")
    assert not key or key not in str(refused.value)


def test_a_model_needs_a_name():
    with pytest.raises(EndpointError, match="needs the name of a model"):
        Endpoint("http://127.0.0.1:1", " ")


def test_after_a_stop_nothing_is_tried_again():
    stop = threading.Event()
    stop.set()
    with serving(fails(500)) as server:
        with pytest.raises(EndpointError, match="HTTP 500"):
            Endpoint(server.url, "small", patience=Patience(20, 3, 30)).ask(QUESTION, stop)
        assert len(server.asked) == 1
