"""Who goes where, worked out by hand, and what must hold for any cohort."""

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stethos.errors import SplitError
from stethos.study.partition import Partition, partition
from stethos.types import Cohort

SITES = ("north", "south", "harbour")
# subject, site, date of every visit
VISITS = [
    ("a", "north", "2020-05-01"),
    ("a", "harbour", "2021-05-01"),  # seen inside: its visit outside is lost
    ("b", "harbour", "2020-05-01"),
    ("b", "harbour", "2023-05-01"),
    ("c", "north", "2021-05-01"),
    ("c", "north", "2023-05-01"),  # seen earlier: its later visit is lost
    ("d", "south", "2022-01-01"),  # on the first day of the later period
    ("e", "south", "2021-12-31"),
    *((subject, "north", "2019-01-01") for subject in "fghijk"),
]


def cohort(visits) -> Cohort:
    subjects, sites, dates = (np.array(column) for column in zip(*visits, strict=True))
    rows = {"id": np.arange(len(visits)).astype(str), "subject": subjects, "site": sites}
    return Cohort(rows | {"when": dates.astype("datetime64[s]")}, lambda row: pytest.fail("no recording is opened"))


def lost(flow) -> int:
    return sum(int(re.match(r"\d+", step.lost)[0]) for step in flow if step.lost)


def test_everybody_goes_where_the_rules_say():
    parts, flow = partition(cohort(VISITS), Partition(("harbour",), "2022-01-01", 0.25, 0.25))
    assert sorted(parts["external"].rows["id"]) == ["2", "3"]
    assert list(parts["temporal"].subjects) == ["d"]
    inside = np.concatenate([parts[name].subjects for name in ("train", "valid", "internal")])
    assert sorted(inside) == ["a", "c", "e", *"fghijk"]
    assert [len(parts[name]) for name in ("train", "valid", "internal")] == [4, 3, 2]  # (k + ½) / 9 below ½, below ¾
    boxes = {step.label: (step.records, step.subjects, step.lost) for step in flow}
    assert boxes["external"] == (2, 1, "1 records of subjects also seen inside")
    assert boxes["temporal"] == (1, 1, "1 later records of earlier subjects")
    assert boxes["train"] == (4, 4, "")
    assert len(VISITS) == sum(step.records for step in flow) + lost(flow)


def test_without_sites_and_dates_there_are_three_parts_and_nothing_is_lost():
    parts, flow = partition(cohort(VISITS), Partition())
    assert list(parts) == ["train", "valid", "internal"]
    assert lost(flow) == 0
    assert sum(len(part) for part in parts.values()) == len(VISITS)


def test_a_test_share_of_zero_leaves_the_internal_part_out():
    parts, _ = partition(cohort(VISITS), Partition(("harbour",), test_fraction=0.0))
    assert list(parts) == ["train", "valid", "external"]


def test_the_seed_alone_decides_the_shuffle():
    people = cohort(VISITS)
    first, same, other = (partition(people, Partition(split_seed=seed))[0] for seed in (0, 0, 1))
    assert all(np.array_equal(first[name].rows["id"], same[name].rows["id"]) for name in first)
    assert any(not np.array_equal(first[name].rows["id"], other[name].rows["id"]) for name in first)


def test_a_new_visit_of_a_known_subject_moves_nobody():
    before, _ = partition(cohort(VISITS), Partition())
    after, _ = partition(cohort([*VISITS, ("f", "north", "2019-02-01")]), Partition())
    for name, part in before.items():
        assert set(part.subjects) == set(after[name].subjects)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Partition(("lakeside",)), "no record of site lakeside; sites are harbour, north, south"),
        (Partition(later_from="2030-01-01"), "temporal would be empty"),
        (Partition(SITES), "would be empty"),
        (Partition(valid_fraction=0.9, test_fraction=0.2), "leave nobody to train on"),
        (Partition(valid_fraction=-0.1), "between 0 and 1"),
    ],
)
def test_what_cannot_be_divided_is_refused(plan, words):
    with pytest.raises(SplitError, match=words):
        partition(cohort(VISITS), plan)


visits = st.lists(
    st.tuples(
        st.sampled_from("abcdefghijklmnop"),
        st.sampled_from(SITES),
        st.integers(2015, 2025).map("{}-06-01".format),
    ),
    min_size=8,
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(visits, st.sampled_from([(), ("harbour",), ("harbour", "south")]), st.sampled_from(["", "2021-01-01"]))
def test_parts_share_no_subject_and_the_flow_accounts_for_every_record(rows, sites, later):
    people = cohort(rows)
    try:
        parts, flow = partition(people, Partition(sites, later, 0.2, 0.2))
    except SplitError:
        assume(False)
    assert len({subject for part in parts.values() for subject in part.subjects}) == sum(
        len(set(part.subjects)) for part in parts.values()
    )
    assert len(rows) == sum(len(part) for part in parts.values()) + lost(flow)
    assert {step.label: (step.records, step.subjects) for step in flow} == {
        name: (len(part), len(set(part.subjects))) for name, part in parts.items()
    }
    for name in ("train", "valid", "internal"):
        assert not np.isin(parts[name].rows["site"], sites).any()
        if later:
            assert (parts[name].rows["when"] < np.datetime64(later)).all()
    if "external" in parts:
        assert np.isin(parts["external"].rows["site"], sites).all()
    if "temporal" in parts:
        assert (parts["temporal"].rows["when"] >= np.datetime64(later)).all()
