"""Text towers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stethos.errors import RecipeError
from stethos.nn.text import PLACES, Bag, Transformer, embedded, folder_of, width_of
from stethos.text import grams
from stethos.text.grams import hashed


def test_a_bag_does_not_see_the_order_of_clauses_nor_empty_places():
    bag = Bag(width=8)
    one, other = (torch.from_numpy(hashed([text])) for text in ("mild MR; no AS", "no AS; mild MR"))
    torch.testing.assert_close(bag(one), bag(other))
    torch.testing.assert_close(bag(one[:, :64]), bag(one))


def test_a_bag_has_a_row_for_every_place():
    assert Bag().rows.num_embeddings == PLACES == grams.PLACES


def test_a_bag_of_nothing_is_finite_and_learns_with_the_others():
    bag = Bag(width=8)
    rows = bag(torch.from_numpy(hashed(["", "severe mitral stenosis"])))
    rows.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in bag.parameters())


def test_runs_between_hidden_ones_are_seen_whatever_else_is_in_the_batch():
    bag = Bag(width=8)
    gaps = torch.zeros(2, 64, dtype=torch.long)
    gaps[0, 0], gaps[1, [3, 50]] = 5, torch.tensor([7, 9])
    torch.testing.assert_close(bag(gaps)[1], bag(torch.tensor([[7, 9]]))[0])


def test_the_weights_of_a_bag_are_shares_by_hand():
    bag = Bag(width=4, places=5, table=3)
    bag.mix = torch.nn.Identity()
    with torch.no_grad():
        bag.weight.weight[1], bag.weight.weight[2] = 0.0, np.log(3.0)
    rows = bag.rows.weight
    torch.testing.assert_close(bag(torch.tensor([[1, 2, 0]]))[0], 0.25 * rows[1] + 0.75 * rows[2])


@pytest.fixture(scope="module")
def tower() -> Transformer:
    return Transformer("minilm").eval()


def test_a_frozen_tower_gives_each_text_the_row_it_has_alone(tower: Transformer):
    texts = ["Severe mitral stenosis.", "No mitral stenosis, the left atrium is of normal size.", "LVEF 35 %"]
    rows = embedded(tower, texts)
    assert rows.shape == (3, 384)
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_allclose(embedded(tower, [text])[0], row, atol=1e-5)


def test_the_tower_agrees_with_the_library_that_published_it(tower: Transformer):
    """sentence-transformers' own pooling of the same folder, before it normalises."""
    from sentence_transformers import SentenceTransformer

    texts = ["Severe mitral stenosis.", "The left atrium is enlarged."]
    published = SentenceTransformer(str(folder_of("minilm")), device="cpu").encode(texts)
    ours = embedded(tower, texts)
    np.testing.assert_allclose(ours / np.linalg.norm(ours, axis=1, keepdims=True), published, atol=1e-5)


def test_a_hidden_token_is_not_seen(tower: Transformer):
    tokens = tower.tokens(["severe mitral stenosis"])
    padded = torch.cat([tokens, torch.zeros_like(tokens)], dim=1)
    hidden = tokens.clone()
    hidden[0, 2] = 0
    torch.testing.assert_close(tower(padded), tower(tokens), atol=1e-5, rtol=1e-4)
    assert (tower(hidden) - tower(tokens)).abs().max() > 1e-3


def test_rows_are_kept_by_text_and_belong_to_one_set_of_weights(tower: Transformer, tmp_path: Path, monkeypatch):
    cache = tmp_path / "text.npz"
    first = embedded(tower, ["a", "b", "a"], cache)
    monkeypatch.setattr(tower, "forward", lambda tokens: pytest.fail("read again"))
    np.testing.assert_array_equal(embedded(tower, ["b", "a"], cache), first[[1, 0]])
    monkeypatch.setitem(tower.__dict__, "digest", "another")
    with pytest.raises(pytest.fail.Exception, match="read again"):
        embedded(tower, ["a"], cache)


def test_no_weight_of_a_frozen_tower_learns_and_the_last_layers_of_a_tuned_one_do(tower: Transformer):
    assert not any(weight.requires_grad for weight in tower.parameters())
    tuned = Transformer("minilm", 2)
    layers = {name.split(".")[3] for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert layers == {"4", "5"}


def test_a_tower_has_no_word_for_chinese(tower: Transformer):
    assert tower.unknown(["mitral stenosis"]) == 0
    assert tower.unknown(["𫍲𫍲"]) > 0


def test_widths_are_known_without_loading_a_model(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 17}))
    assert (width_of("bag"), width_of("minilm"), width_of(str(tmp_path))) == (256, 384, 17)


def test_a_model_that_is_nowhere_is_refused_in_one_sentence():
    with pytest.raises(RecipeError, match="--text names bag, minilm, or a folder"):
        folder_of("ncbi/MedCPT-Query-Encoder")
