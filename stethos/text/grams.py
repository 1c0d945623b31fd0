"""The words of a report as numbers, for a text tower that learns from nothing.

A Latin word is one token, a Chinese character is one, a number is one. Runs of one to three tokens within a clause are
hashed to a fixed number of places, so there is no vocabulary to fit or to keep, and "no mitral stenosis" is a place of
its own beside "mitral stenosis".
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence

import numpy as np

PLACES = 2**14
LONGEST = 3  # tokens in a run
LENGTH = 512  # runs kept of a report

_CLAUSE = re.compile(r"[.;:!?\n。；：！？]+(?!\d)")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_\u4e00-\u9fff]+|[\u4e00-\u9fff]|[%?<>]")


def grams(text: str) -> list[str]:
    """Distinct runs of one to three tokens of each clause, in order of appearance.

    Args:
        text: Any language; full-width letters and digits count as plain ones, capitals as small letters.
    """
    found: dict[str, None] = {}
    for clause in _CLAUSE.split(_plain(text)):
        words = _TOKEN.findall(clause)
        for length in range(1, LONGEST + 1):
            runs = zip(*(words[start:] for start in range(length)), strict=False)
            found.update(dict.fromkeys(" ".join(run) for run in runs))
    return list(found)


def tokens(text: str) -> list[str]:
    """Words, numbers and Chinese characters in order, without what stands between."""
    return _TOKEN.findall(_plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def hashed(texts: Sequence[str], places: int = PLACES, length: int = LENGTH) -> np.ndarray:
    """Places of the runs of each text, 1 … places − 1, and 0 behind the last, `(N, length)` int64.

    Of a longer text the last runs are kept, for a report ends with its conclusion.

    Args:
        texts: N of them.
        places: How many there are, 0 included.
        length: Runs kept.
    """
    table = np.zeros((len(texts), length), np.int64)
    for row, text in enumerate(texts):
        runs = grams(text)[-length:]
        table[row, : len(runs)] = [1 + zlib.crc32(run.encode()) % (places - 1) for run in runs]
    return table
