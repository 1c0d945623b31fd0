from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.data.join import MEDS, Source, join, measurements, parse_span
from stethos.errors import CohortError
from stethos.types import Cohort, Record


def visits(*rows: tuple[str, str | None]) -> Cohort:
    """Subjects and times of day on 1 January 2020."""
    ids = np.array([f"visit{row}" for row in range(len(rows))])
    when = np.array([at(time) if time else "NaT" for _, time in rows], "datetime64[s]")
    subjects = np.array([name for name, _ in rows])
    return Cohort({"id": ids, "subject": subjects, "when": when}, Opener([str(name) for name in ids]))


class Opener:
    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def __call__(self, row: int) -> Record:
        return Record("someone", self.ids[row], (), facts={"age": 50.0})


def at(time: str) -> str:
    return f"2020-01-01T{time}:00"


def table(*rows: tuple[str, str, float]) -> pl.DataFrame:
    names = ["subject", "time", "potassium"]
    return pl.DataFrame([(name, at(time), value) for name, time, value in rows], schema=names, orient="row")


def pairs(cohort: Cohort, values: pl.DataFrame, within: str = "1h", **how) -> dict[str, float]:
    joined = join(cohort, measurements(values, "potassium"), within, **how).cohort
    return dict(zip(joined.rows["id"].tolist(), joined.rows["potassium"].tolist(), strict=True))


LABS = table(("a", "09:10", 4.0), ("a", "10:20", 5.0), ("a", "12:00", 6.0), ("b", "10:00", 7.0))


def test_the_nearest_value_of_the_same_subject_is_taken():
    assert pairs(visits(("a", "10:00"), ("b", "10:59")), LABS) == {"visit0": 5.0, "visit1": 7.0}


def test_minutes_are_negative_where_the_value_came_first():
    joined = join(visits(("a", "09:40"), ("b", "09:45")), measurements(LABS, "potassium"), "1h").cohort
    assert joined.rows["potassium_minutes"].tolist() == [-30.0, 15.0]


def test_before_and_after_look_to_one_side():
    assert pairs(visits(("a", "10:00")), LABS, direction="before") == {"visit0": 4.0}
    assert pairs(visits(("a", "10:00")), LABS, direction="after") == {"visit0": 5.0}


def test_a_value_at_the_very_moment_is_before_and_after():
    assert pairs(visits(("a", "10:20")), LABS, direction="before") == {"visit0": 5.0}
    assert pairs(visits(("a", "10:20")), LABS, direction="after") == {"visit0": 5.0}


def test_the_edge_of_the_window_is_inside():
    assert pairs(visits(("b", "11:00")), LABS) == {"visit0": 7.0}
    with pytest.raises(CohortError, match="no record finds a value"):
        pairs(visits(("b", "11:01")), LABS)


def test_of_two_values_equally_far_the_earlier_wins():
    tied = table(("a", "10:30", 5.0), ("a", "09:30", 4.0))
    assert pairs(visits(("a", "10:00")), tied) == {"visit0": 4.0}


def test_of_two_values_at_one_moment_the_first_of_the_table_wins():
    assert pairs(visits(("a", "10:00")), table(("a", "09:30", 4.1), ("a", "09:30", 4.2))) == {"visit0": 4.1}


def test_a_value_serves_one_record_and_the_other_takes_its_next():
    # 10:15 is nearer to 10:20 than 10:00 is, so 10:00 falls back on 09:10
    cohort = visits(("a", "10:00"), ("a", "10:15"))
    assert pairs(cohort, LABS) == {"visit0": 4.0, "visit1": 5.0}
    assert pairs(cohort, LABS, one_to_one=False) == {"visit0": 5.0, "visit1": 5.0}


def test_a_record_that_loses_its_only_value_is_counted():
    joined = join(visits(("b", "10:30"), ("b", "10:05")), measurements(LABS, "potassium"), "1h")
    assert joined.cohort.rows["id"].tolist() == ["visit1"]
    assert [(loss.step, loss.left) for loss in joined.losses[-2:]] == [
        ("with a value within 1:00:00", 2),
        ("with a value of its own", 1),
    ]


