"""The command line: precedence, read-back, one clear sentence for what is wrong."""

import json
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stethos.cli import headlines, main
from stethos.cli.recipe import as_command, base_recipe, merged, restored, with_defaults
from stethos.errors import RecipeError
from stethos.systems import pocket_k
from stethos.types import Schedule

PAGE = '''
"""Toy: a page outside the package.

Source: none.
"""
from dataclasses import dataclass, field
from pathlib import Path
from stethos.types import Schedule

@dataclass(frozen=True)
class Recipe:
    """How.

    Args:
        name: What.
        widths: Channels.
        flag: Whether.
        schedule: How long.
    """

    name: str = "plain"
    widths: tuple[int, ...] = (1, 2)
    flag: bool = False
    schedule: Schedule = field(default_factory=Schedule)

def tiny():
    return Recipe(name="small", widths=(7,), schedule=Schedule(steps=5, lr=0.5))

def reference():
    return Recipe(name="paper")

def train(*, out: Path, recipe: Recipe = Recipe()) -> str:
    """Say what came.

    Args:
        out: Where.
        recipe: How.
    """
    assert type(recipe) is Recipe and type(recipe.schedule) is Schedule
    return repr(recipe)

commands = (train,)
'''


@pytest.fixture
def toy(tmp_path: Path):
    path = tmp_path / "toy_page.py"
    path.write_text(PAGE)

    def run(*flags: str, capsys) -> str:
        main(["run", str(path), "train", "--out", str(tmp_path / "out"), *flags])
        return capsys.readouterr().out.strip()

    return run


def says(capsys, *arguments: str) -> str:
    """The sentence on standard error of a command that is refused with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith("stethos: ")
    assert "Traceback" not in text
    return text


def test_without_flags_the_defaults_hold(toy, capsys):
    assert toy(capsys=capsys).startswith("Recipe(name='plain', widths=(1, 2), flag=False, schedule=Schedule(steps=1000")


def test_a_preset_with_one_flag_keeps_the_rest_of_the_preset(toy, capsys):
    text = toy("--preset", "tiny", "--steps", "9", capsys=capsys)
    assert "name='small', widths=(7,)" in text
    assert "steps=9" in text
    assert "lr=0.5" in text


def test_flags_win_over_the_config_and_the_config_over_the_preset(toy, capsys, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"system": "toy", "recipe": {"name": "file", "schedule": {"steps": 6, "batch": 3}}}))
    text = toy("--preset=tiny", "--config", str(config), "--batch", "4", capsys=capsys)
    for part in ("name='file'", "widths=(7,)", "steps=6", "batch=4", "lr=0.5"):
        assert part in text


def test_a_flag_equal_to_the_default_still_wins_over_the_preset(toy, capsys):
    assert "name='plain', widths=(7,)" in toy("--preset", "tiny", "--name", "plain", capsys=capsys)


def test_a_wrong_type_in_a_config_names_its_field(tmp_path, capsys, toy):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"recipe": {"schedule": {"steps": "many"}}}))
    with pytest.raises(SystemExit):
        toy("--config", str(config), capsys=capsys)
    assert "schedule.steps" in capsys.readouterr().err


def test_an_unknown_field_in_a_config_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"no field schedule\.stepz"):
        merged(pocket_k.Recipe(), {"schedule": {"stepz": 3}})


@pytest.mark.parametrize("recipe", [pocket_k.Recipe(), pocket_k.tiny(), pocket_k.reference()])
def test_every_recipe_reads_back_equal_from_its_config(recipe):
    assert merged(pocket_k.Recipe(), json.loads(json.dumps(asdict(recipe)))) == recipe


def test_defaults_survive_the_detour_through_the_parser():
    recipe = replace(pocket_k.tiny(), schedule=Schedule(steps=3, seed=8))
    assert restored(pocket_k.Recipe, with_defaults(recipe)()) == recipe


def test_a_preset_that_is_none_is_refused():
    with pytest.raises(RecipeError, match="tiny or reference"):
        base_recipe(pocket_k.Recipe, pocket_k, "huge", "")


def test_a_command_without_a_recipe_is_left_alone():
    def predict(run: Path) -> None: ...

    assert as_command(predict, SimpleNamespace(), "", "") is predict


def test_the_listing_names_every_page_with_its_headline(capsys):
    main([])
    text = capsys.readouterr().out
    for name, headline in headlines().items():
        assert name in text
        assert headline.split()[0] in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pocket-k", "train"], "out"),
        (["pocket-k", "train", "--out", "x", "--steps", "many"], "steps"),
        (["pocket-k", "train", "--out", "x", "--stepz", "3"], "--stepz"),
        (["pocket-k", "train", "--out", "x", "--preset"], "--preset needs a value"),
        (["predict", "nowhere", "x.csv"], "is not a run"),
        (["compare", "nowhere"], "two runs or more"),
        (["cohort", "show", "nowhere"], "cohort.csv"),
        (["inspect", "nowhere.hea"], "nowhere"),
        (["run", "nowhere.py", "train"], "is not a file"),
        (["nothing"], "nothing"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(capsys, arguments, words):
    assert words in says(capsys, *arguments)


def test_a_page_outside_the_package_is_not_loaded_from_a_config(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"system": "../evil", "recipe": {}}))
    assert "not part of this version" in says(capsys, "predict", str(tmp_path), "x.csv")
    assert "evil" not in sys.modules


@dataclass(frozen=True)
class Nested:
    """Two levels.

    Args:
        inner: Below.
    """

    inner: Schedule = field(default_factory=Schedule)


def test_nested_values_merge_field_by_field():
    assert merged(Nested(Schedule(steps=2, lr=3.0)), {"inner": {"steps": 4}}) == Nested(Schedule(steps=4, lr=3.0))
