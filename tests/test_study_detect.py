"""What every detector of sound goes through, with a network whose hearing is known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from stethos.errors import RecipeError
from stethos.study import clips, detect, detected
from stethos.study.clips import Divided, Hearing
from stethos.study.detected import Heard
from stethos.study.detector import Detector, Memory
from stethos.study.listening import Listening
from stethos.systems.os_scl import SYSTEM, Recipe
from stethos.types import Cohort, Record, Run, Schedule, Signal

RATE = 16_000
LISTEN = Listening(seconds=0.5, valid_fraction=0.25)
SIZES = {"fan": 48, "pump": 20}  # training recordings, of which a quarter validates
TESTED = 6  # recordings of each


def people() -> Cohort:
    machine = np.repeat(list(SIZES), list(SIZES.values()))
    machine = np.append(machine, np.repeat(list(SIZES), TESTED)).astype(object)
    count = len(machine)
    split = np.array(["train"] * (count - 2 * TESTED) + ["test"] * 2 * TESTED, object)
    name = np.array([f"r{row}" for row in range(count)])
    table = {
        "id": name,
        "subject": name,
        "machine": machine,
        "split": split,
        "section": np.full(count, "id_00", object),
    }
    table["anomaly"] = np.where(split == "test", np.arange(count) % 2, np.nan)

    def opened(row: int) -> Record:
        """A tone of its own in noise; a recording in three has two windows."""
        time = np.arange(round(RATE * (1.0 if row % 3 == 0 else 0.5))) / RATE
        noise = 0.01 * np.random.default_rng(row).standard_normal(len(time))
        wave = 0.1 * np.sin(2 * np.pi * (200 + 30 * row) * time) + noise
        return Record(str(name[row]), str(name[row]), (Signal(wave[None], RATE, ("1",), "1"),))

    return Cohort(table, opened)


@pytest.fixture(scope="module")
def hearing(tmp_path_factory) -> Hearing:
    cohort, run = people(), Run(tmp_path_factory.mktemp("run"))
    run.private.mkdir()
    rows, flow = clips.divide(cohort, LISTEN)
    return clips.begin(Divided(cohort, rows, clips.classes_of(cohort, rows["train"], "auto", 6), flow), run, LISTEN)


class Bands(nn.Module):
    """Level of eight bands, as a point on a sphere, and the classes' directions."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.functional.normalize(torch.arange(16.0).view(2, 8) - 7, dim=1)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(x[:, 0]).abs().square()
        edges = np.geomspace(20, 4000, 9).astype(int)
        parts = [power[:, low:high].mean(1) for low, high in pairwise(edges)]
        return nn.functional.normalize((torch.stack(parts, dim=1) + 1e-6).log() + 5, dim=1)

    def score(self, x: torch.Tensor) -> torch.Tensor:
        return 5 * self.embed(x) @ self.centres.T


def test_a_recording_is_heard_as_the_mean_of_its_windows(hearing):
    heard = detected.heard_by(hearing, Bands())
    assert heard.embedding.shape == (len(hearing.cohort), 8)
    windows = LISTEN.windows.apply(hearing.cohort[3].signals[0])
    assert len(windows) == 2
    want = Bands().embed(torch.from_numpy(windows)).mean(0)
    assert heard.embedding[3] == pytest.approx(want.numpy(), abs=1e-6)
    assert heard.centres == pytest.approx(Bands().centres.numpy())


@pytest.mark.parametrize("backend", ["nearest", "domain-balanced", "mahalanobis", "own-class", "own-class-margin"])
def test_what_is_kept_of_a_back_end_is_what_the_finished_detector_says(hearing, backend):
    heard = detected.heard_by(hearing, Bands())
    kept = detected.judged(hearing, heard, 5.0, 0.3)[backend]
    tested = np.concatenate([hearing.parts["valid"], hearing.parts["internal"]])
    own = clips.as_predictions(hearing, kept, 0, ("valid", "internal"))
    speaks = Detector([Bands()], hearing.windows, detected.remembered(hearing, [heard], own), backend, 5.0, 0.3)
    for row in tested[::5]:
        machine = int(hearing.classes.machine[row])
        assert speaks.judge([heard.embedding[row : row + 1]], machine)[0] == pytest.approx(kept[row], abs=1e-9)


