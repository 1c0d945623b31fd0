"""One file, one paper."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from stethos.errors import RunError

PAGES = Path(__file__).parent


def page_of(folder: Path) -> ModuleType:
    """The page that made a run; only pages inside `stethos.systems` are ever imported from a run's config.

    Raises:
        RunError: The folder is no run, or another system made it.
    """
    config = Path(folder) / "config.json"
    if not config.is_file():
        raise RunError(f"{folder} is not a run: it needs a config.json; give the folder that --out named")
    name = str(json.loads(config.read_text()).get("system", "")).replace("-", "_")
    if not name.isidentifier() or not (PAGES / f"{name}.py").is_file():
        raise RunError(f"{folder} was made by the system {name!r}, which is not part of this version")
    return import_module(f"stethos.systems.{name}")


def load(folder: str | Path) -> Any:
    """The trained model of a run, ready for `prepare` and `score`.

    Raises:
        RunError: The folder is no run, or its training has not finished.
    """
    return page_of(Path(folder)).load(Path(folder))
