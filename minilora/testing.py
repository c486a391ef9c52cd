"""The laws of LoRA, to be checked on anyone's implementation (Hu et al. 2021, arXiv 2106.09685, section 4.1).

    from minilora.testing import check_lora
    from mylora import backward, forward, merge, unmerge

    def test_lora():
        check_lora(forward=forward, merge=merge, unmerge=unmerge, backward=backward)

An implementation is up to four plain functions on NumPy arrays, for a batch of row vectors, s = alpha / r:

    forward(x, W0, A, B, scaling)       -> y            y = x W0^T + s (x A^T) B^T      (equation 3)
    merge(W0, A, B, scaling)            -> W            W = W0 + s B A                  (section 4.1)
    unmerge(W, A, B, scaling)           -> W0           W - s B A, or the W0 that merge kept
    backward(dy, x, W0, A, B, scaling)  -> dx, dA, dB   of the loss sum(dy * y); W0 is frozen: no dW0

    x, dx (n, k)     W0, W (d, k)     A, dA (r, k)     B, dB (d, r)     y, dy (n, d)     scaling: s, a float

They are called with positional arguments, must accept every shape and leave their inputs alone. An
implementation that works in place, or on a layer object, needs a wrapper of a line or two.

In reading order: the cases and how they are drawn; bounds on rounding; the laws; `check_lora`.
"Higham" is N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002.
This is the one module of minilora that needs hypothesis, and it needs no other module of minilora.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial, reduce
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from hypothesis import HealthCheck, Phase, configuration, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, from_dtype
from numpy.typing import DTypeLike

Array = np.ndarray
Implementation = Callable[..., Any]
Law = Callable[["LoraCase"], None]


# ------------------------------------------------------------------------------------------------------------
# The cases and how they are drawn
# ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class LoraCase:
    """One adapted layer, a batch for it, and the loss gradient at its output. Shapes: module docstring."""

    x: Array
    W0: Array
    A: Array
    B: Array
    dy: Array
    alpha: float

    @property
    def r(self) -> int:
        """The rank: A has r rows, B has r columns."""
        return self.A.shape[0]

    @property
    def scaling(self) -> float:
        """s = alpha / r (section 4.1)."""
        return self.alpha / self.r

    @property
    def dtype(self) -> np.dtype:
        """The precision that the layer works in."""
        return self.W0.dtype

    @property
    def adapter(self) -> dict[str, Any]:
        """The arguments A, B and scaling, in this order."""
        return {"A": self.A, "B": self.B, "scaling": self.scaling}

    @property
    def layer(self) -> dict[str, Any]:
        """The arguments W0, A, B and scaling, in this order."""
        return {"W0": self.W0, **self.adapter}

    @property
    def arrays(self) -> dict[str, Array]:
        """All five arrays by name."""
        return {"x": self.x, "W0": self.W0, "A": self.A, "B": self.B, "dy": self.dy}

    def replace(self, **fields: Any) -> LoraCase:
        """The same case but for these fields."""
        return dataclasses.replace(self, **fields)

    def astype(self, dtype: DTypeLike) -> LoraCase:
        """The same numbers in another precision."""
        return self.replace(**{name: array.astype(dtype) for name, array in self.arrays.items()})

    def __str__(self) -> str:
        (n, k), d = self.x.shape, self.W0.shape[0]
        lines = [f"n={n}, d={d}, k={k}, r={self.r}, alpha={self.alpha}, scaling={self.scaling}, {self.dtype}"]
        if sum(array.size for array in self.arrays.values()) <= 64:  # what can be taken in at a glance
            lines += [f"  {name:<2} = {array.tolist()}" for name, array in self.arrays.items()]
        return "\n  ".join(lines)


def dtypes() -> st.SearchStrategy[type[np.floating]]:
    """float64 or float32."""
    return st.sampled_from((np.float64, np.float32))


def shapes(max_side: int = 4) -> st.SearchStrategy[tuple[int, int, int]]:
    """(n, d, k), each from 1 to max_side; in half of the draws d = k, where a wrong transpose can hide."""
    side = st.integers(1, max_side)
    return st.tuples(side, side, side) | st.tuples(side, side).map(lambda sides: (*sides, sides[1]))


def ranks(d: int, k: int) -> st.SearchStrategy[int]:
    """r from 1 to two above min(d, k): nothing in LoRA demands r <= min(d, k)."""
    return st.integers(1, min(d, k) + 2)


def alphas() -> st.SearchStrategy[float]:
    """alpha: the powers of two that people use, and anything from 1/8 to 64. The simplest is 2, not 1."""
    return st.sampled_from((2.0, 1.0, 4.0, 8.0, 16.0, 32.0)) | st.floats(0.125, 64.0)


@st.composite
def weights(draw: st.DrawFn, shape: tuple[int, int], dtype: DTypeLike = np.float32) -> Array:
    """A matrix of numbers in [-1, 1], zeros among them, each column then scaled by a power of ten.

    The powers are 0, or one for the whole matrix, or one for each column, from 10^-6 to 10^6. The longest
    product here has six such factors (dy, x, A, B, s and the number of terms) and must not overflow: so
    float16 gets 10^0.
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
    """A `LoraCase`, all of the above free to vary unless dtype is given.

    It shrinks to n = d = k = r = 1, scaling 2, float64, and entries 0 and 1.
    """
    dtype = draw(dtypes()) if dtype is None else dtype
    n, d, k = draw(shapes(max_side))
    A, B = draw(adapters(d, k, draw(ranks(d, k)), dtype))
    x, W0, dy = (draw(weights(shape, dtype)) for shape in ((n, k), (d, k), (n, d)))
    return LoraCase(x, W0, A, B, dy, alpha=draw(alphas()))


