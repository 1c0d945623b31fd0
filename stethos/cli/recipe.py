"""A recipe's values from flags, a config, a preset and the defaults, merged before anything is constructed.

The parser drops a default instance as soon as one flag is given. So a command is given a dataclass of the same
fields whose *defaults* are the merged values; whatever the flags leave alone is then as the preset has it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from stethos.errors import RecipeError

PRESETS = ("tiny", "small", "reference")  # functions of a page; not every page has one between the two


def base_recipe(kind: type, module: ModuleType, preset: str, config: str) -> Any:
    """The recipe that flags are laid over: a config's values over a preset's over the defaults.

    Raises:
        RecipeError: The preset is unknown, or the config holds an unknown field or a wrong type.
    """
    known = [name for name in PRESETS if hasattr(module, name)]
    if preset and preset not in known:
        raise RecipeError(f"--preset is {' or '.join(known)}; got {preset}")
    recipe = getattr(module, preset)() if preset else kind()
    if not config:
        return recipe
    try:
        loaded = json.loads(Path(config).read_text())
    except (OSError, ValueError) as error:
        raise RecipeError(f"--config needs a JSON file such as a run's config.json; {config}: {error}") from None
    return merged(recipe, loaded.get("recipe", loaded))


def merged(recipe: Any, values: dict[str, Any], path: str = "") -> Any:
    """A recipe with some of its fields, at any depth, replaced by plain values.

    Raises:
        RecipeError: A field is unknown or its value has the wrong type; the message names it.
    """
    import msgspec

    kinds, known = get_type_hints(type(recipe)), {item.name for item in fields(recipe)}
    changed = {}
    for name, value in values.items():
        place = f"{path}{name}"
        if name not in known:
            raise RecipeError(f"the recipe has no field {place}; it has {', '.join(sorted(known))}")
        if is_dataclass(getattr(recipe, name)) and isinstance(value, dict):
            changed[name] = merged(getattr(recipe, name), value, f"{place}.")
            continue
        try:
            changed[name] = msgspec.convert(value, kinds[name])
        except msgspec.ValidationError as error:
            raise RecipeError(f"field {place}: {error}") from None
    return type(recipe)(**{item.name: changed.get(item.name, getattr(recipe, item.name)) for item in fields(recipe)})


def with_defaults(recipe: Any) -> type:
    """A dataclass of the same fields as `recipe` whose defaults are its values, flat for the command line."""
    from cyclopts import Parameter

    kinds = get_type_hints(type(recipe))
    columns: list[tuple[str, Any, Any]] = []
    for item in fields(recipe):
        value = getattr(recipe, item.name)
        if is_dataclass(value):
            inner = with_defaults(value)
            columns.append((item.name, inner, field(default_factory=inner)))
        else:
            columns.append((item.name, kinds[item.name], field(default=value)))
    made = make_dataclass(type(recipe).__name__, columns, frozen=True)
    made.__doc__, made.__module__ = (
        type(recipe).__doc__,
        type(recipe).__module__,
    )  # the parser leaves module types alone
    return Parameter(name="*")(made)


def restored(kind: type, flat: Any) -> Any:
    """The recipe of its own class from an instance of `with_defaults`."""
    values = {}
    for item in fields(kind):
        value = getattr(flat, item.name)
        default = item.default_factory if item.default_factory is not MISSING else None
        values[item.name] = restored(type(default()), value) if default and is_dataclass(value) else value
    return kind(**values)


def as_command(command: Callable[..., Any], module: ModuleType, preset: str, config: str) -> Callable[..., Any]:
    """A page's function as a command whose recipe has merged defaults."""
    kinds = get_type_hints(command)
    kind = kinds.get("recipe")
    if kind is None:
        return command
    flat = with_defaults(base_recipe(kind, module, preset, config))

    @wraps(command)
    def run(*arguments: Any, recipe: Any = None, **others: Any) -> Any:
        return command(*arguments, recipe=restored(kind, flat() if recipe is None else recipe), **others)

    signature = inspect.signature(command)
    columns = [
        item.replace(annotation=flat, default=flat()) if name == "recipe" else item.replace(annotation=kinds[name])
        for name, item in signature.parameters.items()
    ]
    run.__signature__ = signature.replace(parameters=columns)  # type: ignore[attr-defined]
    run.__annotations__ = {**kinds, "recipe": flat}
    return run
