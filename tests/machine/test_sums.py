"""What several threads add up is what one of them would add up, to the bit, however fast each of them is."""

import random
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora.machine.sums as sums_module
from minilora.machine.backend import Array
from minilora.machine.pieces import share_out
from minilora.machine.sums import OrderedSums, add_rows, slices_of_rows
from minilora.nn import Parameter, accumulate
from minilora.testing.bounds import gamma

TABLE, MATRIX, OTHER = Parameter(np.zeros((6, 2))), Parameter(np.zeros((3, 4))), Parameter(np.zeros(2))
TABLE.name, MATRIX.name, OTHER.name = "table", "matrix", "other"


@pytest.fixture(autouse=True, params=["nothing", "small arrays"])
def held_back(request, monkeypatch) -> None:
    """What waits until all pieces that are computed side by side have finished."""
    if request.param == "nothing":
        monkeypatch.setattr(sums_module, "CACHED", 0)


def contributions(piece: int) -> list[tuple[Parameter, Array, object]]:
    """A tied head's slices, a matrix, one that only some pieces use, the matrix again, and the rows looked up."""
    rng = np.random.default_rng(piece)
    what = [(TABLE, (3, 2), slice(0, 3)), (TABLE, (3, 2), slice(3, 6)), (MATRIX, (3, 4), None), (OTHER, (2,), None)]
    what += [(MATRIX, (3, 4), None), (TABLE, (2, 2), np.array([1, 4]))]
    return [(p, rng.standard_normal(shape), rows) for p, shape, rows in what if p is not OTHER or piece % 3]


def summed(pieces: int, workers: int, seed: int | None) -> dict[str, Array]:
    sums, waits = OrderedSums(pieces, workers), random.Random(seed)

    def work(i: int) -> None:
        with sums.piece(i) as grads:
            for what in contributions(i):
                if seed is not None:
                    time.sleep(waits.random() / 2000)
                accumulate(grads, *what)

    share_out(pieces, workers, work)
    return sums.sums


@given(st.integers(1, 7), st.integers(1, 4), st.integers(0, 1000))
def test_no_thread_is_fast_enough_to_change_a_bit(pieces, workers, seed):
    first, second, one = (summed(pieces, workers, seed), summed(pieces, workers, seed + 1), summed(pieces, 1, None))
    sizes: dict[str, Array] = {}
    for i in range(pieces):
        for parameter, x, rows in contributions(i):
            accumulate(sizes, parameter, np.abs(x), rows)
    for name in one:
        np.testing.assert_array_equal(first[name], second[name])
        assert (np.abs(first[name] - one[name]) <= 2 * gamma(2 * pieces, "float64") * sizes[name]).all()
    if "other" in one:  # to which each piece adds once
        np.testing.assert_array_equal(first["other"], one["other"])


@given(st.integers(1, 5))
def test_one_thread_adds_as_if_to_a_dictionary(pieces):
    plain = {}
    for i in range(pieces):
        for what in contributions(i):
            accumulate(plain, *what)
    for name, total in summed(pieces, 1, None).items():
        np.testing.assert_array_equal(total, plain[name])


def test_nobody_waits_for_a_piece_that_failed():
    sums, waiting = OrderedSums(4, 2), threading.Event()

    def work(i: int) -> None:
        with sums.piece(i) as grads:
            if i == 0:
                waiting.wait(10)
                raise RuntimeError("no piece 0")
            waiting.set()
            accumulate(grads, MATRIX, np.ones((3, 4)))

    with pytest.raises(RuntimeError, match="no piece 0"):
        share_out(4, 2, work)


def test_rows_are_added_to_an_array_of_their_own():
    sums: dict[str, Array] = {}
    add_rows(sums, "W", (4, 2), np.ones((2, 2)), np.array([0, 3]))
    add_rows(sums, "W", (4, 2), np.ones((4, 2)))
    np.testing.assert_array_equal(sums["W"][:, 0], [2, 1, 1, 2])


@given(st.integers(0, 20), st.integers(0, 5), st.integers(1, 30))
def test_slices_cover_every_row_once(n, k, numbers):
    x = np.zeros((n, k))
    slices = slices_of_rows(x, numbers)
    assert [i for rows in slices for i in range(n)[rows]] == list(range(n))
    assert all(rows.stop - rows.start == 1 or x[rows].size <= numbers for rows in slices)
