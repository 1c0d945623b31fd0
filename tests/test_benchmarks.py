"""The ratios in benchmarks/results.json: how they are kept, and that they are what the modules measure."""

import json
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.__main__")


def claim(name: str, **ratios: float) -> SimpleNamespace:
    return SimpleNamespace(__name__=f"benchmarks.{name}", measure=lambda: {f"{name}.{k}": v for k, v in ratios.items()})


def test_ratios_and_environment_are_kept_without_dates_or_paths(bench, tmp_path):
    lines = bench.run([claim("sort", fast=12.3456), claim("join", fast=2.0)], tmp_path / "results.json")
    told = json.loads((tmp_path / "results.json").read_text())
    assert told["measured"] == {"join.fast": 2.0, "sort.fast": 12.3}
    assert set(told["environment"]) == {"python", "torch", "numpy", "cpu", "threads"}
    assert set(told) == {"measured", "environment"}
    text = json.dumps(told)
    assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d|/(?:home|tmp|work|usr)/", text)
    assert lines == ["join.fast           2", "sort.fast        12.3"]


def test_what_is_skipped_keeps_its_value_and_says_so(bench, tmp_path):
    results = tmp_path / "results.json"
    bench.run([claim("sort", fast=12.0), claim("sorting", fast=3.0)], results)
    lines = bench.run([claim("sort"), claim("sorting", fast=4.0)], results)
    told = json.loads(results.read_text())
    assert told["measured"] == {"sort.fast": 12.0, "sorting.fast": 4.0}
    assert told["kept"] == ["sort.fast"]
    assert [line.endswith("kept from before") for line in lines] == [True, False]


def test_a_claim_that_was_removed_leaves_no_value_behind(bench, tmp_path):
    bench.run([claim("sort", fast=12.0), claim("join", fast=2.0)], tmp_path / "results.json")
    bench.run([claim("join", fast=2.0)], tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["measured"] == {"join.fast": 2.0}


def test_every_file_measures_something(bench):
    assert {"bootstrap", "store"} <= {module.__name__.rpartition(".")[2] for module in bench.claims()}
    assert all(callable(module.measure) for module in bench.claims())


def test_every_ratio_that_is_kept_belongs_to_a_claim(bench):
    told = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    names = {module.__name__.rpartition(".")[2] for module in bench.claims()}
    assert {name.partition(".")[0] for name in told["measured"]} == names
    assert all(value >= 0 for value in told["measured"].values())
    assert told["environment"]["threads"] == 1
