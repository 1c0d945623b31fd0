"""Being asked to stop, and stopping at a good place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ASKS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_request() -> Iterator[Callable[[], bool]]:
    """Within it the first SIGTERM or SIGINT is only noted; the second does what it did before.

    Python delivers signals to the main thread alone; in another thread nothing is noted.

    Yields:
        Whether to stop.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in _ASKS}

    def note(number: int, _: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in _ASKS:
        signal.signal(number, note)
    try:
        yield lambda: bool(asked)
    finally:
        for number in _ASKS:
            signal.signal(number, before[number])
    if asked:  # it came too late to be heeded within
        signal.raise_signal(asked[-1])
