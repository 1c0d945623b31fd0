import errno
import os

import pytest

from stethos.errors import FormatError, StethosError
from stethos.io.files import decoded, read_bytes, write_atomic


def test_a_written_file_holds_the_bytes_and_nothing_else_lies_beside_it(tmp_path):
    write_atomic(tmp_path / "new" / "a.bin", b"123")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"123"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]


def test_a_full_disk_is_one_clear_sentence_and_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StethosError, match=r"a\.bin: needs 3 bytes and the disk is full; free space"):
        write_atomic(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(FormatError, match="cannot be written"):
        write_atomic(tmp_path / "a" / "b", b"")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"nothere: cannot be read \(No such file"):
        read_bytes(tmp_path / "nothere")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_usual_encodings_are_told_apart(encoding):
    assert decoded("Gerät; µV".encode(encoding)) == "Gerät; µV"
