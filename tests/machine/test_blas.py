"""Settings of the whole process are restored, whoever leaves first."""

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations

import numpy as np
import pytest

from minilora import evaluate
from minilora.machine import blas, pieces
from minilora.machine.blas import blas_thread_controls, short_turns, single_threaded_blas
from tests.models import TINY, gpt


@pytest.fixture
def blas_threads() -> Iterator:
    """The function that tells the number of BLAS threads, which is 2 before the test and must be after it."""
    if blas_thread_controls() is None:
        pytest.skip("this NumPy's BLAS has no thread control that we know")
    get, set_ = blas_thread_controls()
    before = get()
    set_(2)
    yield get
    after = get()
    set_(before)
    assert after == 2


def test_the_number_of_blas_threads_comes_back_after_an_error(blas_threads):
    with pytest.raises(RuntimeError, match="inside"), single_threaded_blas():
        assert blas_threads() == 1
        raise RuntimeError("inside")


def test_a_blas_without_thread_control_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas, "blas_thread_controls", lambda: None)
    with single_threaded_blas():
        pass


def test_the_length_of_a_turn_comes_back_after_an_error():
    before = sys.getswitchinterval()
    with pytest.raises(RuntimeError, match="inside"), short_turns():
        assert sys.getswitchinterval() < before
        raise RuntimeError("inside")
    assert sys.getswitchinterval() == before


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_users_that_overlap_keep_the_setting_until_the_last_has_left(blas_threads, order):
    before, users = sys.getswitchinterval(), [ExitStack() for _ in order]
    for user in users:
        user.enter_context(single_threaded_blas())
        user.enter_context(short_turns())
    for i in order:
        assert blas_threads() == 1 and sys.getswitchinterval() < before
        users[i].close()
    assert blas_threads() == 2 and sys.getswitchinterval() == before


def test_three_threads_that_evaluate_at_once_leave_the_process_as_it_was(monkeypatch, blas_threads):
    """Each waits for the other two inside its first forward, so that all three have changed the settings by then."""
    monkeypatch.setattr(pieces, "ELEMENTS_PER_PIECE", 8 * TINY.n_embd)
    before, model, losses = sys.getswitchinterval(), gpt(), []
    inside, waited, forward = threading.Barrier(3, timeout=60), threading.local(), model.forward

    def meeting(*args, **options):
        if not hasattr(waited, "once"):
            waited.once = inside.wait()
        return forward(*args, **options)

    monkeypatch.setattr(model, "forward", meeting, raising=False)
    threads = [threading.Thread(target=lambda: losses.append(evaluate(model, np.arange(60) % 7))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(losses) == 3 and len(set(losses)) == 1
    assert sys.getswitchinterval() == before
