"""What a recipe's text tower reads, and what stands for a label."""

import json
from pathlib import Path

import pytest
import torch

from stethos.errors import FormatError, RecipeError
from stethos.nn.text import Bag, Transformer
from stethos.study.prompts import prompts_of
from stethos.study.towers import TextTower, partly
from stethos.text.findings import load_lexicon


def test_a_share_of_the_tokens_is_hidden_anew_at_every_step_and_by_the_place_of_a_row():
    text = torch.arange(1, 2001).repeat(4, 1)
    rows = torch.arange(4)
    seen = partly(text, 0, 5, rows, 0.7)
    assert (seen == 0).float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert (seen[seen > 0] == text[seen > 0]).all()
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen, partly(text, 0, 6, rows, 0.7))
    assert torch.equal(seen[2:], partly(text[2:], 0, 5, rows[2:], 0.7))


def test_the_rows_of_a_frozen_tower_are_seen_whole():
    rows = torch.randn(3, 5)
    assert partly(rows, 0, 0, torch.arange(3), 0.9) is rows
    text = torch.ones(2, 4, dtype=torch.long)
    assert partly(text, 0, 0, torch.arange(2), 0.0) is text


def test_a_tower_is_part_of_the_network_only_where_it_learns():
    assert isinstance(TextTower("bag").module(), Bag)
    assert isinstance(TextTower("minilm").module(), torch.nn.Identity)
    tuned = TextTower("minilm", 1)
    assert isinstance(tuned.module(), Transformer)
    assert tuned.read(["severe mitral stenosis", "no"]).dtype == torch.long
    assert TextTower("minilm").read(["severe mitral stenosis"]).shape == (1, 384)
    assert TextTower("bag").unknown(["anything"]) == TextTower("minilm").unknown(["", ""]) == 0


def test_prompts_are_those_of_the_languages_that_were_learned_or_of_all_where_none_has_any():
    lexicon = load_lexicon()
    english = prompts_of(["mitral_stenosis"], lexicon, ["en"])["mitral_stenosis"]
    both = prompts_of(["mitral_stenosis"], lexicon, ["zh", "en"])["mitral_stenosis"]
    assert set(english.present) < set(both.present)
    assert any("狭窄" in text for text in both.present)
    assert prompts_of(["mitral_stenosis"], lexicon, ["other"])["mitral_stenosis"].absent


def test_every_concept_says_in_words_that_it_is_there_and_that_it_is_not():
    lexicon = load_lexicon(preset="all")
    for name, found in prompts_of(tuple(lexicon.concepts), lexicon, ["en", "zh"]).items():
        assert found.present, name
        assert found.absent, name
        assert not set(found.present) & set(found.absent), name


def test_a_file_of_prompts_goes_before_the_table_and_must_have_its_form(tmp_path: Path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"mitral_stenosis": {"present": ["tight valve"], "absent": ["open valve"]}}))
    assert prompts_of(["mitral_stenosis"], load_lexicon(), ["en"], str(path))["mitral_stenosis"].present == (
        "tight valve",
    )
    for broken in ("no json", "[]", '{"NORM": {"present": ["x"]}}'):
        path.write_text(broken)
        with pytest.raises(FormatError, match="must be a JSON object of label"):
            prompts_of(["NORM"], load_lexicon(), ["en"], str(path))
    with pytest.raises(RecipeError, match="NORM needs prompts"):
        prompts_of(["NORM"], load_lexicon(), ["en"])
