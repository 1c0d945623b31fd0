"""The page's JavaScript: its types hold together, and it is no more than somebody can read."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from page_node import NODE

import stethos

PAGE = Path(stethos.__file__).parent / "export" / "page"
HERE = Path(__file__).parent / "page_browser"
COMPILER = HERE / "node_modules" / "typescript" / "bin" / "tsc"
MOST = 2000  # lines of the page of a lead that are neither empty nor comments
needs_types = pytest.mark.skipif(
    NODE is None or not COMPILER.is_file(), reason="no typescript: needs node, and npm ci in tests/page_browser"
)
NOT_CODE = re.compile(
    r""" (?P<kept> "(?:\\.|[^"\\\n])*" | `(?:\\.|[^`\\])*`                       # strings
             | (?<=[(=,:?]) \s* / (?![*/]) (?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+ / )  # regular expressions
       | /\*.*?\*/ | //[^\n]* """,
    re.VERBOSE | re.DOTALL,
)


def compiled(project: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [str(NODE), str(COMPILER), "--project", str(project), "--pretty", "false", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def code(text: str) -> list[str]:
    """Lines without comments and empty ones."""
    bare = NOT_CODE.sub(lambda found: found["kept"] or "", text)
    return [line for line in bare.splitlines() if line.strip()]


@needs_types
@pytest.mark.parametrize("project", ["tsconfig.json", "tsconfig.worker.json"])
def test_types_hold_together(project: str):
    ended = compiled(HERE / project)
    assert (ended.stdout, ended.returncode) == ("", 0)


@needs_types
def test_every_script_is_checked_and_strictly():
    seen: set[Path] = set()
    for project in ("tsconfig.json", "tsconfig.worker.json"):
        told = json.loads(compiled(HERE / project, "--showConfig").stdout)["compilerOptions"]
        assert (told["strict"], told["checkJs"]) == (True, True)
        seen |= {Path(line) for line in compiled(HERE / project, "--listFilesOnly").stdout.splitlines()}
    scripts = set(PAGE.rglob("*.js"))
    assert scripts - {path.resolve() for path in seen} == set()
    assert [path.name for path in scripts if re.search("@ts-(nocheck|ignore|expect-error)", path.read_text())] == []


@needs_types
def test_a_wrong_type_is_found(tmp_path: Path):
    (tmp_path / "wrong.js").write_text('import { number } from "./words.js";\nnumber("1");\n')
    for name in ("words.js", "files.js"):
        (tmp_path / name).write_text((PAGE / "js" / name).read_text())
    files = [str(tmp_path / "wrong.js"), str(HERE / "types" / "page.d.ts")]
    config = {"extends": str(HERE / "tsconfig.json"), "files": files}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    (error,) = compiled(tmp_path).stdout.splitlines()
    assert "wrong.js(2,8): error TS2345" in error


def test_what_counts_as_code():
    text = (
        '/** A\n * B */\nconst a = "// no comment"; // one\n\n  /* x */\nconst b = /[/*]"/; /* y\n */\nf(`//${a}`);\n'
    )
    assert code(text) == ['const a = "// no comment"; ', 'const b = /[/*]"/; ', "f(`//${a}`);"]


def test_the_page_of_a_lead_can_be_read_through():
    scripts = [*sorted((PAGE / "js").glob("*.js")), PAGE / "sw.js", PAGE / "boot.js"]
    counted = {path.name: len(code(path.read_text())) for path in scripts}
    raw = sum(len(path.read_text().splitlines()) for path in scripts)
    total = sum(counted.values())
    assert total < MOST, f"{total} lines of code, {raw} with comments and empty ones: {counted}"
