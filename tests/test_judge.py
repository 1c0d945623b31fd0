"""A network that nobody here trained outlines the simulated hearts, and a run's hearts where one is named."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from stethos.errors import CohortError, RecipeError
from stethos.io.nifti import write_labels
from stethos.metrics.phenotypes import phenotypes
from stethos.study.heart_numbers import judge_numbers
from stethos.study.onnx_judge import judge_of, masks_of, outlined
from stethos.synth import cine_world, department


def network() -> Path:
    """The network of the package myopari; the test is skipped where it is not installed."""
    found = importlib.util.find_spec("myopari")
    if found is None or importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs the packages onnxruntime and myopari: make judge")
    assert found.submodule_search_locations
    return Path(next(iter(found.submodule_search_locations))) / "Resources" / "tiramisu_acdc_fp32.onnx"


def test_a_judge_is_named_by_kind_and_place(tmp_path):
    assert judge_of(f"masks:{tmp_path}") == ("masks", tmp_path)
    for said in ("onnx:nowhere.onnx", "masks:nowhere", str(tmp_path), f"onnx:{tmp_path}"):
        with pytest.raises(RecipeError, match=r"masks:DIR or onnx:FILE"):
            judge_of(said)


def test_label_maps_are_found_by_id(tmp_path):
    labels = np.zeros((3, 1, 8, 8), np.uint8)
    labels[:, :, 2:6, 2:6], labels[:, :, 3:5, 3:5] = 2, 1
    write_labels(tmp_path / "b.nii.gz", labels, (8.0, 1.0, 1.0))
    names, maps = masks_of(tmp_path, ["a", "b"])
    assert names == ["b"]
    np.testing.assert_array_equal(maps[0], labels[:, 0])
    with pytest.raises(CohortError, match="holds none of 1"):
        masks_of(tmp_path, ["c"])


def test_two_judges_that_agree_say_the_same():
    rng = np.random.default_rng(0)
    truth = rng.normal(50, 10, 200)
    own = truth + rng.normal(0, 5, 200)
    found = judge_numbers(truth, np.where(np.arange(200) < 10, np.nan, own), own, np.arange(200))
    assert found["judge.other.ef.r"].value == pytest.approx(found["judge.own.ef.r"].value)
    assert found["judge.agreement.r"].value == pytest.approx(1)
    assert found["judge.seen"].value == pytest.approx(0.95)


@pytest.mark.slow
def test_the_judge_from_outside_finds_the_fractions_of_simulated_hearts():
    people = department(24, 11, cine_world(), size=96, frames=16)
    path, said = network(), []
    for row in range(24):
        volume, _ = people.open.pictures(row)
        said.append(phenotypes(outlined(volume.values[:, 0], path), (1.0, 1.0))["ef"])
    truth, said = people.rows["ef"], np.array(said)
    seen = np.isfinite(said)
    assert seen.mean() > 0.8
    assert np.corrcoef(truth[seen], said[seen])[0, 1] > 0.9


@pytest.mark.slow
def test_hearts_of_a_run_are_judged_from_outside():
    run = os.environ.get("STETHOS_RUN")
    if not run:
        pytest.skip("needs STETHOS_RUN, the folder of a finished demo of ecgflow-cmr")
    from stethos.systems import ecgflow_cmr

    ecgflow_cmr.evaluate(Path(run), judge=f"onnx:{network()}", patients=160)