def test_a_threshold_is_of_the_machines_own_validation_where_there_is_enough_and_of_all_otherwise(hearing):
    valid = hearing.parts["valid"]
    score = np.arange(len(hearing.cohort), dtype=float)
    own = clips.as_predictions(hearing, score, 0, ("valid", "internal"))
    memory = detected.remembered(hearing, [Heard(np.ones((len(score), 4)), None)], own)
    fans = valid[hearing.classes.machine[valid] == 0]
    assert (len(fans), len(valid)) == (12, 17)
    assert memory.machines == ("fan/id_00", "pump/id_00")
    assert memory.threshold.tolist() == [np.sort(score[fans])[10], np.sort(score[valid])[15]]


def test_the_memory_is_of_the_training_recordings(hearing):
    embedding = np.random.default_rng(0).normal(size=(len(hearing.cohort), 4))
    own = clips.as_predictions(hearing, np.zeros(len(embedding)), 0, ("valid", "internal"))
    memory = detected.remembered(hearing, [Heard(embedding, None)], own)
    train = hearing.parts["train"]
    assert memory.record.tolist() == hearing.cohort.rows["id"][train].tolist()
    assert memory.embedding[0].tolist() == embedding[train].tolist()
    assert memory.machine.tolist() == hearing.classes.machine[train].tolist()
    assert set(memory.usual) == {"fan/id_00", "pump/id_00"}
    assert isinstance(memory, Memory)


def test_windows_to_settle_on_are_whole_batches_of_the_training_part_split_over_the_processes(hearing, monkeypatch):
    train = set(hearing.windows_of("train").tolist())
    whole = detect.settling_windows(hearing, Schedule(batch=16))
    assert whole.shape == (len(train) // 16, 16)
    assert set(whole.ravel().tolist()) < train
    assert len(set(whole.ravel().tolist())) == whole.size
    assert detect.settling_windows(hearing, Schedule(batch=7)).shape == (detect.RESTATED, 7)
    assert detect.settling_windows(hearing, Schedule(batch=1000)).shape == (1, len(train))
    shares = []
    for part in (slice(0, 6), slice(6, 16)):
        monkeypatch.setattr(detect, "share", lambda size, part=part: part)
        shares.append(detect.settling_windows(hearing, Schedule(batch=16)))
    assert np.array_equal(np.concatenate(shares, axis=1), whole)


def test_the_validation_loss_is_the_cross_entropy_of_the_validation_windows(hearing):
    loss = detect.class_loss(hearing, lambda wave, copy: wave)
    windows = hearing.windows_of("valid")
    with torch.inference_mode():
        logits = Bands().score(torch.from_numpy(hearing.prepared.store.take(windows))).double().numpy()
    own = hearing.classes.label[hearing.prepared.window_record[windows]]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert loss(Bands()) == pytest.approx(-log_p[np.arange(len(own)), own].mean(), rel=1e-5)


def test_copies_are_validated_in_turn_each_under_its_own_class(hearing):
    copied = replace(hearing, classes=replace(hearing.classes, copies=3))
    seen: list[torch.Tensor] = []
    detect.class_loss(copied, lambda wave, copy: seen.append(copy) or wave)
    assert seen[0].tolist() == [place % 3 for place in range(len(seen[0]))]


def test_rows_are_balanced_over_classes_and_copies_or_passes_over_all():
    label = np.array([0] * 30 + [1] * 6)
    heard = detect.Clips(lambda chosen: chosen, label, 2, copies=3)
    rows, copies = zip(*(detect.rows_of(heard, step, Schedule(batch=9), True) for step in range(4)), strict=True)
    assert np.bincount(label[np.concatenate(rows)]).tolist() == [18, 18]
    assert all(torch.bincount(copy).tolist() == [3, 3, 3] for copy in copies)
    assert copies[0].tolist() != copies[1].tolist()
    plain = [detect.rows_of(heard, step, Schedule(batch=9), False)[0] for step in range(4)]
    assert sorted(np.concatenate(plain).tolist()) == list(range(36))


def test_first_weights_belong_to_the_seed_and_torchs_own_draws_go_on():
    before = torch.get_rng_state()
    one, two, other = (detect.seeded(seed, lambda: nn.Linear(3, 3)).weight for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_recipe_that_cannot_be_leaves_no_folder(tmp_path):
    for wrong, words in (({"seeds": 0}, "at least 1 each"), ({"backend": "best"}, "--backend is one of nearest, ")):
        with pytest.raises(RecipeError, match=words):
            detect.open_hearing(SYSTEM, people(), tmp_path / "run", Recipe(listen=LISTEN, **wrong))
    assert not (tmp_path / "run").exists()