# ------------------------------------------------------------------------------------------------------------
# Bounds on rounding
#
# The model is fl(a op b) = (a op b)(1 + delta), |delta| <= u (Higham, sec. 2.2). A term that meets n
# roundings on its way into a sum comes out multiplied by 1 + theta_n, |theta_n| <= gamma_n = n u / (1 - n u)
# (lemma 3.1), in whatever order the sum is taken (sec. 3.1). So every bound here is gamma_n times the sum of
# the magnitudes of the terms, and the derivations only count roundings. A product that underflows gradually
# is off by at most eta / 2 besides, eta being the smallest subnormal number.
# ------------------------------------------------------------------------------------------------------------


def unit_roundoff(dtype: DTypeLike) -> float:
    """u, the largest relative error of rounding: 2^-53 in float64, 2^-24 in float32, 2^-11 in float16."""
    return float(np.finfo(dtype).eps) / 2


def gamma(n: int, dtype: DTypeLike) -> float:
    """gamma_n = n u / (1 - n u), which bounds the relative error of n roundings (Higham, lemma 3.1).

    ValueError if n u >= 1 (in float16 from n = 2048 on): then every digit may be lost.
    """
    nu = n * unit_roundoff(dtype)
    if nu >= 1:
        raise ValueError(f"{n} roundings in {np.dtype(dtype)} may lose every digit: take a wider dtype")
    return nu / (1 - nu)


def _product_bound(roundings: int, dtype: DTypeLike, *factors: Array, scaling: float = 1.0) -> Array:
    """Bound on |fl(s F1 F2 ... Fp) - s F1 F2 ... Fp|, elementwise, for any order of products and scaling.

    No term may meet more than n = `roundings` roundings. We count one more: gamma_{n+1} >= gamma_n (1 + 1/n),
    and the 1/n pays for evaluating the bound itself in float64 (a little over n roundings of 2^-53 each).

    Underflow: every term makes p products and rounds s, each of which may lose eta / 2. The factors yet to
    come magnify that by at most max(1, |factor|), later roundings by 1 + gamma_n. (eta: eta / 2 is 0 in
    float64.)
    """
    relative = gamma(roundings + 1, dtype)
    losses = (len(factors) + 1) * float(np.finfo(dtype).smallest_subnormal) * (1 + relative)
    sizes = [np.abs(factor).astype(np.float64) for factor in factors]
    terms = abs(scaling) * reduce(np.matmul, sizes)
    magnified = max(1.0, abs(scaling)) * reduce(np.matmul, [np.maximum(1.0, size) for size in sizes])
    return relative * terms + losses * magnified


def _coarsest(*factors: Array) -> np.dtype:
    return max((factor.dtype for factor in factors), key=unit_roundoff)