def test_excluded_values_are_not_used_and_unknown_ones_are():
    flagged = LABS.with_columns(haemolysed=pl.Series([None, 1, 0, 1]))
    values = measurements(flagged, "potassium", exclude="haemolysed")
    joined = join(visits(("a", "10:00"), ("b", "10:00")), values, "1h")
    assert joined.cohort.rows["potassium"].tolist() == [4.0]
    assert [loss.left for loss in values.losses] == [4, 4, 2]


def test_every_step_says_what_it_left():
    cohort = visits(("a", "10:00"), ("b", None), ("c", "10:00"), ("a", "20:00"))
    joined = join(cohort, measurements(LABS, "potassium"), timedelta(hours=1))
    assert [(loss.left, loss.subjects) for loss in joined.losses] == [(4, 3), (3, 2), (2, 1), (1, 1), (1, 1)]
    assert joined.lines()[0] == "in the table: 4 values, 2 subjects"
    assert joined.lines()[-1] == "with a value of its own: 1 records, 1 subjects"


def test_a_joined_record_opens_with_its_value():
    record = join(visits(("c", "10:00"), ("b", "10:30")), measurements(LABS, "potassium"), "1h").cohort[0]
    assert record.id == "visit1"
    assert dict(record.facts) == {"age": 50.0, "potassium": 7.0, "potassium_minutes": -30.0}


def test_reports_are_joined_as_the_text_of_the_record():
    reports = pl.DataFrame({"subject": ["a"], "time": [at("10:05")], "report": ["Moderate aortic stenosis."]})
    joined = join(visits(("a", "10:00")), measurements(reports, "report"), "1h").cohort
    assert joined[0].text == "Moderate aortic stenosis."


def test_a_csv_with_other_names_and_several_quantities_is_read(tmp_path: Path):
    text = "patient,drawn,test,result\n1,2020-01-01 10:05,K,5.1\n1,2020-01-01 10:05,NA,140\n1,2020-01-01 10:01,K,\n"
    (tmp_path / "labs.csv").write_text(text, encoding="utf8")
    values = measurements(tmp_path / "labs.csv", "potassium", Source("patient", "drawn", "result", "test"), "K")
    assert values.value.tolist() == [5.1]
    assert [loss.left for loss in values.losses] == [2, 1]


def test_numbers_as_subjects_meet_text_as_subjects():
    values = pl.DataFrame({"subject": [7.0, None], "time": [datetime(2020, 1, 1, 10)] * 2, "potassium": [4.4, 4.0]})
    assert pairs(visits(("7", "10:00")), values) == {"visit0": 4.4}


def test_coded_events_are_joined_by_their_code():
    events = pl.DataFrame(
        {
            "subject_id": [1, 1, 1],
            "time": [datetime(2020, 1, 1, 10), datetime(2020, 1, 1, 10, 1), None],
            "code": ["LAB//K", "LAB//NA", "GENDER//F"],
            "numeric_value": [5.9, 141.0, None],
        }
    )
    joined = join(visits(("1", "10:10")), measurements(events, "potassium", MEDS, "LAB//K"), "1h").cohort
    assert joined.rows["potassium"].tolist() == [5.9]
    with pytest.raises(CohortError, match="no row has the code LAB//X; the most frequent are"):
        measurements(events, "potassium", MEDS, "LAB//X")


