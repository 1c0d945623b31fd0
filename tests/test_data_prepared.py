import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stethos.data.prepared import Preparation, prepare_cohort
from stethos.data.store import open_store
from stethos.errors import CohortError, QualityError
from stethos.types import Cohort, Fact, Record, Signal

COUNT = 9


def opened(row: int) -> Record:
    """Record r has r seconds at 10 Hz, filled with r."""
    return Record("s", f"r{row}", (Signal(np.full((1, 10 * row), row), 10.0, ("I",), "mV"),))


def cohort_of(count: int = COUNT) -> Cohort:
    return Cohort({"id": np.array([f"r{n}" for n in range(count)]), "subject": np.array(["s"] * count)}, opened)


def windows(record: Record, seconds: int = 2) -> tuple[np.ndarray, dict[str, Fact]]:
    """Whole windows of some seconds; the record of 5 s is refused."""
    values = record.signals[0].values
    if values.shape[1] == 50:
        raise QualityError("the record is flat")
    count = values.shape[1] // (10 * seconds)
    cut = values[:, : count * 10 * seconds].reshape(count, 1, 10 * seconds)
    return cut, {"duration": values.shape[1] / 10, "device": None if count else "short"}


TWO_SECONDS = Preparation(windows, (1, 20), key="two seconds v1")


def test_each_window_knows_its_record(tmp_path: Path):
    prepared = prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path)
    assert prepared.window_record.tolist() == [2, 3, 4, 4, 6, 6, 6, 7, 7, 7, 8, 8, 8, 8]
    taken = prepared.store.take(np.arange(len(prepared.store)))
    assert taken.shape == (14, 1, 20)
    assert taken[:, 0, 19].tolist() == prepared.window_record.tolist()


def test_refused_records_are_listed_with_their_reason(tmp_path: Path):
    prepared = prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path)
    assert prepared.refused == (("r5", "the record is flat"),)
    assert prepared.lines() == ["14 windows of 6 records", "refused: 1 records", "  r5: the record is flat"]


def test_facts_stand_at_their_record(tmp_path: Path):
    facts = prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path).facts
    np.testing.assert_array_equal(facts["duration"], [0, 1, 2, 3, 4, np.nan, 6, 7, 8])
    assert facts["device"].tolist() == ["short", "short", None, None, None, None, None, None, None]


def weighed(record: Record):
    cut, facts = windows(record)
    return cut, facts, [1 / (1 + number) for number in range(len(cut))]


def test_what_windows_weigh_is_kept_beside_them(tmp_path: Path):
    assert prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path / "plain").weight is None
    prepared = prepare_cohort(cohort_of(), Preparation(weighed, (1, 20), key="weighed"), tmp_path)
    assert prepared.window_record.tolist() == [2, 3, 4, 4, 6, 6, 6, 7, 7, 7, 8, 8, 8, 8]
    third = [1, 1 / 2, 1 / 3]
    assert prepared.weight.tolist() == [1, 1, 1, 1 / 2, *third, *third, *third, 1 / 4]


def test_rows_are_those_of_the_part_that_is_prepared(tmp_path: Path):
    prepared = prepare_cohort(cohort_of().take([8, 2]), TWO_SECONDS, tmp_path)
    assert prepared.window_record.tolist() == [0, 0, 0, 0, 1]
    assert prepared.store[4][0, 0] == 2


def test_a_second_call_opens_what_is_there(tmp_path: Path):
    prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path)
    steps: list[tuple[int, int]] = []
    again = prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path, progress=lambda *step: steps.append(step))
    assert steps == []
    assert again.refused == (("r5", "the record is flat"),)


def test_another_preparation_or_other_records_are_refused(tmp_path: Path):
    prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path)
    with pytest.raises(CohortError, match="another key"):
        prepare_cohort(cohort_of(), Preparation(windows, (1, 20), key="two seconds v2"), tmp_path)
    with pytest.raises(CohortError, match="another key"):
        prepare_cohort(cohort_of().take([0, 1]), TWO_SECONDS, tmp_path)


def test_a_window_of_another_shape_is_refused(tmp_path: Path):
    wrong = Preparation(partial(windows, seconds=3), (1, 20), key="")
    with pytest.raises(CohortError, match=r"has shape \(1, 20\); got \(1, 30\)"):
        prepare_cohort(cohort_of(), wrong, tmp_path)


def test_two_processes_prepare_what_one_does(tmp_path: Path):
    one = prepare_cohort(cohort_of(30), TWO_SECONDS, tmp_path / "one", workers=1)
    two = prepare_cohort(cohort_of(30), TWO_SECONDS, tmp_path / "two", workers=2)
    assert two.window_record.tolist() == one.window_record.tolist()
    assert two.refused == one.refused
    rows = np.arange(len(one.store))
    np.testing.assert_array_equal(two.store.take(rows), one.store.take(rows))


def killed_at(record: Record, last: str) -> tuple[np.ndarray, dict[str, Fact]]:
    if record.id == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return windows(record)


KILLED = """
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch
sys.path.insert(0, sys.argv[2])
from test_data_prepared import Preparation, cohort_of, killed_at, prepare_cohort
with patch("stethos.data.prepared._SHARD_BYTES", 200):
    work = Preparation(partial(killed_at, last="r7"), (1, 20), key="two seconds v1")
    prepare_cohort(cohort_of(), work, Path(sys.argv[1]))
"""


def test_a_killed_preparation_goes_on_without_losing_or_doubling_a_record(tmp_path: Path):
    here = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed"), here], check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(CohortError, match="not finished"):
        open_store(tmp_path / "killed")
    steps: list[tuple[int, int]] = []
    resumed = prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path / "killed", progress=lambda *step: steps.append(step))
    assert 0 < steps[-1][1] < COUNT
    whole = prepare_cohort(cohort_of(), TWO_SECONDS, tmp_path / "whole")
    assert resumed.window_record.tolist() == whole.window_record.tolist()
    assert resumed.refused == whole.refused
    np.testing.assert_array_equal(resumed.facts["duration"], whole.facts["duration"])
    rows = np.arange(len(whole.store))
    np.testing.assert_array_equal(resumed.store.take(rows), whole.store.take(rows))


def die(record: Record) -> tuple[np.ndarray, dict[str, Fact]]:
    os._exit(1)


def test_a_process_that_dies_is_said_in_a_sentence(tmp_path: Path):
    with pytest.raises(CohortError, match="a worker process died"):
        prepare_cohort(cohort_of(), Preparation(die, (1, 20), key=""), tmp_path, workers=2)
