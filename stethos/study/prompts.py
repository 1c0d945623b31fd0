"""Sentences that stand for a label and for its absence, for a model that has learned recordings with texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stethos.errors import FormatError, RecipeError
from stethos.text.findings import Lexicon


@dataclass(frozen=True)
class Prompts:
    """What is said where a label is present, and where it is absent; each at least one sentence."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


def prompts_of(names: Sequence[str], lexicon: Lexicon, languages: Sequence[str], path: str = "") -> dict[str, Prompts]:
    """The prompts of every label, in the languages that were learned.

    Args:
        names: Labels: concepts of the lexicon, or whatever the file has prompts for.
        lexicon: Its concepts have prompts in some languages.
        languages: Such as "en" and "zh"; one without prompts is passed over.
        path: JSON file of label → {"present": [...], "absent": [...]}, which goes before the lexicon.

    Raises:
        FormatError: The file is not of that form.
        RecipeError: A label has no prompts.
    """
    own = _read(path) if path else {}
    found = {}
    for name in names:
        if name in own:
            found[name] = own[name]
        elif name in lexicon.concepts:
            held = lexicon.concepts[name].prompts
            sides = [held[item] for item in languages if item in held] or list(held.values())
            found[name] = Prompts(*(tuple(text for side in sides for text in side[which]) for which in (0, 1)))
        if name not in found or not (found[name].present and found[name].absent):
            raise RecipeError(
                f'{name} needs prompts: give --prompts FILE with {{"{name}": {{"present": ["…"], "absent": ["…"]}}}}'
            )
    return found


def _read(path: str) -> Mapping[str, Prompts]:
    try:
        held = json.loads(Path(path).read_text(encoding="utf8"))
        return {name: Prompts(tuple(item["present"]), tuple(item["absent"])) for name, item in held.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f'{path} must be a JSON object of label → {{"present": [sentences], "absent": [sentences]}}: {error}'
        ) from error
