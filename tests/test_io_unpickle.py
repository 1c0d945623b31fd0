"""Pickles are read for their arrays, and nothing that they ask for is run."""

import os
import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import FormatError, StethosError
from stethos.io import read
from stethos.io.unpickle import read_pickle

HELD = {
    "rows": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 3)),
    "words": np.array(["ab", "c"]),
    "flags": np.array([True, False]),
    "number": np.float64(2.5),
    "count": np.int32(-3),
    "text": "é",
    "bytes": b"x\xff",
    "nested": [1, (2, 3.5), {"a": None}, [np.ones(2)]],
}


GLOBAL = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
MADE = GLOBAL + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R"
TYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00%sK\x00K\x01\x87R"


def dumped(path: Path, held: object, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(held, protocol))
    return path


def same(got: object, want: object) -> bool:
    if isinstance(want, np.ndarray):
        return isinstance(got, np.ndarray) and got.dtype == want.dtype and np.array_equal(got, want)
    if isinstance(want, dict):
        return isinstance(got, dict) and got.keys() == want.keys() and all(same(got[key], want[key]) for key in want)
    if isinstance(want, list | tuple):
        return type(got) is type(want) and len(got) == len(want) and all(map(same, got, want))
    return bool(got == want)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_data_come_back_as_they_were(tmp_path, protocol):
    assert same(read_pickle(dumped(tmp_path / "x.pkl", HELD, protocol)), HELD)


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_the_module_of_arrays_has_another_name_before_and_after_numpy_2(tmp_path, core):
    said = pickle.dumps(HELD, 2).replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", core)
    assert said.count(core + b".multiarray") == 2  # arrays and single numbers
    (tmp_path / "x.pkl").write_bytes(said)
    assert same(read_pickle(tmp_path / "x.pkl"), HELD)


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_an_array_that_is_written_as_its_buffer_is_read(tmp_path, core):
    kind = TYPE % b"f8" + b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    parts = b"(C\x08" + struct.pack("<d", 2.5) + kind + b"K\x01\x85X\x01\x00\x00\x00CtR."
    (tmp_path / "x.pkl").write_bytes(b"\x80\x03c" + core + b".numeric\n_frombuffer\n" + parts)
    assert same(read_pickle(tmp_path / "x.pkl"), np.array([2.5]))


class Python2(pickle._Pickler):
    """Writes text and bytes alike as the strings of Python 2, as the published pickles have them."""

    def _string(self, text: str | bytes) -> None:
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, str: _string, bytes: _string}


def test_a_pickle_of_python_2_is_read(tmp_path):
    held = {"subject": "S2", "signal": {"wrist": {"BVP": np.arange(4.0)[:, None]}}, "n": np.float64(1.5)}
    with (tmp_path / "x.pkl").open("wb") as file:
        Python2(file, 2).dump(held)
    assert same(read_pickle(tmp_path / "x.pkl"), held)
    assert pickle.loads((tmp_path / "x.pkl").read_bytes(), encoding="latin1")["subject"] == "S2"


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function: object, *given: object) -> None:
        self.call = (function, given)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "given", "named"),
    [
        (os.system, ("touch {}",), r"\.system"),
        (exec, ("open({!r}, 'w')",), r"\.exec"),
        (open, ("{}", "w"), r"\.open"),
        (np.save, ("{}", [1]), r"numpy\.save"),
        (getattr, ("x", "y"), r"\.getattr"),
        (np.random.default_rng, (), "default_rng"),
    ],
)
def test_a_pickle_that_would_write_a_file_is_refused_by_the_name_it_asks_for(
    tmp_path, protocol, function, given, named
):
    trace = tmp_path / "trace"
    given = tuple(item.format(str(trace)) if isinstance(item, str) else item for item in given)
    path = dumped(tmp_path / "x.pkl", {"signal": Calls(function, *given)}, protocol)
    with pytest.raises(FormatError, match=f"asks for .*{named}, which is neither an array nor plain data"):
        read_pickle(path)
    with pytest.raises(FormatError, match=named):
        read(path)
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_pickle_writes_the_file_where_it_is_not_restricted(tmp_path):
    pickle.loads(dumped(tmp_path / "x.pkl", Calls(open, str(tmp_path / "trace"), "w"), 2).read_bytes()).close()
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        # raw bytes that numpy would take for addresses of objects
        (MADE + b"(K\x01K\x01\x85" + TYPE % b"O8" + b"\x89C\x08\x00\x00\x00\x00\x00\x00\x00\x00tb.", "type 'O8'"),
        (MADE + b"(K\x01K\x09\x85" + TYPE % b"f8" + b"\x89C\x08\x00\x00\x00\x00\x00\x00\x00\x00tb.", "does not fit"),
        (MADE + b"(K\x01J\xff\xff\xff\xff\x85" + TYPE % b"f8" + b"\x89C\x00tb.", "does not fit"),
        (MADE + b".", "an array without content"),
        (b"\x80\x02cnumpy\ndtype\n.", "a type or function where data should stand"),
        (b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.", "asks to change a function"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R.", "asks for the encoding 'zlib'"),
        (b"\x80\x02]q\x00h\x00a.", "nests data more than 50 deep"),
        (b"\x80\x04\x82\x01.", "not a readable pickle"),
        (b"\x80\x02(lp0\nP1\n.", "not a readable pickle"),
        (b"\x80\x02}q", "not a readable pickle"),
        (b"", "not a readable pickle"),
    ],
)
def test_a_crafted_pickle_is_refused(tmp_path, said, why):
    (tmp_path / "x.pkl").write_bytes(said)
    with pytest.raises(FormatError, match=why):
        read_pickle(tmp_path / "x.pkl")


def test_references_that_double_at_each_level_are_not_unfolded(tmp_path):
    held: object = [np.zeros(1)]
    for _ in range(40):
        held = [held, held]
    got = read_pickle(dumped(tmp_path / "x.pkl", held, 4))
    assert got[0] is got[1]


def test_a_pickle_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FormatError, match=r"none\.pkl: cannot be read \(No such file"):
        read_pickle(tmp_path / "none.pkl")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_pickle_is_read_or_refused_with_our_own_error(tmp_path_factory, data):
    said = bytearray(pickle.dumps(HELD, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("p") / "x.pkl"
    path.write_bytes(said)
    try:
        read_pickle(path)
    except StethosError:
        return