def forward_error_bound(x: Array, W0: Array, A: Array, B: Array, scaling: float, more: int = 0) -> Array:
    """How far a computed y = x W0^T + s (x A^T) B^T may be from the exact one, elementwise: (n, d), float64.

        |fl(y) - y| <= gamma_N (|x| |W0|^T + |s| |x| |A|^T |B|^T) + underflow,      N = 2k + r + 3

    Count the roundings of a term x_j s A_pj B_ip. The sum over k costs it at most k (one product, k - 1
    additions), the sum over r at most r, the scaling 2 (s to the working precision, the product), adding the
    base's part 1. This makes k + r + 3 in every order: s (B A), (s B) A, B (s A), s (x A^T), merged first or
    not. A kernel that goes on to add the base's k products in the same accumulator makes it 2k + r + 3. A
    term x_j W0_ij meets no more than that. This holds for all conventional products, fused multiply-add
    included, but not for Strassen's.

    The precision is that of the coarsest argument. Accumulating in a wider one, as NumPy's float16 matmul
    does in float32, only takes roundings away. `more` counts roundings in y's further use.
    """
    dtype, roundings = _coarsest(x, W0, A, B), 2 * W0.shape[1] + A.shape[0] + 3 + more
    base = _product_bound(roundings, dtype, x, W0.T)
    return base + _product_bound(roundings, dtype, x, A.T, B.T, scaling=scaling)


def merge_error_bound(x: Array, W0: Array, A: Array, B: Array, scaling: float) -> Array:
    """How far the merged layer's output may be from the unmerged one's, elementwise: (n, d), float64.

    Exactly, x (W0 + s B A)^T = x W0^T + s (x A^T) B^T. Each side is computed within `forward_error_bound` of
    that, so the two are within twice the bound of each other.
    """
    return 2 * forward_error_bound(x, W0, A, B, scaling)


def merged_weight_bound(W0: Array, A: Array, B: Array, scaling: float) -> Array:
    """How far a computed W0 + s B A or W0 - s B A may be from the exact one, elementwise: (d, k), float64.

        |fl(W) - W| <= gamma_{r+3} (|W0| + |s| |B| |A|) + underflow

    The sum over r costs a term at most r roundings, the scaling 2 and adding W0 1 (see
    `forward_error_bound`).
    """
    dtype, roundings = _coarsest(W0, A, B), A.shape[0] + 3
    return _product_bound(roundings, dtype, W0) + _product_bound(roundings, dtype, B, A, scaling=scaling)


def unmerge_drift_bound(W0: Array, A: Array, B: Array, scaling: float, cycles: int = 1) -> Array:
    """How far W0 may have moved after cycles of W = W0 + s B A, W0 = W - s B A, elementwise: (d, k), float64.

    The exact updates cancel, so the drift is the sum of the rounding errors of 2 * cycles steps, each bounded
    by gamma_{r+3} (|weight at its start| + |s| |B| |A|) + underflow as in `merged_weight_bound`. That weight
    is at most |W0| + drift before merging, and |s| |B| |A| and merging's own error more before unmerging. To
    first order, drift <= cycles * gamma_{r+3} (2 |W0| + 3 |s| |B| |A|).
    """
    dtype, roundings = _coarsest(W0, A, B), A.shape[0] + 3
    bound = partial(_product_bound, roundings, dtype)
    update_size = abs(scaling) * (np.abs(B).astype(np.float64) @ np.abs(A))
    update_error = bound(B, A, scaling=scaling)
    size, drift = np.abs(W0).astype(np.float64), np.zeros(W0.shape)
    for _ in range(cycles):
        merging = bound(size + drift) + update_error
        unmerging = bound(size + drift + update_size + merging) + update_error
        drift = drift + merging + unmerging
    return drift


def _backward_bounds(case: LoraCase) -> tuple[Array, Array, Array]:
    """Bounds on the rounding of dx = dy W0 + s dy B A, dA = s B^T dy^T x and dB = s dy^T x A^T.

    Their sums run over n, d, k and r. No term of any of them meets more roundings than all of these together,
    n, d and k twice for fused sums (see `forward_error_bound`), and 3 for the scaling and the last addition.
    """
    dy, x, W0, A, B, s = case.dy, case.x, case.W0, case.A, case.B, case.scaling
    roundings = 2 * (sum(x.shape) + W0.shape[0]) + case.r + 3
    bound = partial(_product_bound, roundings, case.dtype)
    dx = bound(dy, W0) + bound(dy, B, A, scaling=s)
    return dx, bound(B.T, dy.T, x, scaling=s), bound(dy.T, x, A.T, scaling=s)


