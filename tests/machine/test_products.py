"""x W^T in the forms that a processor computes fastest is x W^T, to the rounding of its sums."""

import numpy as np
import pytest

from minilora.machine import products
from minilora.machine.products import MOST_ROWS, one_block, times_transposed
from minilora.testing.bounds import gamma

ROWS = [0, 1, 2, 7, 64, MOST_ROWS, MOST_ROWS + 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d, k", [(8, 5), (24, 64), (7, 3), (16, 2000)])
@pytest.mark.parametrize("unpacked", [True, False])
def test_every_form_is_the_product(monkeypatch, d, k, dtype, unpacked):
    monkeypatch.setattr(products, "multiplies_unpacked", lambda: unpacked)
    rng = np.random.default_rng(0)
    for n in ROWS:
        x, W = rng.standard_normal((n, k)).astype(dtype), rng.standard_normal((d, k)).astype(dtype)
        y, exact = times_transposed(x, W), x.astype(np.longdouble) @ W.astype(np.longdouble).T
        assert y.shape == (n, d) and y.dtype == dtype and y.flags.c_contiguous
        bound = gamma(k, dtype) * (np.abs(x).astype(np.longdouble) @ np.abs(W).astype(np.longdouble).T)
        assert np.all(np.abs(y - exact) <= bound)


def test_views_and_columns_are_operands_too():
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((12, 10))[::2, ::2], rng.standard_normal((5, 16)).T
    for n in (1, 6):
        np.testing.assert_allclose(times_transposed(x[:n], W), x[:n] @ W.T, rtol=1e-14, atol=1e-14)


def test_arrays_of_one_block_lie_one_behind_the_other_and_do_not_overlap():
    arrays = one_block({"a": (3, 5), "b": (7,), "c": ()}, "float32")
    assert {name: a.shape for name, a in arrays.items()} == {"a": (3, 5), "b": (7,), "c": ()}
    for i, array in enumerate(arrays.values()):
        array[...] = i
    assert [set(a.ravel()) for a in arrays.values()] == [{0.0}, {1.0}, {2.0}]
    assert len({id(a.base) for a in arrays.values()}) == 1
