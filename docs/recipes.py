"""The directive `recipe`: every field of a page's recipe, with its values in the three presets."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class RecipeTable(SphinxDirective):
    """`:::{recipe} stethos.systems.pocket_k` as a table: flag, default, reference, tiny, meaning."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table, as Markdown that the page's own parser reads."""
        page = import_module(self.arguments[0])
        presets = page.Recipe(), page.reference(), page.tiny()
        head = ["| flag | default | reference | tiny | meaning |", "|---|---|---|---|---|"]
        rows = [f"| {' | '.join(cells)} |" for cells in _rows(*presets)]
        return self.parse_text_to_nodes("\n".join(head + rows))


def _rows(*presets: Any) -> Iterator[list[str]]:
    """One row a field, nested recipes flat, as the command line has them."""
    meaning = _meanings(presets[0].__doc__)
    for item in fields(presets[0]):
        values = [getattr(preset, item.name) for preset in presets]
        if is_dataclass(values[0]):
            yield from _rows(*values)
            continue
        first, *others = (_shown(value) for value in values)
        flag = "--" + item.name.replace("_", "-")
        yield [f"`{flag}`", first, *("" if other == first else other for other in others), meaning[item.name]]


def _shown(value: Any) -> str:
    """A value as it is typed after its flag."""
    if value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{text}`"


def _meanings(docstring: str) -> dict[str, str]:
    """Field → what its line under `Args:` says."""
    entries = re.findall(r"^ +(\w+): (.+(?:\n {10,}.+)*)", docstring.split("Args:")[1], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def setup(app: Any) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("recipe", RecipeTable)
    return {"parallel_read_safe": True}