# ------------------------------------------------------------------------------------------------------------
# The laws: each takes one case and the functions it is about, and raises AssertionError if they break it
# ------------------------------------------------------------------------------------------------------------


def zero_init_is_identity(
    case: LoraCase,
    forward: Implementation,
    base_forward: Implementation | None = None,
) -> None:
    """With B = 0, where training starts, the adapted layer is the base layer: y = x W0^T (section 4.1).

    Within `forward_error_bound`; exactly (but 0.0 equals -0.0) if base_forward(x, W0), the layer without
    LoRA, is given.
    """
    case = case.replace(B=np.zeros_like(case.B))
    y = _call(case, "forward", forward, x=case.x, **case.layer)
    expected, bound = _reference(case)
    if base_forward is not None:
        expected = _call(case, "base_forward", base_forward, x=case.x, W0=case.W0)
        bound = np.zeros(y.shape)
    _compare("zero-init identity", "with B = 0, forward(...) is not x W0^T", case, y, expected, bound)


def forward_is_equation_3(case: LoraCase, forward: Implementation) -> None:
    """forward computes h = W0 x + s B A x (equation 3), within `forward_error_bound`."""
    y = _call(case, "forward", forward, x=case.x, **case.layer)
    statement = "forward(...) is not x W0^T + s (x A^T) B^T"
    _compare("forward is equation 3", statement, case, y, *_reference(case), _output_slips(case))


def update_has_rank_r(case: LoraCase, merge: Implementation) -> None:
    """rank(dW) <= r: singular value r + 1 of dW = merge(...) - W0 is no more than rounding (section 4.1).

    dW = s B A + E with |E| <= `merged_weight_bound`. Singular value r + 1 of s B A is 0, so that of dW is at
    most ||E||_2 <= ||E||_F (Weyl's inequality). Computing dW and its SVD in float64 adds no more than
    (1 + max(d, k)) eps times the largest singular value (LAPACK Users' Guide, sec. 4.9).
    """
    dW = _call(case, "merge", merge, **case.layer).astype(np.float64) - case.W0
    if case.r >= min(dW.shape):
        return  # there is no singular value r + 1
    singular = np.linalg.svd(dW, compute_uv=False) if np.isfinite(dW).all() else np.full(dW.shape, np.nan)[0]
    svd_error = (1 + max(dW.shape)) * np.finfo(np.float64).eps * singular[0]
    bound = np.linalg.norm(merged_weight_bound(**case.layer)) + svd_error
    statement = f"singular value {case.r + 1} of merge(...) - W0 is not 0"
    _compare("rank(dW) <= r", statement, case, singular[case.r], np.zeros(()), bound)


def merged_equals_unmerged(case: LoraCase, forward: Implementation, merge: Implementation) -> None:
    """x W^T with the merged W is what forward returns without merging, within `merge_error_bound`."""
    unmerged = _call(case, "forward", forward, x=case.x, **case.layer)
    merged = case.x @ _call(case, "merge", merge, **case.layer).T
    bound = merge_error_bound(case.x, **case.layer)
    statement = "x @ merge(...).T is not forward(x, ...)"
    _compare("merged equals unmerged", statement, case, merged, unmerged, bound, _output_slips(case))


def unmerge_restores(
    case: LoraCase,
    merge: Implementation,
    unmerge: Implementation,
    exact: bool = False,
    cycles: int = 2,
) -> None:
    """unmerge after merge gives W0 back: within `unmerge_drift_bound`, or exactly if exact=True.

    exact=True is for implementations that keep W0 aside instead of subtracting. Their unmerge may ignore the
    W it is given and return what the merge just before it has kept. (0.0 equals -0.0.) There are two
    cycles, because what the first leaves behind shows in the second.
    """
    W0 = case.W0
    for _ in range(cycles):
        W = _call(case, "merge", merge, W0=W0, **case.adapter)
        W0 = _call(case, "unmerge", unmerge, W=W, **case.adapter)
    bound = np.zeros(W0.shape) if exact else unmerge_drift_bound(**case.layer, cycles=cycles)
    update = _update(case)
    slips = {slip: case.W0 + cycles * (update - got) for slip, got in _slips(update, case.scaling).items()}
    statement = f"merge and unmerge, {cycles} times over, do not give W0 back"
    _compare("unmerge restores", statement, case, W0, case.W0, bound, slips)


