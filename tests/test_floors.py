"""Imports only go down, and the lower floors do without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "stethos"
FLOOR = {
    "errors": 0,
    "types": 1,
    **dict.fromkeys(("signal", "metrics", "text", "objectives", "flow", "nn", "augment"), 2),
    **dict.fromkeys(("io", "synth"), 3),
    **dict.fromkeys(("data", "train", "explain", "report", "export"), 4),
    "study": 5,
    "systems": 6,
    **dict.fromkeys(("cli", "hear", "ports"), 7),
    "__main__": 8,
}
WITHOUT_TORCH = {"errors", "types", "signal", "metrics", "text", "io", "synth", "cli"}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path, module: ast.Module) -> set[str]:
    """Full names of every module that a file imports, at its top or inside a function."""
    names: set[str] = set()
    package = ("stethos", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*base, node.module] if node.module else base)
            names |= {f"{start}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_a_floor():
    assert {room(path) for path in FILES} <= set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path):
    here = room(path)
    for name in imported(path, ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "stethos":
            continue
        if name == "stethos.__version__":
            continue
        there = parts[1] if len(parts) > 1 else ""
        assert there in FLOOR, f"{path.name} imports {name}: the façade, or a module without a floor"
        assert there == here or FLOOR[there] < FLOOR[here], f"{here} must not import {there} ({name})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_floors_below_the_processes_do_without_torch(path: Path):
    if room(path) in WITHOUT_TORCH:
        heavy = {name for name in imported(path, ast.parse(path.read_text())) if name.split(".")[0] == "torch"}
        assert not heavy


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_importing_a_module_does_nothing(path: Path):
    """No calls at the top of a module except those that define something."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            raise AssertionError(f"{path.name}:{node.lineno} does something when imported")


def test_a_sideways_import_is_caught(tmp_path: Path):
    module = ast.parse("def f():\n    from stethos.data import store\n")
    (name,) = imported(ROOT / "train" / "x.py", module)
    assert FLOOR[name.split(".")[1]] == FLOOR["train"]
    module = ast.parse("from . import loop\nfrom ..data import store")
    assert imported(ROOT / "train" / "x.py", module) == {"stethos.train.loop", "stethos.data.store"}


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_listing_loads_neither_torch_nor_neurokit(arguments: list[str]):
    code = (
        "import sys\nfrom stethos.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'neurokit2', 'sklearn', 'matplotlib', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pocket-k" in done.stdout
