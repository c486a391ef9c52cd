"""How cases are generated: hypothesis strategies for your own tests, and the cases that `check_lora` tries."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from functools import cache

import numpy as np
from hypothesis import HealthCheck, Phase, configuration, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, from_dtype
from numpy.typing import DTypeLike

from minilora.testing.case import LAYOUTS, Array, LoraCase

# n, d, k, r of the larger cases: on either side of the blocks that fast kernels work in, one side or several at a time.
LARGE = (
    (3, 5, 17, 2), (2, 33, 4, 3), (65, 3, 2, 2), (4, 6, 8, 17), (33, 34, 31, 5), (18, 20, 22, 40), (2, 70, 66, 4),
    (5, 129, 20, 1), (1, 16, 130, 33), (260, 2, 3, 2), (2, 260, 3, 2), (2, 3, 260, 2),
)  # fmt: skip


def dtypes() -> st.SearchStrategy[type[np.floating]]:
    """float64 or float32."""
    return st.sampled_from((np.float64, np.float32))


def shapes(max_side: int = 4) -> st.SearchStrategy[tuple[int, int, int]]:
    """(n, d, k), each from 1 to max_side; in half of the draws d = k, where a wrong transpose can hide."""
    side = st.integers(1, max_side)
    return st.tuples(side, side, side) | st.tuples(side, side).map(lambda sides: (*sides, sides[1]))


def ranks(d: int, k: int) -> st.SearchStrategy[int]:
    """r from 1 to two above min(d, k): nothing in LoRA requires r <= min(d, k)."""
    return st.integers(1, min(d, k) + 2)


def alphas() -> st.SearchStrategy[float]:
    """alpha: 3, the powers of two that people use, and any size from 1/8 to 64 with either sign.

    The simplest is 3: with r = 1 it tells s from 1, 2 s, s^2 and 1 / s.
    """
    return st.sampled_from((3.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)) | st.floats(0.125, 64.0) | st.floats(-64.0, -0.125)


@st.composite
def weights(draw: st.DrawFn, shape: tuple[int, int], dtype: DTypeLike = np.float32) -> Array:
    """A matrix of numbers in [-1, 1], including zeros, each column then multiplied by a power of ten.

    The exponents are 0, or the same for the whole matrix, or one for each column, from -6 to 6. The longest product
    here has six such factors (dy, x, A, B, s and the number of terms) and must not overflow, so in float16 they are 0.
    """
    decades = min(6, int(math.log10(np.finfo(dtype).max)) // 6)
    power = st.integers(-decades, decades)
    powers = draw(st.just(0) | power | st.lists(power, min_size=shape[1], max_size=shape[1]))
    entry = from_dtype(np.dtype(dtype), min_value=-1.0, max_value=1.0, allow_subnormal=False)
    plain = draw(arrays(dtype, shape, elements=entry, fill=st.nothing()))
    return (plain * 10.0 ** np.asarray(powers)).astype(dtype)


def adapters(d: int, k: int, r: int, dtype: DTypeLike = np.float32) -> st.SearchStrategy[tuple[Array, Array]]:
    """(A, B), A (r, k) and B (d, r), as after some training: B need not be zero."""
    return st.tuples(weights((r, k), dtype), weights((d, r), dtype))


@st.composite
def lora_cases(draw: st.DrawFn, max_side: int = 4, dtype: DTypeLike | None = None) -> LoraCase:
    """A `LoraCase` with everything above free to vary, except the dtype if one is given.

    It shrinks to n = d = k = r = 1, scaling 3, float64, and entries 0 and 1.
    """
    dtype = draw(dtypes()) if dtype is None else dtype
    n, d, k = draw(shapes(max_side))
    A, B = draw(adapters(d, k, draw(ranks(d, k)), dtype))
    x, W0, dy = (draw(weights(shape, dtype)) for shape in ((n, k), (d, k), (n, d)))
    return LoraCase(x, W0, A, B, dy, alpha=draw(alphas()))


@cache
def small_cases(count: int, dtypes: tuple[str, ...]) -> tuple[LoraCase, ...]:
    """`count` drawn cases, always the same.  They are kept, because drawing takes longer than checking."""
    cases: list[LoraCase] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),  # `smallest` does the shrinking
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(dtypes).flatmap(lambda dtype: lora_cases(dtype=dtype)))
    def draw(case: LoraCase) -> None:
        cases.append(case.replace(layout=LAYOUTS[len(cases) % len(LAYOUTS)]))

    with _no_hypothesis_folder():
        draw()
    return tuple(cases)


@cache
def large_cases(dtypes: tuple[str, ...]) -> tuple[LoraCase, ...]:
    """A case of each LARGE size in each precision, always the same: entries in [-1, 1], most columns scaled."""
    rng, cases = np.random.RandomState(0), []
    for i, (n, d, k, r) in enumerate(LARGE):
        for dtype in dtypes:
            decades = 0 if dtype == "float16" else i % 3
            x, W0, A, B, dy = (
                (rng.uniform(-1, 1, shape) * 10.0 ** rng.randint(-decades, decades + 1, shape[1])).astype(dtype)
                for shape in ((n, k), (d, k), (r, k), (d, r), (n, d))
            )
            alpha, layout = (3.0, 16.0, -1.5)[i % 3], LAYOUTS[i % len(LAYOUTS)]
            cases.append(LoraCase(x, W0, A, B, dy, alpha, layout=layout))
    return tuple(cases)


@contextlib.contextmanager
def _no_hypothesis_folder() -> Iterator[None]:
    """Keep hypothesis from leaving a folder .hypothesis in the current directory."""
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(None)  # the default again