def gradients_match_finite_differences(
    case: LoraCase,
    forward: Implementation,
    backward: Implementation,
) -> None:
    """dx, dA, dB of backward are the derivatives of the loss sum(dy * forward(...)), every entry, in float64.

    The tolerance is what the two sides may round: `_backward_bounds` and the bound of `_central_differences`.
    """
    case = case.astype(np.float64)
    gradients = _call(case, "backward", backward, dy=case.dy, x=case.x, **case.layer)
    for name, gradient, rounding in zip(("x", "A", "B"), gradients, _backward_bounds(case), strict=True):
        expected, bound = _central_differences(case, forward, name)
        statement = f"d{name} of backward(...) is not the finite difference of sum(dy * forward(...))"
        law, slips = "gradients match finite differences", _gradient_slips(case, name)
        _compare(law, statement, case, gradient, expected, bound + rounding, slips)


def _central_differences(case: LoraCase, forward: Implementation, name: str) -> tuple[Array, Array]:
    """((L(P + h) - L(P - h)) / 2h for every entry of P = case.<name>, a bound on the error).

    L = sum(dy * y) is affine in each of x, A and B when the other two are fixed: there is no truncation
    error, and h may be as large as the largest entry around, so that the rounding of the rest does not drown
    the difference. Rounding remains. L is a sum of n d products more; the difference, the step as it came out
    and the quotient make 3 roundings. Taking |P| + h for P bounds the two losses of all entries at once;
    their errors E give 2 E / 2h.
    """
    P, eta = getattr(case, name), float(np.finfo(np.float64).smallest_subnormal)
    h = max(1.0, *(float(np.abs(array).max()) for array in case.arrays.values()))
    slopes = np.empty_like(P)
    for index in np.ndindex(P.shape):
        ends, losses = [], []
        for step in (h, -h):
            moved = P.copy()
            moved[index] += step
            at = case.replace(**{name: moved})
            ends.append(moved[index])
            losses.append(np.sum(case.dy * _call(at, "forward", forward, x=at.x, **at.layer)))
        slopes[index] = (losses[0] - losses[1]) / (ends[0] - ends[1])
    widest = case.replace(**{name: np.abs(P) + h})
    y_error = forward_error_bound(widest.x, **widest.layer, more=case.dy.size + 3)
    loss_error = np.sum(np.abs(case.dy) * y_error) + case.dy.size * eta
    return slopes, np.full(P.shape, loss_error / h + eta)


# ------------------------------------------------------------------------------------------------------------
# All the laws at once
# ------------------------------------------------------------------------------------------------------------


def check_lora(
    *,
    forward: Implementation,
    merge: Implementation | None = None,
    unmerge: Implementation | None = None,
    backward: Implementation | None = None,
    base_forward: Implementation | None = None,
    exact_unmerge: bool = False,
    max_examples: int = 200,
) -> None:
    """Check every law that is about the given functions on max_examples drawn cases.

    forward, merge, unmerge, backward   as in the module docstring
    base_forward                        asks for an exact `zero_init_is_identity`
    exact_unmerge                       asks for an exact `unmerge_restores`

    AssertionError if a law is broken: which, what was expected and what came, the bound, the likely slip if
    it is a common one, and the smallest case found. The same code gets the same cases. Nothing is left on
    disk.
    """
    __tracebackhide__ = True  # pytest then points at the caller
    if merge is None and unmerge is not None:
        raise ValueError("unmerge undoes merge: give check_lora both")
    laws: list[Law] = [
        partial(zero_init_is_identity, forward=forward, base_forward=base_forward),
        partial(forward_is_equation_3, forward=forward),
    ]
    if merge is not None:
        laws.append(partial(update_has_rank_r, merge=merge))
        laws.append(partial(merged_equals_unmerged, forward=forward, merge=merge))
        if unmerge is not None:
            laws.append(partial(unmerge_restores, merge=merge, unmerge=unmerge, exact=exact_unmerge))
    if backward is not None:
        laws.append(partial(gradients_match_finite_differences, forward=forward, backward=backward))
    for law in laws:
        for case in _drawn_cases(max_examples):
            message = _message(law, case)
            if message is not None:
                raise AssertionError(_simplest_failure(law, case, message))


