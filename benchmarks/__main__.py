"""Measure every claim, print the ratios, keep them in `benchmarks/results.json`."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from threadpoolctl import threadpool_limits

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"


def claims() -> list[ModuleType]:
    """Every module of this folder that measures something."""
    names = sorted(path.stem for path in HERE.glob("[a-z]*.py"))
    return [import_module(f"benchmarks.{name}") for name in names]


def measured(modules: Sequence[ModuleType], before: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """What the modules measure, and the names of what had to be kept from before.

    A module that finds no data returns nothing: what it measured earlier, under names that begin with its own, stays.
    """
    found: dict[str, float] = {}
    kept: list[str] = []
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        new = module.measure()
        old = {} if new else {key: value for key, value in before.items() if key.startswith(f"{name}.")}
        kept += old
        found |= {key: float(f"{value:.3g}") for key, value in (new or old).items()}
    return dict(sorted(found.items())), sorted(kept)


def environment() -> dict[str, Any]:
    """What a ratio may depend on; no dates, no paths."""
    versions = {name: metadata.version(name) for name in ("torch", "numpy")}
    return {"python": platform.python_version(), **versions, "cpu": _cpu(), "threads": 1}


def _cpu() -> str:
    listed = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", listed.read_text()) if listed.is_file() else None
    return model[1] if model else platform.processor() or platform.machine()


def run(modules: Sequence[ModuleType], results: Path) -> list[str]:
    """Measure, write the results, and say what they are: one line a ratio.

    Where something was kept from before, the entry "kept" names it: the environment is not known to be its own.
    """
    before = json.loads(results.read_text())["measured"] if results.is_file() else {}
    with threadpool_limits(1):
        found, kept = measured(modules, before)
    told: dict[str, Any] = {"measured": found, "environment": environment()}
    if kept:
        told["kept"] = kept
    results.write_text(json.dumps(told, indent=2) + "\n")
    width = max(map(len, found), default=0)
    return [f"{name:<{width}}  {value:>10g}{'  kept from before' * (name in kept)}" for name, value in found.items()]


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are loaded later
    print("\n".join(run(claims(), RESULTS)))


if __name__ == "__main__":
    main()
