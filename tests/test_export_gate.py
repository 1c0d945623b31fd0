"""An export that does not answer as its run is refused, nothing is written, and what is at fault is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stethos.errors import RunError
from stethos.export import folder
from stethos.export import prepare as graphs
from stethos.export.folder import Parts, deliver, reduced
from stethos.export.graph import read_metadata
from stethos.export.parity import LIMITS, HeldOut, Limits, ParityError, block_distances, compared
from stethos.export.prepare import prepare_graph
from stethos.export.quantise import half, integers
from stethos.export.score import score_graph
from stethos.nn.net1d import Net1d
from stethos.signal.prepare import PREPARATIONS
from stethos.study.ensemble import scorer
from stethos.study.handheld import device_windows, prepared
from stethos.study.lead import LeadWindows
from stethos.synth import hospital

onnx = pytest.importorskip("onnx")

RATE = 250.0
WINDOWS = LeadWindows("I", "lead-v1")
STAGES = ("net.stages.0.0", "net.stages.1.0", "net.stages.2.0")


class Voice(torch.nn.Module):
    """A narrow network of two classes whose logits spread over people by about 2."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = Net1d(1, 2, (16, 16, 32), (1, 1, 1))

    def score(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)

    def spread_over(self, x: np.ndarray) -> "Voice":
        said = scorer(self.score)(x)
        with torch.no_grad():
            gain = torch.from_numpy(2 / said.std(0)).float()
            self.net.head.weight *= gain[:, None]
            self.net.head.bias.copy_(-torch.from_numpy(said.mean(0)).float() * gain + self.net.head.bias * gain)
        return self.eval()


@pytest.fixture(scope="module")
def strips() -> np.ndarray:
    people = hospital(40, seed=3)
    found = [device_windows(people, row, WINDOWS, RATE) for row in range(60)]
    return np.concatenate([item.traces for item in found])


@pytest.fixture(scope="module")
def voice(strips) -> Voice:
    return Voice().spread_over(prepared(strips, WINDOWS, RATE))