@cache
def _drawn_cases(count: int) -> tuple[LoraCase, ...]:
    """The cases that `check_lora` tries, the same ones each time; drawing takes longer than checking."""
    cases: list[LoraCase] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),  # `_simplest_failure` does the shrinking
        suppress_health_check=list(HealthCheck),
    )
    @given(lora_cases())
    def draw(case: LoraCase) -> None:
        cases.append(case)

    with _no_hypothesis_folder():
        draw()
    return tuple(cases)


def _message(law: Law, case: LoraCase) -> str | None:
    """What the law has to say against the case."""
    try:
        with np.errstate(all="ignore"):  # overflow shows in the results
            law(case)
    except AssertionError as error:
        return str(error)
    return None


@contextlib.contextmanager
def _no_hypothesis_folder() -> Iterator[None]:
    """Keep hypothesis from leaving its caches in a folder .hypothesis where the caller happens to be."""
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(None)  # the default again


def _simplest_failure(law: Law, case: LoraCase, message: str) -> str:
    """The message for a case that breaks the law while none of its simplifications does."""
    while True:
        for simpler in _simplifications(case):
            failure = _message(law, simpler)
            if failure is not None:
                case, message = simpler, failure
                break
        else:
            return message


def _simplifications(case: LoraCase) -> Iterator[LoraCase]:
    """The case with one thing simpler, the bold changes first.

    hypothesis could shrink the case too, but entry by entry: it does not know that dropping an input, say,
    takes a column out of x, W0 and A at once.
    """
    (n, k), (d, r) = case.x.shape, case.B.shape
    for side, size in {"n": n, "d": d, "k": k, "r": r}.items():
        for i in range(size if size > 1 else 0):
            yield _without(case, side, i)
    if case.dtype != np.float64:
        yield case.astype(np.float64)
    if case.alpha != 2:
        yield case.replace(alpha=2.0)
    for name, array in case.arrays.items():
        if array.any():
            yield case.replace(**{name: np.zeros_like(array)})
    for name, array in case.arrays.items():
        for at in np.ndindex(array.shape):
            for number in _simpler_numbers(array[at]):
                simpler = array.copy()
                simpler[at] = number
                yield case.replace(**{name: simpler})


def _without(case: LoraCase, side: str, i: int) -> LoraCase:
    """The case without index i of the side n, d, k or r."""
    sides = {"x": "nk", "W0": "dk", "A": "rk", "B": "dr", "dy": "nd"}
    axes = {name: sides[name].index(side) for name in sides if side in sides[name]}
    return case.replace(**{name: np.delete(case.arrays[name], i, axis) for name, axis in axes.items()})


def _simpler_numbers(number: Any) -> tuple[Any, ...]:
    """Of 0, 1 and the number rounded to one digit, those that are simpler than it, in this order."""
    ladder = tuple(type(number)(simple) for simple in (0, 1, f"{number:.0e}"))
    return ladder[: ladder.index(number)] if number in ladder else ladder


# ------------------------------------------------------------------------------------------------------------
# Calling an implementation, and saying what is wrong with it
# ------------------------------------------------------------------------------------------------------------


def _call(case: LoraCase, role: str, function: Implementation, **arguments: Any) -> Any:
    """The function's result as a new array; for backward, a list of three.

    Three laws that all functions are under are checked on the way: every case is accepted, inputs are left
    alone, and shapes fit.
    """
    passed = {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in arguments.items()}
    try:
        result = function(*passed.values())
        results = [np.array(part) for part in (result if role == "backward" else [result])]
    except Exception as error:
        _fail("every case is accepted", case, f"{role}(...) raised {type(error).__name__}: {error}")
    for name, before in arguments.items():
        if not np.array_equal(before, passed[name]):
            _fail("inputs are left alone", case, f"{role}(...) changed its argument {name}")
    found, expected = [part.shape for part in results], [case.dy.shape]
    if role in ("merge", "unmerge"):
        expected = [case.W0.shape]
    elif role == "backward":
        expected = [case.x.shape, case.A.shape, case.B.shape]
    if found != expected:
        _fail("shapes fit", case, f"{role}(...) has shape {found}, expected {expected}")
    return results if role == "backward" else results[0]


