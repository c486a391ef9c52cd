"""The shipped base can be made again: the same command, the same weights, and a card that says so."""

import pytest

from minilora import GPTConfig, load_model, pretrain
from minilora.pretrain import pretrain as make
from tests.models import bits


@pytest.fixture(autouse=True)
def in_small(monkeypatch):
    monkeypatch.setattr(pretrain, "CONFIG", GPTConfig(block_size=16, n_layer=1, n_head=1, n_embd=4))
    monkeypatch.setattr(pretrain, "python_docs", lambda: "The quick brown fox jumps over the lazy dog. " * 20)


def test_the_same_seed_makes_the_same_base(tmp_path):
    losses = [make(tmp_path / name, steps=3, workers=1) for name in ("one.npz", "two.npz")]
    assert losses[0] == losses[1]
    assert bits(load_model(tmp_path / "one.npz")) == bits(load_model(tmp_path / "two.npz"))


def test_the_card_has_the_loss_and_the_command(tmp_path):
    loss = make(tmp_path / "base.npz", steps=3, workers=1)
    card = (tmp_path / "base.md").read_text(encoding="utf-8")
    assert f"{loss:.4f} nats per byte" in card
    assert "`minilora pretrain --steps 3 --seed 0 --workers 1 --out base.npz`" in card


def test_nothing_but_the_base_and_its_card_is_left(tmp_path):
    make(tmp_path / "base.npz", steps=2)
    assert {path.name for path in tmp_path.iterdir()} == {"base.npz", "base.md"}
