"""The shipped base can be made again: the same command gives the same weights and a card."""

import numpy as np
import pytest

from minilora import GPTConfig, TextData, load_model
from minilora.pretrain import corpus, recipe
from minilora.pretrain.corpus import Mixture, RecordData
from minilora.pretrain.recipe import STAGES
from minilora.pretrain.recipe import pretrain as make
from minilora.pretrain.records import Document
from tests.models import bits

DOCUMENTS = [Document("ab: xyz. xyz is ab", ("ab", "xyz")), Document("q q", ("q",)), Document("one two one", ("one",))]


@pytest.fixture
def in_small(monkeypatch):
    monkeypatch.setattr(recipe, "CONFIG", GPTConfig(block_size=96, n_layer=1, n_head=1, n_embd=4))
    monkeypatch.setattr(corpus, "BLOCK_SIZE", 96)
    monkeypatch.setattr(corpus, "RECORD_BYTES", 10_000)
    monkeypatch.setattr(corpus, "python_docs", lambda: "The quick brown fox jumps over the lazy dog. " * 20)
    monkeypatch.setattr(corpus, "python_docstrings", lambda: ["Return the fox.", "The dog, or None if it sleeps."] * 9)


def test_the_same_seed_makes_the_same_base(in_small, tmp_path):
    losses = [make(tmp_path / name, steps=3, workers=1) for name in ("one.npz", "two.npz")]
    assert losses[0] == losses[1]
    assert bits(load_model(tmp_path / "one.npz")) == bits(load_model(tmp_path / "two.npz"))


def test_the_card_has_the_losses_the_stages_and_the_command(in_small, tmp_path):
    loss = make(tmp_path / "base.npz", steps=3, workers=1)
    card = (tmp_path / "base.md").read_text(encoding="utf-8")
    assert f"{loss:.4f} nats per byte" in card and "copied bytes of the records 5." in card
    assert "`minilora pretrain --steps 3 --seed 0 --threads 1 --out base.npz`" in card
    assert card.count("3 steps of") == len(STAGES)


def test_only_the_base_and_its_card_are_left(in_small, tmp_path):
    make(tmp_path / "base.npz", steps=2)
    assert {path.name for path in tmp_path.iterdir()} == {"base.npz", "base.md"}


@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_a_run_interrupted_in_any_stage_resumes_to_the_same_bits(in_small, tmp_path, monkeypatch, stage):
    make(tmp_path / "whole.npz", steps=2, workers=1)
    run_stage = recipe.run_stage

    def cut_off(model, at, *rest):
        if at is STAGES[stage]:
            raise KeyboardInterrupt
        return run_stage(model, at, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(recipe, "run_stage", cut_off)
        make(tmp_path / "cut.npz", steps=2, workers=1)
    make(tmp_path / "cut.npz", steps=2, workers=1, resume=True)
    assert bits(load_model(tmp_path / "cut.npz")) == bits(load_model(tmp_path / "whole.npz"))


def test_the_shares_of_every_stage_add_up_to_one():
    assert all(sum(stage.shares.values()) == pytest.approx(1, abs=1e-12) for stage in STAGES)


# --------------------------------------------------------------------------------------------- the data


def test_a_window_of_records_begins_with_a_document_and_weighs_the_copies():
    data = RecordData(DOCUMENTS, 6, read_weight=0.25)
    tokens, targets, weights = data.sample(np.random.default_rng(0), 40)
    assert {bytes(row.astype(np.uint8)) for row in tokens} == {b"ab: xy", b"q q\n\no", b"one tw"}
    np.testing.assert_array_equal(tokens[:, 1:], targets[:, :-1])
    for row, weight in zip(targets, weights, strict=True):
        expected = {b" q\n\non": [0.25, 1, 0.25, 0.25, 0.25, 0.25]}.get(bytes(row.astype(np.uint8)), [0.25] * 6)
        assert weight.tolist() == expected


def test_records_are_evaluated_once_each_from_their_start():
    data = RecordData(DOCUMENTS, 8, read_weight=0.0)
    rows = [bytes(row.astype(np.uint8)) for batch in data.batches(2) for row in batch.tokens]
    assert rows == [b"ab: xyz.", b"q q\n\none"]  # the third begins inside the second's window


def test_a_mixture_uses_its_parts_according_to_their_shares():
    zeros, ones = (TextData(np.full(99, value), 4) for value in (0, 1))
    drawn = Mixture([zeros, ones], [0.25, 0.75]).sample(np.random.default_rng(0), 4000)
    assert drawn.tokens.shape == drawn.weights.shape == (4000, 4) and (drawn.weights == 1).all()
    np.testing.assert_array_equal(drawn.tokens, drawn.targets)
    # Five standard deviations of a binomial.
    assert abs(drawn.tokens[:, 0].mean() - 0.75) < 5 * (0.25 * 0.75 / 4000) ** 0.5


def test_a_part_with_share_zero_is_not_used():
    zeros, records = TextData(np.zeros(99, int), 6), RecordData(DOCUMENTS, 6, 0.25)
    assert not Mixture([zeros, records], [1, 0]).sample(np.random.default_rng(0), 5).tokens.any()
