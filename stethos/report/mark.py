"""A word burnt into every frame of a cine, so that it stays with the picture wherever the picture goes.

The letters are three pixels wide and five high, of our own drawing, one pixel apart: nine of them fit 48 pixels.
"""

from __future__ import annotations

import numpy as np

from stethos.errors import FormatError, RecipeError

HIGH = 5  # pixels, a letter
WIDE = 3
MARGIN = 1  # around the line of letters
LEAST = 40  # pixels of height a frame has for each pixel of a letter's side

# Five octal digits a letter, a digit a row from the top, its three bits the pixels from the left.
LETTERS = {
    " ": "00000",
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "H": "55755",
    "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "75557", "P": "65644",
    "Q": "75571", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247",
    "0": "25552", "1": "26227", "2": "71747", "3": "71317", "4": "55711", "5": "74717", "6": "74757", "7": "71222",
    "8": "75757", "9": "75717",
}  # fmt: skip


def letters(text: str) -> np.ndarray:
    """A line of text in pixels.

    Args:
        text: Of A–Z, 0–9 and spaces; small letters are written as capitals.

    Returns:
        True where there is ink, `(5, 4 n − 1)` for n letters.

    Raises:
        RecipeError: Nothing is to be written, or it has a letter that is not drawn.
    """
    text = text.upper()
    unknown = sorted(set(text) - set(LETTERS))
    if unknown or not text.strip():
        came = f"got {', '.join(map(repr, unknown))}" if unknown else "got nothing"
        raise RecipeError(f"a mark is written in letters A to Z, digits and spaces; {came}")
    drawn = [[[int(digit) >> bit & 1 for bit in (2, 1, 0)] + [0] for digit in LETTERS[letter]] for letter in text]
    return np.concatenate([np.array(one, bool) for one in drawn], axis=1)[:, :-1]


def burnt_in(cine: np.ndarray, text: str) -> np.ndarray:
    """The cine with a black band along the foot of every frame and the text in white in its middle.

    The letters are as large as fits: one pixel for each 40 of the frame's height. Above the band nothing changes.

    Args:
        cine: `(F, H, W)`, in [0, 1].
        text: What to write; see `letters`.

    Returns:
        A copy, `(F, H, W)`.

    Raises:
        FormatError: The frames are too small for the text, or `cine` is not `(F, H, W)`.
        RecipeError: The text has a letter that is not drawn.
    """
    ink = letters(text)
    high, wide = (side + 2 * MARGIN for side in ink.shape)
    if np.ndim(cine) != 3 or cine.shape[1] < high or cine.shape[2] < wide:
        raise FormatError(
            f"the mark {text!r} needs frames of {high} by {wide} pixels or more; got shape {np.shape(cine)}"
        )
    size = max(1, min(cine.shape[1] // LEAST, cine.shape[2] // wide))
    line = np.kron(np.pad(ink, MARGIN), np.ones((size, size), bool))
    left = (cine.shape[2] - line.shape[1]) // 2
    marked = np.array(cine)
    marked[:, -len(line) :] = 0
    marked[:, -len(line) :, left : left + line.shape[1]] = line
    return marked
