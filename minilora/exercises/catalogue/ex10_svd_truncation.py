"""Exercise 10: the best update of rank r.

The factors are not unique, and with equal singular values not even their product is. So the judge looks at the error
of the product, which must be the smallest possible.
"""

import numpy as np

from minilora.exercises.findings import shapes, true
from minilora.exercises.spec import Exercise, Floats, OneOf


def truncate(dW, r):
    U, sigma, Vt = np.linalg.svd(dW, full_matrices=False)
    B = U[:, :r] * sigma[:r]
    A = Vt[:r]
    return B, A


def judge(case, call):
    """An SVD moves singular values by a small multiple of sqrt(d k) u ||dW||; the eigenvalues of dW dW^T, their
    squares, by as much of ||dW||^2, so that these singular values move by the root of that."""
    dW = case["dW"] if case["rank"] is None else case.laid_out(case["dW"][:, :1] @ case["dW"][:1])
    sigma = np.linalg.svd(dW.astype(np.float64), compute_uv=False)
    for r in range(1, min(dW.shape) + 1):
        factors = call("truncate", dW=dW, r=r)
        yield shapes("B is (d, r) and A is (r, k)", factors, B=(len(dW), r), A=(r, dW.shape[1]))
        B, A = (np.asarray(factor, np.float64) for factor in factors)
        smallest, error = float(np.linalg.norm(sigma[r:])), float(np.linalg.norm(dW - B @ A))
        near = error <= smallest + np.sqrt(dW.size * np.finfo(case.dtype).eps) * sigma[0]
        yield true("||dW - B A|| is the smallest that rank r allows", near, "", smallest, error)


EXERCISE = Exercise(
    title="the best update of rank r",
    lesson=4,
    minutes=10,
    functions={"truncate": truncate},
    inputs={"dW": Floats("d k"), "rank": OneOf((None, 1))},
    sizes={"d": (1, 5), "k": (1, 5)},
    judge=judge,
    hints=(
        "dW = U diag(sigma) V^T. The best part of rank r keeps the r largest singular values and their vectors.",
        "Singular vectors are the columns of U and the rows of V^T. Each singular value enters the product once.",
        "U, sigma, Vt = np.linalg.svd(dW, full_matrices=False); return U[:, :r] * sigma[:r], Vt[:r]",
    ),
    slips={
        "the singular values are left out": "U[:, :r] * sigma[:r] -> U[:, :r]",
        "the singular values are in both factors: they belong in the product once": "A = Vt[:r] -> A = sigma[:r, None] "
        "* Vt[:r]",
        "the smallest singular values are kept: NumPy puts the largest first": ":r] -> -r:]",
        "columns of V^T are taken: the singular vectors are its rows": "A = Vt[:r] -> A = Vt[:, :r].T",
        "rows of U are taken: the singular vectors are its columns": "B = U[:, :r] -> B = U[:r].T",
        "nothing is cut off: B and A have more than r columns and rows": "[:r] -> ",
        "the first r columns of dW are kept, not its best r directions": (
            "B = U[:, :r] * sigma[:r] -> B = dW[:, :r]",
            "A = Vt[:r] -> A = np.eye(r, dW.shape[1])",
        ),
    },
)
