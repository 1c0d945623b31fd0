"""Differences between variants, by scores whose areas are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stethos.errors import CohortError, RunError
from stethos.metrics.dcase import official_2020, paired, point
from stethos.study import variants
from stethos.study.clips import Listening
from stethos.study.sound_evidence import clips_of
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.types import Predictions, Run

N = 200
TRUTH = np.tile([0.0, 1.0], N // 2)
RANDOM = np.random.default_rng(0).standard_normal((3, N))


def said(strength: float, seeds: int = 2) -> Predictions:
    """A score that tells anomalies by so many standard deviations, from each of some seeds."""
    score = np.concatenate([strength * TRUTH + RANDOM[seed] for seed in range(seeds)])
    names = np.array([f"clip-{number}" for number in range(N)])
    facts = {"machine": "fan", "section": "id_00", "domain": "", "year": "2020"}
    return Predictions(
        score=score[:, None],
        truth=np.tile(TRUTH, seeds)[:, None],
        record=np.tile(names, seeds),
        subject=np.tile(names, seeds),
        split=np.full(N * seeds, "internal"),
        seed=np.repeat(np.arange(seeds), N),
        facts={name: np.full(N * seeds, word) for name, word in facts.items()},
        names=("anomaly",),
        origin="synthetic",
    )


def made(folder: Path, predictions: Predictions) -> Run:
    run = Run(folder)
    run.private.mkdir(parents=True)
    predictions.save(run.predictions)
    return run


@pytest.fixture
def runs(tmp_path) -> dict[str, Run]:
    return {
        name: made(tmp_path / name, said(strength)) for name, strength in (("a", 1.5), ("b", 0), ("c", 1.5), ("d", 4))
    }


def test_a_gain_is_the_paired_difference_of_the_mean_scores_and_its_sign_needs_the_corrected_p(runs):
    found = variants.gains(runs["a"], {name: run for name, run in runs.items() if name != "a"})
    one, two = (said(strength).mean_over_seeds() for strength in (1.5, 0))
    assert found["b"].difference == paired(official_2020, clips_of(one), one.score[:, 0], two.score[:, 0])
    assert {name: gain.sign for name, gain in found.items()} == {"b": 1, "c": 0, "d": -1}
    assert found["c"].difference.estimate.value == 0
    assert found["b"].p == pytest.approx(3 * found["b"].difference.p)  # Holm: the smallest of three
    assert found["b"].other.value == pytest.approx(point(official_2020, clips_of(two), two.score[:, 0]))


def test_every_seed_has_its_own_difference(runs):
    (gain,) = variants.gains(runs["a"], {"b": runs["b"]}).values()
    held = clips_of(said(1.5, seeds=1))
    want = [
        point(official_2020, held, 1.5 * TRUTH + RANDOM[seed]) - point(official_2020, held, RANDOM[seed])
        for seed in (0, 1)
    ]
    assert gain.seeds == pytest.approx(want)


def test_what_is_kept_is_for_the_report_and_for_metrics(runs):
    found = variants.gains(runs["a"], {"b": runs["b"], "c": runs["c"]})
    variants.keep_gains(runs["a"], "A title", "a", found, "So it is.")
    told = json.loads((runs["a"].folder / "ablation.json").read_text())
    assert told["title"] == "A title"
    assert told["note"].startswith("So it is. Official score of the others: b 0.")
    assert "By each of 2 seeds alone the difference is: b 0." in told["note"]
    numbers = json.loads(runs["a"].metrics.read_text())
    assert numbers["ablation.a_minus_b.official"]["value"] == found["b"].difference.estimate.value
    assert numbers["ablation.a_minus_b.official"]["origin"] == "synthetic"


def test_with_one_seed_the_note_says_that_a_difference_may_be_the_seeds(tmp_path):
    one, two = (made(tmp_path / str(strength), said(strength, seeds=1)) for strength in (3, 1))
    variants.keep_gains(one, "A title", "a", variants.gains(one, {"b": two}), "So it is.")
    told = json.loads((one.folder / "ablation.json").read_text())
    assert told["note"].endswith("with one seed each, a difference may be the seed's.")


def test_runs_that_were_tested_on_other_recordings_or_seeds_are_refused(runs, tmp_path):
    whole = said(1)
    others = {
        "record": replace(whole, record=np.char.add(whole.record, "x")),
        "truth": replace(whole, truth=1 - whole.truth),
        "seed": said(1, seeds=3),
    }
    for name, other in others.items():
        with pytest.raises(RunError, match="differ in what they were tested on"):
            variants.gains(runs["a"], {"other": made(tmp_path / f"other-{name}", other)})
    with pytest.raises(RunError, match="finish its training"):
        variants.gains(runs["a"], {"none": Run(tmp_path / "nothing")})


def test_recordings_that_could_not_tell_variants_apart_are_refused():
    people = factory(Plan(("fan",), 1, 8, 4, seconds=1.0))
    variants.refuse_untestable(people, Listening())
    healthy = replace(people, rows={**people.rows, "anomaly": np.zeros(len(people))})
    with pytest.raises(CohortError, match="0 are known to be anomalous"):
        variants.refuse_untestable(healthy, Listening())


def test_windows_are_shared_not_copied_and_a_run_that_has_its_own_keeps_them(tmp_path):
    first, other = Run(tmp_path / "first"), Run(tmp_path / "other")
    (first.private / "prepared" / "abc").mkdir(parents=True)
    (first.private / "prepared" / "abc" / "shard-00000.bin").write_bytes(b"windows")
    variants.share_windows(first, other)
    mine, theirs = (run.private / "prepared" / "abc" / "shard-00000.bin" for run in (first, other))
    assert mine.samefile(theirs)
    assert other.private.stat().st_mode & 0o077 == 0
    theirs.unlink()
    variants.share_windows(first, other)
    assert not theirs.exists()


def test_where_nothing_can_be_linked_nothing_is_left_behind(tmp_path, monkeypatch):
    first, other = Run(tmp_path / "first"), Run(tmp_path / "other")
    (first.private / "prepared").mkdir(parents=True)
    (first.private / "prepared" / "shard-00000.bin").write_bytes(b"windows")

    def refuse(self: Path, target: Path) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    variants.share_windows(first, other)
    assert list(other.private.iterdir()) == []
