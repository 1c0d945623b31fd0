"""A finished detector: what its memory keeps, who is nearest, how a score comes from several networks."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from stethos.errors import ChannelError, CohortError, RunError
from stethos.signal.clip import ClipWindows
from stethos.study.detector import Detector, Memory
from stethos.study.own_class import own_class
from stethos.types import Run, Signal

RATE = 16_000


class Ear(nn.Module):
    """Hears the share of power in each third of the band, turned by some angle, as a point on a sphere."""

    def __init__(self, turn: float = 0.0, classes: int = 3) -> None:
        super().__init__()
        self.turn = turn
        self.centres = torch.eye(3)[:classes]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(x[:, 0]).abs().square()[:, :7998]
        thirds = power.unflatten(1, (3, -1)).sum(2)
        return nn.functional.normalize(thirds + self.turn * thirds.roll(1, 1), dim=1)


def tone(hertz: float, seconds: float = 1.0, loud: float = 0.1) -> np.ndarray:
    return loud * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)


def signal(*waves: np.ndarray) -> Signal:
    return Signal(np.concatenate(waves)[None], RATE, ("1",), "1")


LOW, MIDDLE, HIGH = tone(500), tone(4000), tone(7000)


def memory(*embedding: np.ndarray, machine: list[int] | None = None) -> Memory:
    """Two fans' and a pump's normals: one in each direction of space where nothing else is given."""
    heard = embedding or (np.eye(3),)
    return Memory(
        heard,
        np.array([0, 0, 1] if machine is None else machine),
        np.array(["source", "target", ""]),
        np.array(["a", "b", "c"]),
        ("fan/id_00", "pump"),
        np.array([0, 0, 1]),
        np.array([0.5, 0.25]),
    )


def detector(held: Memory | None = None, backend: str = "nearest", members: int = 1, **angles: float) -> Detector:
    ears = [Ear(0.5 * number) for number in range(members)]
    return Detector(ears, ClipWindows(1.0), held or memory(), backend, **angles)


# --- own class ----------------------------------------------------------------------------------------------


def test_the_own_class_score_is_minus_the_log_probability_of_the_own_class():
    cosine = np.array([[0.5, 0.1, -0.2], [0.0, 0.9, 0.3]])
    found = own_class(cosine, np.array([0, 1, 2]), np.array([0, 2]), 10.0, 0.0)
    want = [math.log(1 + math.exp(-4) + math.exp(-7)), math.log(math.exp(-3) + math.exp(6) + 1)]
    assert found == pytest.approx(want, rel=1e-12)
    assert found == pytest.approx(-log_softmax(10 * cosine, axis=1)[[0, 1], [0, 2]])


def test_a_margin_takes_the_cosine_of_the_turned_angle_and_falls_on_beyond_half_a_turn():
    scale, margin = 5.0, 0.4
    cosine = np.array([[math.cos(1.0), 0.3], [math.cos(3.0), 0.3]])
    found = own_class(cosine, np.array([0, 1]), np.array([0, 0]), scale, margin)
    turned = [math.cos(1.4), math.cos(3.0) - margin * math.sin(margin)]
    assert found == pytest.approx([math.log(1 + math.exp(scale * (0.3 - own))) for own in turned], rel=1e-12)


def test_of_several_classes_of_a_machine_the_probabilities_add_up_and_the_nearest_has_the_margin():
    cosine = np.array([[0.2, 0.6, 0.1]])
    owner, machine = np.array([0, 0, 1]), np.array([0])
    share = np.exp(4 * cosine[0])
    assert own_class(cosine, owner, machine, 4.0, 0.0) == pytest.approx([-math.log(share[:2].sum() / share.sum())])
    share[1] = math.exp(4 * math.cos(math.acos(0.6) + 0.4))
    assert own_class(cosine, owner, machine, 4.0, 0.4) == pytest.approx([-math.log(share[:2].sum() / share.sum())])


def test_copies_are_nobodys_own_and_an_unknown_machine_or_sound_has_no_score():
    cosine = np.array([[0.5, 0.4], [0.5, 0.4], [np.nan, np.nan]])
    found = own_class(cosine, np.array([0]), np.array([0, -1, 0]), 2.0, 0.0)
    assert found[0] == pytest.approx(math.log(1 + math.exp(-0.2)))
    assert np.isnan(found[1:]).all()


def test_cosines_that_rounding_carried_past_one_have_a_score():
    assert np.isfinite(own_class(np.array([[1 + 1e-9, -1 - 1e-9]]), np.arange(2), np.array([0]), 30.0, 0.4)).all()


# --- memory -------------------------------------------------------------------------------------------------


def test_a_memory_comes_back_as_it_was_kept(tmp_path):
    run = Run(tmp_path / "run")
    kept = memory(np.eye(3), np.ones((3, 2)) / 4)
    kept.save(run)
    found = Memory.load(run)
    assert [item.tolist() for item in found.embedding] == [item.tolist() for item in kept.embedding]
    assert found.machines == kept.machines
    for name in ("machine", "domain", "record", "owner", "threshold"):
        assert getattr(found, name).tolist() == getattr(kept, name).tolist()
    assert found.usual == {}
    kept.with_machine("säge", [np.eye(3), np.ones((3, 2))], 1.0, usual=np.full((4, 2), 0.5)).save(run)
    assert {name: item.tolist() for name, item in Memory.load(run).usual.items()} == {"säge": [[0.5, 0.5]] * 4}
    assert Memory.load(run).with_machine("säge", [np.eye(3), np.ones((3, 2))], 1.0).usual == {}


def test_a_run_without_its_private_part_says_what_is_missing(tmp_path):
    with pytest.raises(RunError, match=r"private/memory\.npz, the normals to compare with"):
        Memory.load(Run(tmp_path))


def test_a_new_machine_is_added_with_its_normals_and_threshold_and_the_old_one_is_untouched():
    old = memory()
    new = old.with_machine("säge 7", [np.full((2, 3), 0.5)], 1.5)
    assert new.machines == ("fan/id_00", "pump", "säge 7")
    assert new.machine.tolist() == [0, 0, 1, 2, 2]
    assert new.threshold.tolist() == [0.5, 0.25, 1.5]
    assert new.record.tolist()[3:] == ["säge 7, enrolled 1", "säge 7, enrolled 2"]
    assert new.domain.tolist()[3:] == ["", ""]
    assert new.embedding[0][3:].tolist() == [[0.5] * 3] * 2
    assert len(old.machine) == 3


def test_a_known_machine_is_replaced_not_added_to():
    new = memory().with_machine("fan/id_00", [np.full((1, 3), 0.5)], 2.0)
    assert new.machines == ("fan/id_00", "pump")
    assert new.machine.tolist() == [1, 0]
    assert new.embedding[0].tolist() == [[0, 0, 1], [0.5] * 3]
    assert new.threshold.tolist() == [2.0, 0.25]
    assert new.with_machine("fan/id_00", [np.ones((1, 3))], 3.0).machine.tolist() == [1, 0]


# --- judging ------------------------------------------------------------------------------------------------


def test_what_sounds_like_a_normal_is_near_and_the_nearest_is_named():
    speaks = detector()
    assert speaks.scores_of(speaks.windows.apply(signal(LOW)), "fan/id_00") == pytest.approx([0], abs=1e-5)
    assert speaks.scores_of(speaks.windows.apply(signal(HIGH)), "fan/id_00") == pytest.approx([1], abs=1e-5)
    assert speaks.scores_of(speaks.windows.apply(signal(HIGH)), "pump") == pytest.approx([0], abs=1e-5)
    for wave, name in ((LOW, "a"), (MIDDLE, "b")):
        heard = speaks.heard(speaks.windows.apply(signal(wave)))
        assert speaks.memory.record[speaks.nearest(heard, 0)] == name
        assert speaks.memory.record[speaks.nearest(heard, 1)] == "c"


def test_prepare_and_score_are_the_two_seams():
    speaks = detector()
    x = speaks.prepare(signal(LOW, MIDDLE))
    assert tuple(x.shape) == (2, 1, RATE)
    score = speaks.score(x, "pump")
    assert tuple(score.shape) == (2, 1)
    assert score[:, 0].tolist() == pytest.approx(speaks.scores_of(x.numpy(), "pump").tolist())


def test_a_recording_of_several_windows_is_heard_as_their_mean():
    speaks = detector(memory(np.eye(3), np.eye(3)), members=2)
    windows = speaks.windows.apply(signal(LOW, HIGH))
    first, second = speaks.heard(windows)
    assert first == pytest.approx([0.5, 0, 0.5], abs=1e-5)
    assert speaks.embed(signal(LOW, HIGH)) == pytest.approx(np.concatenate([first, second]))


def test_the_score_is_the_mean_over_the_networks():
    one, two = np.eye(3), np.roll(np.eye(3), 1, axis=0)
    speaks = detector(memory(one, two), members=2)
    every = [np.eye(3)[:1], np.eye(3)[1:2]]
    apart = [
        Detector([Ear()], speaks.windows, memory(held), "nearest").judge([heard], 1)[0]
        for held, heard in zip((one, two), every, strict=True)
    ]
    assert speaks.judge(every, 1) == pytest.approx([np.mean(apart)])
    assert apart[0] != apart[1]


def test_the_classifiers_back_ends_ask_the_centres_of_every_network():
    heard = [np.array([[0.6, 0.0, 0.8]])] * 2
    held = memory(np.eye(3), np.eye(3))
    for backend, angle in (("own-class", 0.0), ("own-class-margin", 0.4)):
        speaks = detector(held, backend, members=2, scale=7.0, margin=0.4)
        for machine in (0, 1):
            want = own_class(heard[0], held.owner, np.array([machine]), 7.0, angle)
            assert speaks.judge(heard, machine) == pytest.approx(want)


def test_a_machine_must_be_known_or_be_the_only_one():
    speaks = detector()
    assert speaks.machine_of("pump") == 1
    with pytest.raises(ChannelError, match="needs one of the machines fan/id_00, pump; got none"):
        speaks.machine_of()
    with pytest.raises(ChannelError, match="got saw: name it with --machine, or enrol a new one"):
        speaks.scores_of(np.zeros((1, 1, RATE), np.float32), "saw")
    alone = Memory((np.eye(2),), np.zeros(2, int), np.array(["", ""]), np.array(["a", "b"]), ("x",), np.zeros(1, int),
                   np.zeros(1))  # fmt: skip
    assert detector(alone).machine_of() == 0


def test_a_machine_whose_normals_are_gone_is_refused_in_words():
    speaks = detector(memory(machine=[0, 0, 0]))
    with pytest.raises(CohortError, match="needs normal training clips of 1; there are none"):
        speaks.judge([np.eye(3)], 1)


def test_other_normals_leave_the_networks_as_they_are():
    speaks = detector()
    other = speaks.remembering(speaks.memory.with_machine("saw", [np.eye(3)[2:]], 0.1))
    assert other.members[0] is speaks.members[0]
    assert other.scores_of(speaks.windows.apply(signal(HIGH)), "saw") == pytest.approx([0], abs=1e-5)
    assert len(speaks.memory.machines) == 2
    assert not other.training
