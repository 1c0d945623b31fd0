"""The documentation is true: its commands parse, its modules are all that there are, each public name is explained."""

import ast
import importlib
import json
import re
import shlex
from pathlib import Path

import cyclopts
import pytest

from stethos.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
PACKAGES = (
    *("signal", "metrics", "text", "io", "data", "nn", "augment", "objectives", "train", "explain", "synth", "report"),
    "study",
)
MODULES = [ROOT / "stethos" / f"{name}.py" for name in ("types", "errors", "hear")] + [
    path
    for package in (*PACKAGES, "systems", "flow", "ports", "export")
    for path in sorted((ROOT / "stethos" / package).glob("*.py"))
]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Every `stethos …` of the shell blocks, lines joined that end in a backslash."""
    lines = [line for block in blocks(text, "(?:sh|bash|shell|console)") for line in joined(block).splitlines()]
    return [line for line in (line.strip().removeprefix("$ ") for line in lines) if line.startswith("stethos")]


def joined(block: str) -> str:
    return re.sub(r"\\\n\s*", "", block)


COMMANDS = sorted({command for page in PAGES for command in commands(page.read_text())})
PYTHON = [(page.name, code) for page in PAGES for code in blocks(page.read_text(), "python")]


def parse_only(self: cyclopts.App, tokens: list[str], **options: bool) -> None:
    """What `App.__call__` does, without running the command."""
    self.parse_args(tokens, **options)


def parse(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a command as the command line does, in a folder that holds the files it is about to open."""
    monkeypatch.setattr(cyclopts.App, "__call__", parse_only)
    monkeypatch.chdir(folder)
    words = shlex.split(command, comments=True)
    if "--config" in words:
        config = folder / words[words.index("--config") + 1]
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps({"recipe": {}}))
    if words[1:2] == ["run"]:
        (folder / words[2]).write_text(seventh())
    main(words[1:])


def seventh() -> str:
    """The page that design.md shows."""
    (code,) = (code for name, code in PYTHON if name == "design.md")
    return code


def test_commands_are_found_in_the_pages():
    assert len(COMMANDS) > 20
    assert commands("```sh\nstethos a \\\n  --b  # why\n```\n\n```text\nstethos: no\n```\n") == ["stethos a --b  # why"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_pages_parses(command, tmp_path, monkeypatch):
    parse(command, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "wrong",
    [
        "stethos pocket-k train --out x --stepz 3",
        "stethos pocket-k train --cohort x",
        "stethos pocket-k train --out x --operate-at precision",
        "stethos cohort import lost x --out y",
        "stethos cohort shew x",
    ],
)
def test_a_command_that_is_not_there_is_caught(wrong, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        parse(wrong, tmp_path, monkeypatch)
    assert stop.value.code == 2


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_every_python_block_compiles_and_imports_what_is_there(page, code):
    for node in ast.walk(ast.parse(code, page)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("stethos"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "stethos":
            assert hasattr(importlib.import_module("stethos"), node.attr), ast.unparse(node)


def test_the_seventh_system_of_the_design_page_runs(tmp_path, capsys):
    (tmp_path / "slope.py").write_text(seventh())
    (tmp_path / "strip.csv").write_text("# rate: 100\n# unit: mV\nI\n" + "\n".join(f"{0.001 * i}" for i in range(51)))
    main(["run", str(tmp_path / "slope.py"), "train", str(tmp_path / "strip.csv")])
    main(["run", str(tmp_path / "slope.py"), "train", str(tmp_path / "strip.csv"), "--preset", "reference"])
    assert capsys.readouterr().out.split("\n")[:2] == ["rises", "does not rise"]


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def offers_something(path: Path) -> bool:
    """Whether a module holds names of its own; an empty `__init__.py` does not."""
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Assign)
    return path.stem != "__init__" or any(isinstance(node, kinds) for node in ast.parse(path.read_text()).body)


def test_api_lists_every_module_and_no_other():
    listed = re.findall(r"^   (stethos[\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(set(listed)) == len(listed)
    there = {named(path) for path in MODULES if offers_something(path)}
    assert set(listed) - there == set(), "docs/api.md lists what is not there"
    assert there - set(listed) == set(), "docs/api.md does not list"


def public(body: list[ast.stmt], prefix: str = ""):
    """Public functions and classes with their names, methods of public classes included."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_and_public_name_has_a_docstring(path):
    module = ast.parse(path.read_text())
    assert ast.get_docstring(module), f"{named(path)} has no docstring"
    bare = [name for name, node in public(module.body) if not ast.get_docstring(node)]
    assert not bare, f"{named(path)}: no docstring for {', '.join(bare)}"


def test_a_missing_docstring_is_seen():
    module = ast.parse("class A:\n    '''Said.'''\n    def f(self): ...\n    def _g(self): ...\ndef h(): ...")
    assert [name for name, node in public(module.body) if not ast.get_docstring(node)] == ["A.f", "h"]
