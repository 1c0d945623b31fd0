"""The command line: the pages' own functions, and a few tools for files and cohorts.

Values of a recipe come from flags, then `--config FILE`, then `--preset tiny|reference`, then the defaults; they
are merged here, before anything is constructed. Nothing heavy is imported before a command is known.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from stethos.cli.recipe import as_command
from stethos.errors import RecipeError, StethosError

HEADLINE = (
    r"[\w-]+\.(auroc|npv|npv_trivial|mae|mae_of_the_mean)|(control|difference)\.\w+\.\w+(\.auroc)?"
    r"|(baseline\.\w+\.)?official|mean\.auc|pooled\.p?auc|mauc|false_positive_rate|sensitivity"
)
PAGES = Path(__file__).parent.parent / "systems"


def headlines() -> dict[str, str]:
    """Name and first line of every page, read without importing it."""
    found = {}
    for path in sorted(PAGES.glob("[a-z]*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem.replace("_", "-")] = text.splitlines()[0].split(": ", 1)[-1]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a `StethosError` is one sentence on standard error and exit code 2."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(tokens)
    except StethosError as error:
        print(f"stethos: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stethos: stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    finally:
        if "stethos.train.dist" in sys.modules:
            sys.modules["stethos.train.dist"].leave()


def _run(tokens: list[str]) -> None:
    from cyclopts import App
    from cyclopts.exceptions import CycloptsError

    if tokens[:1] == ["demo"]:
        named = len(tokens) > 1 and not tokens[1].startswith("-")
        tokens = [tokens[1] if named else "pocket-k", "demo", *tokens[2 if named else 1 :]]
    app = App(name="stethos", help=_help(), version=_version, result_action="return_value")
    if tokens[:1] == ["run"] and len(tokens) > 1:
        tokens = _page(app, _from_file(Path(tokens[1])), tokens[1], tokens[2:], [tokens[1]])
    elif tokens and tokens[0] in headlines():
        module = importlib.import_module(f"stethos.systems.{tokens[0].replace('-', '_')}")
        tokens = _page(app, module, tokens[0], tokens[1:], [tokens[0]])
    else:
        _tools(app)
    try:
        _show(app(tokens, exit_on_error=False, print_error=False))
    except CycloptsError as error:
        raise RecipeError(" ".join(str(error).split())) from None


def _help() -> str:
    listing = "\n\n".join(f"**{name}**: {headline}" for name, headline in headlines().items())
    return f"Encoders for one-dimensional signals, anchored in what the waveform alone does not say.\n\n{listing}"


def _version() -> str:
    from importlib.metadata import version

    return version("stethos")


def _show(result: Any) -> None:
    """Print what a command returned: JSON lines, text lines, or where its run lies."""
    from stethos.types import Run

    if isinstance(result, Iterator):
        for item in result:
            print(item if isinstance(item, str) else json.dumps(item), flush=True)
    elif isinstance(result, Run):
        print("\n".join(_told(result)))
    elif hasattr(result, "lines"):
        print("\n".join(result.lines()))
    elif result is not None:
        print(result)


def _told(run: Any) -> Iterator[str]:
    """Where a run lies and, if it was evaluated, its headline numbers."""
    if run.metrics.is_file():
        for name, item in json.loads(run.metrics.read_text()).items():
            if re.fullmatch(HEADLINE, name) and item["value"] is not None:
                interval = f"({item['low']:.3f} to {item['high']:.3f})"
                yield f"{name:34} {item['value']:.3f} {interval}  n {item['n']:,}  {item['origin']}"
    yield str(run.report if run.report.is_file() else run.folder)


def _from_file(path: Path) -> ModuleType:
    """A page from a file anywhere, named by the user."""
    if not path.is_file():
        raise RecipeError(f"{path} is not a file; give the path of a page, such as my_system.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    if not hasattr(module, "commands"):
        raise RecipeError(f"{path} is not a page: it needs a tuple named commands")
    return module


def _page(app: Any, module: ModuleType, name: str, tokens: list[str], prefix: list[str]) -> list[str]:
    """Register a page's commands with the defaults that its preset and config ask for; returns the other tokens."""
    from cyclopts import App

    preset, tokens = _taken("--preset", tokens)
    config, tokens = _taken("--config", tokens)
    headline = (module.__doc__ or "").split("\n\n")[0]
    note = "Commands with a recipe also take --preset tiny|reference and --config FILE; flags win over both."
    page = App(name=name, help=f"{headline}\n\n{note}", help_format="plaintext")
    for command in module.commands:
        page.command(as_command(command, module, preset, config), name=command.__name__.replace("_", "-"))
    app.command(page)
    # the parser takes a lone hyphen, standard input, for an option
    return [*prefix, *("stdin=-" if token == "-" else token for token in tokens)]


def _taken(flag: str, tokens: list[str]) -> tuple[str, list[str]]:
    """The value of `--flag VALUE` or `--flag=VALUE`, and the tokens without it."""
    for place, token in enumerate(tokens):
        if token.startswith(f"{flag}="):
            return token.split("=", 1)[1], tokens[:place] + tokens[place + 1 :]
        if token == flag:
            if place + 1 == len(tokens):
                raise RecipeError(f"{flag} needs a value")
            return tokens[place + 1], tokens[:place] + tokens[place + 2 :]
    return "", tokens


def _tools(app: Any) -> None:
    """The commands that belong to no page, and the pages' names for the listing."""
    from cyclopts import App

    from stethos.cli import tools

    for tool in (tools.inspect, tools.predict, tools.export, tools.app, tools.compare, tools.findings):
        app.command(cast(Any, tool))
    cohort = App(name="cohort", help="Folders of recordings with a table.")
    for name, command in tools.COHORT.items():
        cohort.command(command, name=name)
    synth = App(name="synth", help="Simulated worlds with a known truth.")
    synth.command(tools.hospital)
    synth.command(tools.factory)
    app.command(cohort)
    app.command(synth)
    for name, headline in headlines().items():
        app.command(App(name=name, help=headline))
