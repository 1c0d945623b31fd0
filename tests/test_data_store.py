import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.data.store import StoreWriter, open_store, write_store
from stethos.errors import CohortError


def rows(count: int) -> Iterator[tuple[str, np.ndarray]]:
    for row in range(count):
        yield f"r{row}", np.full((2, 3), row, np.float32)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 20), shard=st.integers(1, 8))
def test_rows_come_back_by_number_whatever_the_shards(tmp_path_factory: pytest.TempPathFactory, count: int, shard: int):
    store = write_store(tmp_path_factory.mktemp("store"), rows(count), (2, 3), shard_rows=shard)
    assert len(store) == count
    assert store.ids.tolist() == [f"r{row}" for row in range(count)]
    assert [float(store[row][1, 2]) for row in range(count)] == list(range(count))


def test_taking_rows_copies_them_in_the_order_asked_for(tmp_path: Path):
    store = write_store(tmp_path, rows(7), (2, 3), shard_rows=3)
    taken = store.take([6, 0, 3, 0])
    assert taken.shape == (4, 2, 3)
    assert taken[:, 0, 0].tolist() == [6, 0, 3, 0]
    taken[:] = -1
    assert store[6][0, 0] == 6


def test_a_row_is_read_only_and_counts_from_the_end_too(tmp_path: Path):
    store = write_store(tmp_path, rows(5), (2, 3), shard_rows=2)
    assert store[-1][0, 0] == 4
    with pytest.raises(ValueError, match="read-only"):
        store[0][0, 0] = 1
    with pytest.raises(IndexError):
        store[5]


def test_other_types_are_kept(tmp_path: Path):
    store = write_store(tmp_path, [("a", np.array([3, 4]))], (2,), dtype=np.int16)
    assert store[0].dtype == np.int16
    assert store[0].tolist() == [3, 4]


def test_a_row_of_another_shape_is_refused(tmp_path: Path):
    with pytest.raises(CohortError, match=r"x: a row of this store has shape \(2, 3\); got \(3, 2\)"):
        write_store(tmp_path, [("x", np.zeros((3, 2)))], (2, 3))


def test_a_store_of_another_key_is_refused_by_writer_and_reader(tmp_path: Path):
    write_store(tmp_path, rows(2), (2, 3), key={"filter": 0.5})
    open_store(tmp_path, key={"filter": 0.5})
    with pytest.raises(CohortError, match=r"another key .*0\.5.*delete the folder"):
        open_store(tmp_path, key={"filter": 0.6})
    with pytest.raises(CohortError, match="another key"):
        write_store(tmp_path, rows(2), (2, 3), key={"filter": 0.6})
    with pytest.raises(CohortError, match="another shape"):
        write_store(tmp_path, rows(2), (3, 2), key={"filter": 0.5})


def test_a_folder_without_an_index_does_not_open(tmp_path: Path):
    writer = StoreWriter(tmp_path, (2, 3))
    writer.append("a", np.zeros((2, 3)))
    writer.close_shard()
    with pytest.raises(CohortError, match="not finished"):
        open_store(tmp_path)


def test_a_shard_that_was_cut_short_does_not_open(tmp_path: Path):
    write_store(tmp_path, rows(4), (2, 3), shard_rows=2)
    shard = tmp_path / "shard-00001.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CohortError, match="needs 48 bytes, holds 47"):
        open_store(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from stethos.data.store import write_store

def rows():
    for row in range(10):
        if row == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield f"r{row}", np.full((2, 3), row, np.float32)

write_store(Path(sys.argv[1]), rows(), (2, 3), key="k", shard_rows=2)
"""


def test_a_killed_writer_goes_on_and_ends_with_the_same_store(tmp_path: Path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(CohortError, match="not finished"):
        open_store(tmp_path / "killed")
    assert StoreWriter(tmp_path / "killed", (2, 3), "k").done == 6
    resumed = write_store(tmp_path / "killed", rows(10), (2, 3), key="k", shard_rows=2)
    whole = write_store(tmp_path / "whole", rows(10), (2, 3), key="k", shard_rows=2)
    assert resumed.ids.tolist() == whole.ids.tolist()
    np.testing.assert_array_equal(resumed.take(range(10)), whole.take(range(10)))
    assert not list((tmp_path / "killed").glob("*.part"))


def test_a_whole_store_is_not_written_again(tmp_path: Path):
    write_store(tmp_path, rows(3), (2, 3))
    assert len(write_store(tmp_path, iter([]), (2, 3))) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the device that is always full")
def test_a_full_disk_is_said_in_a_sentence_and_leaves_no_store(tmp_path: Path):
    StoreWriter(tmp_path, (2, 3))
    (tmp_path / "shard-00000.part").symlink_to("/dev/full")
    with pytest.raises(CohortError, match="the disk is full"):
        write_store(tmp_path, rows(3), (2, 3))
    with pytest.raises(CohortError, match="not finished"):
        open_store(tmp_path)


def test_notes_come_back_with_their_shards(tmp_path: Path):
    writer = StoreWriter(tmp_path, (1,))
    writer.append("a", np.ones(1))
    writer.close_shard({"records": [3]})
    assert writer.finish().notes == ({"records": [3]},)
    assert json.loads((tmp_path / "index.json").read_text())["shards"] == 1