@pytest.fixture(scope="module")
def held(strips, voice) -> HeldOut:
    """Two windows a record; the first class has its event above the median, up to some noise."""
    strips = strips[: len(strips) // 2 * 2]
    x = prepared(strips, WINDOWS, RATE)
    logit = scorer(voice.score)(x)
    owner = np.repeat(np.arange(len(x) // 2), 2)
    mean = logit.reshape(-1, 2, 2).mean(1)
    noise = np.random.default_rng(0).normal(0, 2, mean.shape)
    return HeldOut(strips, x, logit, owner, (mean + noise > 0).astype(float), np.array([-0.8, 1.1]))


@pytest.fixture(scope="module")
def score(voice):
    return score_graph(voice, (1, 1250))


@pytest.fixture(scope="module")
def parts(score) -> Parts:
    told = {"precision": "fp32", "threshold": {"logit": [-0.8, 1.1], "chosen": "by hand"}, "names": ["a", "b"]}
    return Parts(prepare_graph(PREPARATIONS["lead-v1"], RATE), score, told, {})


def refusal(parts: Parts, held: HeldOut, voice: Voice, out: Path) -> str:
    """The sentence with which an export is refused; nothing is left behind."""
    before = sorted(path.name for path in out.parent.iterdir())
    with pytest.raises(ParityError) as stop:
        deliver(parts, held, voice, out)
    assert sorted(path.name for path in out.parent.iterdir()) == before
    assert "\n" not in str(stop.value)
    return str(stop.value)


def with_facts(parts: Parts, **change: object) -> Parts:
    return replace(parts, facts={**parts.facts, **change})


def test_a_good_export_is_written_whole(parts, held, voice, tmp_path):
    out = deliver(parts, held, voice, tmp_path / "out")
    names = {path.name for path in out.iterdir()}
    assert names == {"prepare.onnx", "score.onnx", "model.onnx", "export.json", "cost.json", "parity.json", "run.py"}
    told = json.loads((out / "parity.json").read_text())
    assert told["records"] == len(held.truth)
    assert told["decisions"] == 2 * len(held.truth)
    assert told["dlogit"] < 1e-4
    assert told["flips"] == 0
    facts = json.loads((out / "export.json").read_text())
    assert {path.name: read_metadata(path) == facts for path in out.glob("*.onnx")} == {
        "prepare.onnx": True, "score.onnx": True, "model.onnx": True,
    }  # fmt: skip
    sizes = json.loads((out / "cost.json").read_text())["bytes"]
    assert {name: (out / name).stat().st_size for name in sizes} == sizes
    assert {*sizes} == names - {"cost.json", "parity.json"}


def test_another_filter_is_refused_and_the_preparation_named(parts, held, voice, tmp_path, monkeypatch):
    right = graphs.butterworth
    monkeypatch.setattr(graphs, "butterworth", lambda n, hertz, *rest: right(n, tuple(1.5 * f for f in hertz), *rest))
    wrong = replace(parts, prepare=prepare_graph(PREPARATIONS["lead-v1"], RATE))
    said = refusal(wrong, held, voice, tmp_path / "out")
    assert "the first to differ is prepare;" in said
    assert "largest |Δ logit|" in said


def test_parts_that_are_right_and_wrongly_joined_are_refused(parts, held, voice, tmp_path, monkeypatch):
    right, join = graphs.butterworth, folder.composed
    monkeypatch.setattr(graphs, "butterworth", lambda n, hertz, *rest: right(n, tuple(1.5 * f for f in hertz), *rest))
    other = prepare_graph(PREPARATIONS["lead-v1"], RATE)
    monkeypatch.setattr(folder, "composed", lambda _, score: join(other, score))
    assert "the first to differ is model.onnx;" in refusal(parts, held, voice, tmp_path / "out")


@pytest.mark.parametrize("points", [[1.1, -0.8], [0.8, -1.1]], ids=["of the other class", "of the other sign"])
def test_a_swapped_threshold_is_refused_by_the_decisions_that_it_flips(parts, held, voice, tmp_path, points):
    wrong = with_facts(parts, threshold={"logit": points, "chosen": "by mistake"})
    said = refusal(wrong, held, voice, tmp_path / "out")
    mine = held.logit.reshape(-1, 2, 2).mean(1)
    flips = ((mine >= held.thresholds) != (mine >= np.array(points))).sum()
    assert f"{flips} of {mine.size} decisions flipped" in said
    assert "the first to differ is threshold;" in said
    assert "Δ logit" not in said


@pytest.mark.parametrize("block", ["net.stem", *STAGES])
def test_overflowed_integers_are_refused_and_their_block_named(parts, score, held, voice, tmp_path, block):
    """The scales of one block's activations are a hundredth of what they should be: all is cut off at 255."""
    small = integers(score, held.x[:40])
    inputs = {name for node in score.graph.node if node.name.startswith(block) for name in (*node.input, *node.output)}
    spoilt = 0
    for item in small.graph.initializer:
        if item.name.endswith("_scale") and item.name.removesuffix("_scale") in inputs and not item.dims:
            item.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item) / 100, item.name))
            spoilt += 1
    assert spoilt
    wrong = replace(with_facts(parts, precision="int8"), score=small)
    said = refusal(wrong, held, voice, tmp_path / "out")
    named = said.split("the first to differ is ")[1].split(";")[0]
    assert named == block
    assert "Δ probability" in said


@pytest.mark.parametrize("block", STAGES)
def test_a_changed_weight_is_traced_to_its_block(parts, score, held, voice, tmp_path, block):
    other = onnx.ModelProto()
    other.CopyFrom(score)
    item = next(item for item in other.graph.initializer if f"{block}.conv2.weight" in item.name)
    item.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item) * np.float32(1.3), item.name))
    said = refusal(replace(parts, score=other), held, voice, tmp_path / "out")
    assert f"the first to differ is {block};" in said


