"""Are two runs different, on the same records?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stethos.cli import main
from stethos.errors import RunError
from stethos.study.compare import compare
from stethos.types import Predictions, Run


@pytest.fixture
def predictions() -> Predictions:
    rng = np.random.default_rng(0)
    truth = (rng.uniform(size=600) < 0.4).astype(float)
    return Predictions(
        score=(rng.normal(size=600) + 2 * truth)[:, None],
        truth=truth[:, None],
        record=[f"r{row}" for row in range(600)],
        subject=np.arange(600) // 3,
        split=np.repeat(["valid", "internal", "temporal"], 200),
        seed=np.zeros(600),
        facts={},
        names=("t",),
    )


@pytest.fixture
def run(tmp_path: Path):
    def made(name: str, said: Predictions) -> Path:
        folder = Run(tmp_path / name)
        folder.private.mkdir(parents=True)
        said.save(folder.predictions)
        return folder.folder

    return made


def blurred(said: Predictions, seed: int = 1) -> Predictions:
    return replace(said, score=said.score + np.random.default_rng(seed).normal(0, 4, said.score.shape))


def test_a_run_differs_from_itself_by_exactly_nothing(run, predictions):
    folder = run("a", predictions)
    found = compare([folder, folder])
    assert [split for split, *_ in found.rows] == ["internal", "temporal"]
    for _, _, difference, corrected in found.rows:
        assert (difference.estimate.value, difference.estimate.low, difference.estimate.high) == (0, 0, 0)
        assert difference.p == corrected == 1


def test_the_order_of_rows_and_the_number_of_seeds_do_not_matter(run, predictions):
    shuffled = predictions.take(np.random.default_rng(0).permutation(600))
    up, down = (replace(predictions, score=predictions.score + by, seed=np.full(600, by)) for by in (1, -1))
    twice = Predictions(
        **{
            name: np.concatenate([getattr(up, name), getattr(down, name)])
            for name in ("score", "truth", "record", "subject", "split", "seed")
        },
        facts={},
        names=("t",),
    )
    found = compare([run("a", predictions), run("b", shuffled), run("c", twice)])
    assert [difference.estimate.value for _, _, difference, _ in found.rows] == [0, 0, 0, 0]


def test_a_better_run_is_better_with_an_interval_off_zero_and_the_sign_turns_round(run, predictions):
    good, bad = run("good", predictions), run("bad", blurred(predictions))
    forth, back = compare([good, bad]).rows, compare([bad, good]).rows
    for (_, _, plus, _), (_, _, minus, _) in zip(forth, back, strict=True):
        assert plus.estimate.low > 0
        assert plus.p < 0.01
        assert minus.estimate.value == -plus.estimate.value


def test_several_runs_are_corrected_together(run, predictions):
    folders = [run("a", predictions), *(run(f"b{seed}", blurred(predictions, seed)) for seed in range(3))]
    rows = compare(folders).rows
    assert len(rows) == 6
    smallest = min(difference.p for _, _, difference, _ in rows)
    assert min(corrected for *_, corrected in rows) == pytest.approx(6 * smallest)


def test_the_command_prints_one_line_a_difference(run, predictions, capsys):
    folders = [str(run("a", predictions)), str(run("b", blurred(predictions)))]
    main(["compare", *folders])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["internal", "temporal"]
    assert all(folders[1] in line and "Holm" in line for line in lines)


def altered(name: str):
    def records(said):
        return replace(said, record=np.char.add("x", said.record))

    def fewer(said):
        return said.take(np.arange(599))

    def truths(said):
        return replace(said, truth=1 - said.truth)

    def subjects(said):
        return replace(said, subject=np.arange(600).astype(str))

    return {"records": records, "fewer": fewer, "truths": truths, "subjects": subjects}[name]


@pytest.mark.parametrize("what", ["records", "fewer", "truths", "subjects"])
def test_runs_with_other_test_sets_are_refused(run, predictions, what):
    with pytest.raises(RunError, match="tested on different records or truths"):
        compare([run("a", predictions), run("b", altered(what)(predictions))])


def test_runs_with_other_parts_are_refused(run, predictions):
    other = predictions.take(predictions.split != "temporal")
    with pytest.raises(RunError, match=r"\['internal', 'temporal'\].*\['internal'\]: not comparable"):
        compare([run("a", predictions), run("b", other)])


def test_one_run_or_none_finished_is_refused(run, predictions, tmp_path):
    with pytest.raises(RunError, match="two runs or more"):
        compare([run("a", predictions)])
    with pytest.raises(RunError, match="nowhere holds no predictions"):
        compare([tmp_path / "a", tmp_path / "nowhere"])


def test_validation_records_may_differ(run, predictions):
    truth = np.where(predictions.split == "valid", 1 - predictions.truth[:, 0], predictions.truth[:, 0])[:, None]
    assert compare([run("a", predictions), run("b", replace(predictions, truth=truth))]).rows