def test_a_folder_of_events_is_joined_by_its_code(tmp_path: Path):
    from stethos.io.meds import write_meds

    events = pl.DataFrame(
        {
            "subject_id": pl.Series([1, 1], dtype=pl.Int64),
            "time": [datetime(2020, 1, 1, 10), datetime(2020, 1, 1, 10, 1)],
            "code": ["LAB//K//mmol/L", "LAB//NA//mmol/L"],
            "numeric_value": pl.Series([5.9, 141.0], dtype=pl.Float32),
        }
    )
    write_meds(tmp_path, events)
    values = measurements(tmp_path, "potassium", code="LAB//K//mmol/L")
    assert values.value[0] == pytest.approx(5.9)
    with pytest.raises(CohortError, match="codes that contain it: LAB//K//mmol/L"):
        measurements(tmp_path, "potassium", code="LAB//K")
    with pytest.raises(CohortError, match="needs a code"):
        measurements(tmp_path, "potassium")


def test_a_missing_column_is_named():
    with pytest.raises(CohortError, match="needs the column lactate; it has subject, time, potassium"):
        measurements(LABS, "lactate")
    with pytest.raises(CohortError, match="needs the column haemolysed"):
        measurements(LABS, "potassium", exclude="haemolysed")


def test_a_value_does_not_take_the_place_of_the_subject():
    with pytest.raises(CohortError, match="cannot be called subject"):
        measurements(LABS, "subject")


def test_an_absent_table_is_refused(tmp_path: Path):
    with pytest.raises(CohortError, match="there is no such file"):
        measurements(tmp_path / "labs.csv", "potassium")


def test_an_unknown_direction_is_refused():
    with pytest.raises(CohortError, match="nearest, before or after; got 'around'"):
        pairs(visits(("a", "10:00")), LABS, direction="around")


@pytest.mark.parametrize(("text", "seconds"), [("1h", 3600), ("30min", 1800), ("1.5 d", 129600), ("90s", 90)])
def test_lengths_of_time_are_read(text: str, seconds: int):
    assert parse_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["1", "h", "-1h", "1 hour", "1m"])
def test_what_is_no_length_of_time_is_refused(text: str):
    with pytest.raises(CohortError, match="a length of time is"):
        parse_span(text)


MINUTES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 300)), min_size=1, max_size=12)


@settings(max_examples=120, deadline=None)
@given(MINUTES, MINUTES, st.sampled_from(["nearest", "before", "after"]), st.booleans(), st.integers(0, 90))
def test_no_pair_leaves_its_window_subject_or_side_and_losses_only_grow(records, drawn, direction, one, window):
    start = datetime(2020, 1, 1)
    clock = [(name, f"{minute // 60:02d}:{minute % 60:02d}") for name, minute in records]
    values = pl.DataFrame(
        {
            "subject": [name for name, _ in drawn],
            "time": [start + timedelta(minutes=minute) for _, minute in drawn],
            "potassium": [float(number) for number in range(len(drawn))],
        }
    )
    allowed = {
        row: [
            number
            for number, (owner, minute) in enumerate(drawn)
            if owner == name
            and abs(minute - at_minute) <= window
            and (direction != "before" or minute <= at_minute)
            and (direction != "after" or minute >= at_minute)
        ]
        for row, (name, at_minute) in enumerate(records)
    }
    try:
        joined = join(visits(*clock), measurements(values, "potassium"), timedelta(minutes=window), direction, one)
    except CohortError:
        assert not any(allowed.values())
        return
    found = [int(name[5:]) for name in joined.cohort.rows["id"]]
    used = joined.cohort.rows["potassium"].astype(int).tolist()
    assert all(number in allowed[row] for row, number in zip(found, used, strict=True))
    assert [drawn[n][1] - records[r][1] for r, n in zip(found, used, strict=True)] == joined.cohort.rows[
        "potassium_minutes"
    ].tolist()
    left = [loss.left for loss in joined.losses]
    assert left == sorted(left, reverse=True)
    assert (left[0], left[-1]) == (len(records), len(found))
    if one:
        assert len(set(used)) == len(used)
    else:
        assert found == [row for row, numbers in allowed.items() if numbers]
        for row, number in zip(found, used, strict=True):
            distance = [abs(drawn[item][1] - records[row][1]) for item in allowed[row]]
            assert abs(drawn[number][1] - records[row][1]) == min(distance)
