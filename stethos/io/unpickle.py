"""Pickles of arrays, read without running what they ask for.

A pickle is a program: it may name any function of any module and have it called. Here it may name the few things
by which numpy writes its arrays, and even those are stand-ins written in this file, so that neither a crafted
data type nor a crafted shape reaches numpy's own code. Everything else is refused by its name.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stethos.errors import FormatError

_PLAIN = re.compile(r"[<>|=]?(?:[biufc](?:1|2|4|8|16)|[SU]\d{1,6})")
_DEEPEST = 50


class _Type:
    """Stands for `numpy.dtype`: a kind and size that are checked, and a byte order."""

    def __init__(self, spelt: object, *_: object) -> None:
        said = _text(spelt)
        if not _PLAIN.fullmatch(said):
            raise FormatError(f"holds an array of type {said[:20]!r}, which is neither numbers nor text")
        self.plain = np.dtype(said)

    def __setstate__(self, state: tuple) -> None:
        if _text(state[1]) == ">":
            self.plain = self.plain.newbyteorder(">")


class _Array:
    """Stands for `numpy.ndarray`: its bytes become an array once type and shape are known to fit them."""

    values: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_column, data = state
        self.values = _filled(data, kind, shape, "F" if by_column else "C")


class _Named:
    """A function that a pickle may call, and nothing else may be done with it."""

    __slots__ = ("_name",)
    _name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __call__(self, *given: object) -> object:
        return _CALLS[self._name](*given)

    def __setattr__(self, name: str, value: object) -> None:
        raise FormatError(f"asks to change {name} of a function")

    def __setstate__(self, state: object) -> None:
        raise FormatError("asks to change a function")


def _filled(data: object, kind: object, shape: object, order: object = "C") -> np.ndarray:
    """An array from its bytes."""
    if not isinstance(kind, _Type) or not isinstance(shape, tuple) or _text(order) not in "CF":
        raise FormatError("holds an array without type, shape or order")
    if isinstance(data, str):  # Python 2 wrote bytes as text
        data = data.encode("latin1")
    count = int(np.prod(shape, dtype=object))
    if not isinstance(data, bytes | bytearray) or count * kind.plain.itemsize != len(data) or min(shape, default=0) < 0:
        raise FormatError(f"holds an array of shape {shape} that does not fit its bytes")
    if kind.plain.itemsize == 0:
        raise FormatError("holds an array of empty text")
    return np.frombuffer(bytes(data), kind.plain).reshape(shape, order=_text(order))  # type: ignore[call-overload]


def _text(said: object) -> str:
    if isinstance(said, bytes):
        return said.decode("latin1")
    if not isinstance(said, str):
        raise FormatError(f"has {type(said).__name__} where a text should stand")
    return said


def _encoded(text: object, encoding: object = "latin1") -> bytes:
    """`_codecs.encode`, by which Python 3 writes bytes for Python 2: from text to bytes only."""
    if _text(encoding).lower().replace("-", "") not in ("latin1", "utf8", "ascii"):
        raise FormatError(f"asks for the encoding {encoding!r}")
    return _text(text).encode(_text(encoding))


def _scalar(kind: object, data: object) -> object:
    return _filled(data, kind, ()).item()


_CALLS: dict[str, Callable[..., object]] = {
    "_reconstruct": lambda *_: _Array(),
    "scalar": _scalar,
    "_frombuffer": _filled,
    "dtype": _Type,
    "ndarray": lambda *_: _Array(),
    "encode": _encoded,
    "bytes": lambda text="", encoding="latin1": _encoded(text, encoding),
    "bytearray": lambda data=b"", *_: data,
}
_ALLOWED = {
    **{(f"numpy.{core}.multiarray", name): name for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "_frombuffer" for core in ("core", "_core")},
    **{("numpy", name): name for name in ("dtype", "ndarray")},
    **{(module, name): name for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
    ("_codecs", "encode"): "encode",
}


# in Python, not in C, whose memo takes whatever memory an index of 32 bits asks for
class _Restricted(pickle._Unpickler):
    """Opens what is on the list, and refuses the rest by its name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise FormatError(f"asks for {module}.{name}, which is neither an array nor plain data")
        return _Named(_ALLOWED[module, name])


def read_pickle(path: str | Path) -> Any:
    """The plain data of a pickle: dict, list, tuple, set, text, numbers and numpy arrays of these.

    Text of Python 2 is read as Latin-1.

    Args:
        path: The file.

    Raises:
        FormatError: It asks for anything else (the message names it), or is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _plain(_Restricted(file, encoding="latin1").load(), {})
    except FormatError as error:
        raise FormatError(f"{path}: a pickle that is not opened: it {error}; ask its maker for NPZ or CSV") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except Exception as error:  # a damaged pickle answers with whatever comes up
        raise FormatError(f"{path}: not a readable pickle ({type(error).__name__}: {error}); copy it again") from error


def _plain(data: Any, done: dict[int, Any], depth: int = 0) -> Any:
    """What was read, with arrays in the place of their stand-ins; `done` holds by identity what was seen."""
    if depth > _DEEPEST:
        raise FormatError(f"nests data more than {_DEEPEST} deep")
    if id(data) not in done:
        done[id(data)] = _built(data, lambda item: _plain(item, done, depth + 1))
    return done[id(data)]


def _built(data: Any, plain: Callable[[Any], Any]) -> Any:
    """One container or array; what is neither stays as it is."""
    if isinstance(data, dict):
        return {plain(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return type(data)(map(plain, data))
    if isinstance(data, _Array):
        if not hasattr(data, "values"):
            raise FormatError("holds an array without content")
        return data.values
    if isinstance(data, _Type | _Named):
        raise FormatError("holds a type or function where data should stand")
    return data
