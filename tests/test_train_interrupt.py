import signal
import threading

import pytest

from stethos.train.interrupt import stop_request


def raising(number, frame):
    raise TimeoutError


@pytest.fixture(autouse=True)
def _answer():
    before = signal.signal(signal.SIGTERM, raising)
    yield
    signal.signal(signal.SIGTERM, before)


def ask(times: int, heed: bool) -> None:
    with stop_request() as asked:
        assert not asked()
        for _ in range(times):
            signal.raise_signal(signal.SIGTERM)
        assert asked()
        if heed:
            raise InterruptedError


def test_the_first_signal_is_noted_and_the_old_answer_comes_back():
    with pytest.raises(InterruptedError):
        ask(times=1, heed=True)
    assert signal.getsignal(signal.SIGTERM) is raising


def test_the_second_signal_is_answered_as_before():
    with pytest.raises(TimeoutError):
        ask(times=2, heed=True)


def test_a_signal_that_nobody_heeded_is_answered_at_the_end():
    with pytest.raises(TimeoutError):
        ask(times=1, heed=False)


def test_another_thread_leaves_the_signals_alone():
    seen = []

    def work() -> None:
        with stop_request() as asked:
            seen.extend([asked(), signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, raising]