def test_a_graph_that_puts_out_no_numbers_is_refused(parts, score, held, voice, tmp_path):
    other = onnx.ModelProto()
    other.CopyFrom(score)
    item = next(item for item in other.graph.initializer if item.name.endswith("head.bias"))
    item.CopyFrom(onnx.numpy_helper.from_array(np.full(2, np.nan, np.float32), item.name))
    assert "largest |Δ logit| nan > " in refusal(replace(parts, score=other), held, voice, tmp_path / "out")


def test_half_precision_passes_and_a_weight_that_overflows_it_does_not(parts, score, held, voice, tmp_path):
    good = replace(with_facts(parts, precision="fp16"), score=reduced(score, "fp16", held, voice, held.x)[0])
    told = json.loads((deliver(good, held, voice, tmp_path / "half") / "parity.json").read_text())
    assert 0 < told["dp"] < 0.01
    large = onnx.ModelProto()
    large.CopyFrom(score)
    item = next(item for item in large.graph.initializer if f"{STAGES[1]}.conv3.weight" in item.name)
    weight = onnx.numpy_helper.to_array(item).copy()
    weight[0, 0, 0] = 70_000  # float16 ends at 65,504
    item.CopyFrom(onnx.numpy_helper.from_array(weight, item.name))
    said = refusal(replace(good, score=half(large)), held, voice, tmp_path / "out")
    assert f"the first to differ is {STAGES[1]};" in said
    assert "take --precision fp32" in said


