"""One sweep over every page: what a system owes, checked for all at once."""

import ast
import importlib
import inspect
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

import stethos.systems

PAGES = sorted(path.stem for path in Path(stethos.systems.__file__).parent.glob("[a-z]*.py"))
VERBS = {"pretrain", "train", "evaluate", "explain", "predict", "demo"}


@pytest.fixture(params=PAGES)
def page(request):
    return importlib.import_module(f"stethos.systems.{request.param}")


def recipes(page):
    return [item for name, item in vars(page).items() if is_dataclass(item) and name.endswith("Recipe")]


def exactly(one, two):
    torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


def models(page):
    return [
        item
        for item in vars(page).values()
        if inspect.isclass(item) and issubclass(item, nn.Module) and item.__module__ == page.__name__
    ]


def trained(page):
    """Modules whose forward takes a batch: one a stage."""
    return [item for item in models(page) if "batch" in inspect.signature(item.forward).parameters]


def test_there_is_a_page():
    assert "pocket_k" in PAGES


def test_the_docstring_has_headline_diagram_loss_source_and_departures(page):
    text = page.__doc__
    assert text.splitlines()[0].endswith(".")
    for part in ("──", "loss =", "Source:", "Departures:"):
        assert part in text, f"{page.__name__}: no {part!r} in its docstring"
    assert "(B, " in text, "the diagram needs shapes"


def test_every_recipe_is_frozen_and_every_field_is_documented(page):
    assert recipes(page)
    for recipe in recipes(page):
        assert recipe.__dataclass_params__.frozen
        arguments = recipe.__doc__.split("Args:")[1]
        for item in fields(recipe):
            assert f"\n        {item.name}: " in arguments, f"{recipe.__name__}.{item.name} is not documented"


def test_reference_builds_offline_and_tiny_is_smaller(page):
    sizes = []
    for recipe in (page.reference(), page.tiny()):
        with torch.device("meta"):
            model = trained(page)[0](recipe)
        # a text tower that learns from nothing is as large for one preset as for the other
        sizes.append(sum(w.numel() for name, w in model.named_parameters() if not name.startswith("tower.")))
    assert sizes[0] > 4 * sizes[1]


def test_presets_are_recipes_of_their_own(page):
    assert page.reference() != page.tiny() != page.Recipe()
    assert type(page.reference()) is type(page.tiny()) is page.Recipe


def test_forward_returns_named_scalars_whose_sum_has_a_gradient(page):
    recipe = page.tiny()
    recipe = replace(recipe, schedule=replace(recipe.schedule, batch=8))
    draw = page.batches(recipe)
    for kind in trained(page):
        batch = draw(0, slice(0, 8))
        assert isinstance(batch, page.Batch)
        model = kind(recipe)
        losses = model(batch)
        assert losses
        assert all(value.ndim == 0 for value in losses.values())
        sum(losses.values()).backward()
        assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


def test_batches_are_the_same_for_the_same_step_and_shares_join_to_the_whole(page):
    recipe = page.tiny()
    recipe = replace(recipe, schedule=replace(recipe.schedule, batch=8))
    draw = page.batches(recipe)
    whole, again, other = draw(3, slice(0, 8)), draw(3, slice(0, 8)), draw(4, slice(0, 8))
    for item, same, left, right in zip(whole, again, draw(3, slice(0, 3)), draw(3, slice(3, 8)), strict=True):
        exactly(item, same)
        exactly(item, torch.cat([left, right]))
    with pytest.raises(AssertionError):
        exactly(whole[0], other[0])


def test_commands_are_documented_functions_with_the_common_words(page):
    names = [command.__name__ for command in page.commands]
    assert "demo" in names
    assert {"train", "pretrain"} & set(names)
    assert len(VERBS & set(names)) >= 3
    for command in page.commands:
        arguments = command.__doc__.split("Args:")[1]
        for name in inspect.signature(command).parameters:
            assert f"\n        {name}: " in arguments, f"{command.__name__}: {name} is not documented"


def test_a_model_has_the_two_seams(page):
    if {"predict"} & {command.__name__ for command in page.commands}:
        for kind in trained(page):
            assert callable(kind.prepare)
            assert callable(kind.score)


def test_no_page_is_a_base_class_or_found_by_string(page):
    source = Path(page.__file__).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            assert not any("ABC" in ast.unparse(base) for base in node.bases)
    assert "eval(" not in source.replace(".eval()", "")