def _update(case: LoraCase) -> Array:
    """s B A in float64."""
    return case.scaling * (case.B.astype(np.float64) @ case.A)


def _reference(case: LoraCase) -> tuple[Array, Array]:
    """(y = x W0^T + s (x A^T) B^T in float64, how far a right y in case.dtype may be from that)."""
    wide = case.astype(np.float64)
    y = wide.x @ wide.W0.T + case.scaling * (wide.x @ wide.A.T) @ wide.B.T
    return y, forward_error_bound(case.x, **case.layer) + forward_error_bound(wide.x, **wide.layer)


def _compare(
    law: str,
    statement: str,
    case: LoraCase,
    got: Array,
    expected: Array,
    bound: Array,
    slips: Mapping[str, Array] = MappingProxyType({}),
) -> None:
    """Fail, with the worst entry, unless |got - expected| <= bound in every entry (which NaN is not)."""
    got = np.asarray(got, np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(got - expected)
        if (error <= bound).all():
            return
        ratio = np.where(error <= bound, 0.0, np.nan_to_num(error / bound, nan=np.inf, posinf=np.inf))
    at = np.unravel_index(np.argmax(ratio), ratio.shape)
    place = f" at {[int(i) for i in at]}" if at else ""
    excess = f", exceeded {ratio[at]:.3g} times" if np.isfinite(ratio[at]) else ""
    lines = [
        statement,
        f"expected {expected[at]}, got {got[at]}{place}",
        f"off by {error[at]:.3g}; the bound is {bound[at]:.3g}{excess}",
    ]
    slip = _likely_slip(case, got, expected, bound, slips)
    _fail(law, case, *lines, *([f"likely: {slip}"] if slip else []))


def _fail(law: str, case: LoraCase, *lines: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError("\n  ".join([f"law '{law}' is broken: {lines[0]}", *lines[1:], f"example: {case}"]))


def _slips(right: Array, scaling: float) -> dict[str, Array]:
    """What the common slips make of an update s B A, or of a gradient, which has one factor s as well."""
    slips = {
        "the scaling alpha / r is missing": right / scaling,
        "the scaling alpha / r is applied twice": right * scaling,
        "the scaling alpha / r divides instead of multiplying": right / scaling**2,
        "the low-rank part is missing": np.zeros_like(right),
        "the low-rank part has the wrong sign": -right,
    }
    if right.shape[0] == right.shape[1]:  # goes first, as some simple matrices have nothing left of it
        slips = {"the low-rank part is transposed": right.T, **slips}
    return slips


def _output_slips(case: LoraCase) -> dict[str, Array]:
    """The common slips in y = x (W0 + s B A)^T."""
    x, slips = case.x.astype(np.float64), _slips(_update(case), case.scaling)
    return {slip: x @ (case.W0 + update).T for slip, update in slips.items()}


def _gradient_slips(case: LoraCase, name: str) -> dict[str, Array]:
    """The common slips in d<name>."""
    dy, x, W0, A, B, s = case.dy, case.x, case.W0, case.A, case.B, case.scaling
    low_rank = {"x": s * dy @ B @ A, "A": s * B.T @ dy.T @ x, "B": s * dy.T @ x @ A.T}
    base = dy @ W0 if name == "x" else 0.0
    slips = {slip: base + part for slip, part in _slips(low_rank[name], s).items()}
    if name == "x":
        return {"the base's part dy W0 is missing": low_rank["x"], **slips}
    if A.shape == B.shape:
        return {"dA and dB are swapped": low_rank["B" if name == "A" else "A"], **slips}
    return slips


def _likely_slip(
    case: LoraCase,
    got: Array,
    expected: Array,
    bound: Array,
    slips: Mapping[str, Array],
) -> str | None:
    """A slip is recognised by making it: does it make the same error, to four digits? (A hint, not a law.)"""
    error = got - expected
    for slip, wrong in slips.items():
        if np.allclose(error, wrong - expected, rtol=1e-4, atol=bound):
            return slip
    for coarse in (np.float32, np.float16):
        coarser = unit_roundoff(coarse) / unit_roundoff(case.dtype)
        if coarser > 1 and (np.abs(error) <= coarser * bound).all():
            return f"{coarse.__name__} is used on the way: that is the size of the error"
    return None
