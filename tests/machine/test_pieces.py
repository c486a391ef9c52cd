"""A batch is cut by its shape only, and its pieces are shared whether threads can be started or not."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora import LoraConfig, add_lora, loss_and_grads
from minilora.machine import pieces
from minilora.machine.pieces import piece_slices, share_out
from tests.models import TINY, assert_same, batch, gpt, scramble


@given(st.integers(1, 40), st.integers(1, 700), st.integers(1, 1000))
def test_pieces_cover_every_row_once_and_two_workers_can_share_them(B, T, C):
    slices = piece_slices(B, T, C)
    assert [row for piece in slices for row in range(B)[piece]] == list(range(B))
    assert len(slices) >= min(B, 2)


@given(st.integers(0, 12), st.integers(1, 5))
def test_each_piece_is_computed_once_and_a_thread_takes_every_so_many(count, workers):
    done = []
    share_out(count, workers, done.append)
    assert sorted(done) == list(range(count))
    for first in range(workers):
        assert [i for i in done if i % workers == first] == list(range(count))[first::workers]


def test_losses_are_added_plainly_whatever_the_python():
    """Python's own sum() corrects what floats lose from 3.12 on, and a GPU's numbers do not get that."""
    losses = iter([1e16, 1.0, -1e16, 0.0])
    total, _ = pieces.sum_over_pieces(lambda *_: next(losses), {}, (4, 1, pieces.ELEMENTS_PER_PIECE), np)
    assert total == 0.0


@pytest.mark.parametrize("available", [0, 1])
def test_where_threads_cannot_be_started_the_same_shares_give_the_same_bits(monkeypatch, available):
    """None of the two, as in a browser, or only the first, as at a limit of the system's."""
    monkeypatch.setattr(pieces, "ELEMENTS_PER_PIECE", 8 * TINY.n_embd)
    model, start = scramble(add_lora(gpt(), LoraConfig(r=2, lora_dropout=0.3))), threading.Thread.start

    def limited(thread) -> None:
        nonlocal available
        available -= 1
        if available < 0:
            raise RuntimeError("can't start new thread")
        start(thread)

    def step():
        pieces._threads.cache_clear()  # as in a process that has never had any
        return loss_and_grads(model, *batch(B=7), workers=3, rng=np.random.default_rng(0))

    loss, grads = step()
    with monkeypatch.context() as platform:
        platform.setattr(threading.Thread, "start", limited)
        other_loss, other_grads = step()
    assert available < 0 and loss == other_loss
    assert_same(other_grads, grads)
    pieces._threads.cache_clear()


def test_an_error_in_a_worker_reaches_the_caller_and_the_settings_come_back():
    before = sys.getswitchinterval()

    def work(piece: int) -> None:
        raise RuntimeError(f"in {piece}")

    for workers in (1, 2):
        with pytest.raises(RuntimeError, match="in 0"):
            share_out(4, workers, work)
        assert sys.getswitchinterval() == before