def test_a_good_export_outlives_a_bad_one_and_is_replaced_by_a_good_one(parts, held, voice, tmp_path):
    out = deliver(parts, held, voice, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    wrong = with_facts(parts, threshold={"logit": [1.1, -0.8], "chosen": "by mistake"})
    refusal(wrong, held, voice, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    deliver(with_facts(parts, system="another"), held, voice, out)
    assert json.loads((out / "export.json").read_text())["system"] == "another"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_left_alone(parts, held, voice, tmp_path):
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(RunError, match="something else than an export"):
        deliver(parts, held, voice, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# --- mixed precision ----------------------------------------------------------------------------------------------


def test_blocks_that_eight_bits_cannot_hold_stay_in_single_precision(held, voice, parts, tmp_path):
    wide = Voice().spread_over(held.x)
    with torch.no_grad():
        stage = wide.net.stages[1][0]
        stage.conv1.weight[0] *= 30000
        stage.conv2.weight[:, 0] /= 30000
    own = replace(held, logit=scorer(wide.score)(held.x))
    whole = score_graph(wide, (1, 1250))
    mixed, record = reduced(whole, "int8", own, wide, held.x[:40])
    assert record["kept_float32"][0] == STAGES[1] == next(iter(record["sweep"]))
    assert len(record["kept_float32"]) < len(record["sweep"]) == 4  # the head is never quantised
    eight = Parts(parts.prepare, mixed, {**parts.facts, "precision": "int8"}, record)
    out = deliver(eight, own, wide, tmp_path / "out")
    told = json.loads((out / "parity.json").read_text())
    assert told["kept_float32"] == record["kept_float32"]
    assert told["dp"] <= told["limits"]["dp"] == 0.05
    assert "largest |Δ probability|" in refusal(
        replace(eight, score=integers(whole, held.x[:40])), own, wide, tmp_path / "whole"
    )


def test_a_well_behaved_network_is_quantised_whole(score, held, voice, parts, tmp_path):
    small, record = reduced(score, "int8", held, voice, held.x[:40])
    assert record == {"kept_float32": []}
    out = deliver(
        Parts(parts.prepare, small, {**parts.facts, "precision": "int8"}, record), held, voice, tmp_path / "q"
    )
    assert max(block_distances(out, held.x[:4], voice).values()) < LIMITS["int8"].block


# --- measures, by hand ----------------------------------------------------------------------------------------------


def four_records(thresholds: np.ndarray) -> HeldOut:
    """One window each of records 0 to 2, two of record 3, whose mean logit is 1."""
    logit = np.array([[-2.0], [0.49], [0.8], [0.0], [2.0]])
    truth = np.array([[0.0], [1.0], [0.0], [1.0]])
    empty = np.zeros((5, 1))
    return HeldOut(empty, empty, logit, np.array([0, 1, 2, 3, 3]), truth, thresholds)


def test_measures_are_those_that_one_counts_by_hand():
    held = four_records(np.array([0.5]))
    other = np.array([[-2.0], [0.51], [0.3], [0.0], [2.0]])
    found = compared(held, other, held.thresholds, near=0.05)
    assert (found.windows, found.records, found.decisions) == (5, 4, 4)
    assert found.dlogit == pytest.approx(0.5)  # record 2
    assert found.dp == pytest.approx(1 / (1 + np.exp(-0.8)) - 1 / (1 + np.exp(-0.3)))
    assert found.flips == 1  # record 2; 0.8 was well above
    assert found.flips_near == 1  # record 1 lay 0.01 below
    assert found.dauroc == pytest.approx(1.0 - 0.75)  # 3 of 4 pairs right: 0.49 < 0.8; then all 4


def test_a_decision_is_about_the_weighted_mean_of_a_record():
    held = replace(four_records(np.array([0.5])), weight=np.array([1.0, 1.0, 1.0, 0.9, 0.1]))
    other = held.logit.copy()
    other[3] = 0.5  # record 3 goes from 0.9 · 0 + 0.1 · 2 = 0.2 to 0.65; the plain mean is above 0.5 before and after
    assert compared(held, other, held.thresholds, near=0.05).flips == 1
    assert compared(replace(held, weight=None), other, held.thresholds, near=0.05).flips == 0


def test_a_moved_threshold_excuses_no_decision_near_it():
    held = four_records(np.array([0.5]))
    found = compared(held, held.logit, np.array([0.4]), near=0.05)
    assert (found.flips, found.flips_near) == (1, 0)


def test_a_class_without_operating_point_is_not_decided():
    found = compared(four_records(np.array([np.nan])), np.zeros((5, 1)), np.array([np.nan]), near=0.0)
    assert (found.decisions, found.flips) == (0, 0)


def test_a_measured_target_has_no_probability_that_could_differ():
    held = replace(four_records(np.array([np.nan])), truth=np.array([[4.1], [5.0], [np.nan], [3.2]]))
    found = compared(held, held.logit + 0.01, held.thresholds, near=0.0)
    assert (found.dp, found.decisions) == (None, 0)
    assert found.failures(LIMITS["fp32"]) == ["largest |Δ logit| 0.01 > 0.001"]


def test_an_auroc_of_one_class_is_not_compared():
    held = replace(four_records(np.array([0.5])), truth=np.ones((4, 1)))
    found = compared(held, held.logit, held.thresholds, near=0.0)
    assert found.dauroc is None
    assert not found.failures(LIMITS["fp32"])


def test_every_limit_is_held_and_worse_precisions_are_allowed_more():
    held = four_records(np.array([0.5]))
    found = compared(held, held.logit + 1, held.thresholds, near=0.0)
    strict = Limits(dlogit=0.5, dp=0.1, flips=0.1, near=0.0, dauroc=0.0, block=1.0)
    words = found.failures(strict)
    assert ["Δ logit" in words[0], "Δ probability" in words[1], "1 of 4 decisions" in words[2]] == [True] * 3
    assert len(words) == 3  # adding a number to all changes no order
    for name in ("dp", "flips", "near", "dauroc", "block"):
        values = [getattr(LIMITS[precision], name) for precision in ("fp32", "fp16", "int8")]
        assert values == sorted(values)
