"""Exercise 10: the best update of rank r.

Factors are not unique, so the judge looks at their product, and ties make even that ambiguous, so it looks at the
error of the product, which must be the smallest possible.
"""

import numpy as np

from minilora.exercises.spec import Broken, Call, Case, Exercise, Floats, check_results, check_that


def _right(dW, r):
    U, sigma, Vt = np.linalg.svd(dW, full_matrices=False)
    return U[:, :r] * sigma[:r], Vt[:r]


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    dW, r = case["dW"], min(case.sizes["r"], *case["dW"].shape)
    factors = call("truncate", dW=dW, r=r)
    check_results(("B", "A"), (0, 0), factors)
    for name, factor, shape in zip("BA", factors, ((dW.shape[0], r), (r, dW.shape[1])), strict=True):
        check_that("B is (d, r) and A is (r, k)", np.shape(factor) == shape, f"{name} has shape {np.shape(factor)}")
    B, A = (np.asarray(factor, np.float64) for factor in factors)
    sigma = np.linalg.svd(dW.astype(np.float64), compute_uv=False)
    smallest = float(np.sqrt((sigma[r:] ** 2).sum()))
    error = float(np.linalg.norm(dW - B @ A))
    # An SVD moves singular values by a small multiple of sqrt(d k) u ||dW||; through eigenvalues of dW dW^T, which
    # squares them, by the root of that.
    rounding = np.sqrt(dW.size * np.finfo(case.dtype).eps) * sigma[0]
    if not error <= smallest + rounding:
        raise Broken("||dW - B A|| is the smallest that rank r allows", smallest, error)


def _svd(use):
    return lambda dW, r: use(*np.linalg.svd(dW, full_matrices=False), r)


EXERCISE = Exercise(
    title="the best update of rank r",
    lesson=4,
    minutes=10,
    functions={"truncate": _right},
    inputs={"dW": Floats("d k")},
    sizes={"r": (1, 3), "d": (1, 5), "k": (1, 5)},
    judge=_judge,
    hints=(
        "dW = U diag(sigma) V^T. The best rank-r part keeps the r largest singular values and their vectors.",
        "Singular vectors are the columns of U and the rows of V^T. Each singular value goes into the product once.",
        "U, sigma, Vt = np.linalg.svd(dW, full_matrices=False); return U[:, :r] * sigma[:r], Vt[:r]",
    ),
    wrong={
        "the singular values are left out": _svd(lambda U, sigma, Vt, r: (U[:, :r], Vt[:r])),
        "the singular values are in both factors: they belong in the product once": _svd(
            lambda U, sigma, Vt, r: (U[:, :r] * sigma[:r], sigma[:r, None] * Vt[:r])
        ),
        "the smallest singular values are kept: NumPy puts the largest first": _svd(
            lambda U, sigma, Vt, r: (U[:, -r:] * sigma[-r:], Vt[-r:])
        ),
        "columns of V^T are taken: the singular vectors are its rows": _svd(
            lambda U, sigma, Vt, r: (U[:, :r] * sigma[:r], Vt[:, :r].T)
        ),
        "rows of U are taken: the singular vectors are its columns": _svd(
            lambda U, sigma, Vt, r: (U[:r].T * sigma[:r], Vt[:r])
        ),
        "nothing is cut off: B and A have more than r columns and rows": _svd(lambda U, sigma, Vt, r: (U * sigma, Vt)),
        "the first r columns of dW are kept, not its best r directions": lambda dW, r: (
            dW[:, :r].copy(),
            np.eye(r, dW.shape[1]),
        ),
    },
)
