"""Exercise 34: PiSSA's start.

Singular vectors are not unique, so the judge looks at what every right answer shares: products and Gram matrices.
"""

import numpy as np

from minilora.exercises.findings import equal, of_dtype, shapes, true
from minilora.exercises.spec import Exercise, Floats, OneOf


def pissa_start(W, r, alpha):
    s = alpha / r
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(sigma[:r] / s)
    A = root[:, None] * Vt[:r]
    B = U[:, :r] * root
    residual = W - s * (B @ A)
    return residual, A.astype(W.dtype), B.astype(W.dtype)


def judge(case, call):
    """Singular values may be out by the root of what rounding makes of their squares, as in exercise 10; the product
    of an SVD's factors by a rounding of the largest."""
    W = case["W"] if case["rank"] is None else case.laid_out(case["W"][:, :1] @ case["W"][:1])
    (d, k), alpha = W.shape, case["alpha"]
    sigma = np.linalg.svd(W.astype(np.float64), compute_uv=False)
    digits = np.sqrt(W.size * np.finfo(case.dtype).eps) * sigma[0]
    for r in range(1, min(d, k) + 1):
        s, got = alpha / r, call("pissa_start", W=W, r=r, alpha=alpha)
        yield shapes("residual (d, k), A (r, k), B (d, r)", got, residual=(d, k), A=(r, k), B=(d, r))
        yield of_dtype("all three have the dtype of W", case.dtype, got)
        residual, A, B = (np.asarray(part, np.float64) for part in got)
        size = sigma[0] + np.abs(W) + s * np.abs(B) @ np.abs(A)
        yield equal("residual + (alpha / r) B A = W", W, residual + s * B @ A, case.rounding(size))
        smallest, left = float(np.linalg.norm(sigma[r:])), float(np.linalg.norm(residual))
        near = left <= smallest + digits
        yield true("the residual is the smallest that rank r allows", near, "", smallest, left)
        yield equal("A A^T = diag(sigma_1 ... sigma_r) r / alpha", np.diag(sigma[:r]) / s, A @ A.T, digits / s)
        yield equal("B^T B = diag(sigma_1 ... sigma_r) r / alpha", np.diag(sigma[:r]) / s, B.T @ B, digits / s)


EXERCISE = Exercise(
    title="PiSSA's start",
    lesson=11,
    minutes=15,
    functions={"pissa_start": pissa_start},
    inputs={
        "W": Floats("d k"),
        "rank": OneOf((None, None, 1)),
        "alpha": OneOf((2.0, 1.0, 8, 0.5, 1 / 3, 3.7)),
    },
    sizes={"d": (1, 5), "k": (1, 5)},
    judge=judge,
    hints=(
        "The best part of rank r is U_r diag(sigma) V_r^T (exercise 10). What must B A be, if (alpha / r) B A is that?",
        "B A = U_r diag(sigma r / alpha) V_r^T. Give each factor the square root of the diagonal: columns of U, rows "
        "of V^T. What is left of W is the residual.",
        "root = np.sqrt(sigma[:r] * r / alpha); A = root[:, None] * Vt[:r]; B = U[:, :r] * root; "
        "return W - alpha / r * (B @ A), A, B",
    ),
    slips={
        "W is returned as it was: subtract (alpha / r) B A, or the first forward is not W's": "residual = W - "
        "s * (B @ A) -> residual = W.copy()",
        "the residual is W - B A: the forward adds (alpha / r) B A": "residual = W - s * (B @ A) -> "
        "residual = W - B @ A",
        "the update is added to W: it must be subtracted": "W - s * (B @ A) -> W + s * (B @ A)",
        "the scaling is not taken out of A and B: (alpha / r) B A is not the best part of W": "sigma[:r] / s) -> "
        "sigma[:r])",
        "the scaling is multiplied in: A and B must undo it": "sigma[:r] / s) -> sigma[:r] * s)",
        "all of sigma is in B: A and B get a square root each": (
            "root[:, None] * Vt[:r] -> Vt[:r]",
            "np.sqrt(sigma[:r] / s) -> (sigma[:r] / s)",
        ),
        "all of sigma is in A: A and B get a square root each": (
            "U[:, :r] * root -> U[:, :r]",
            "np.sqrt(sigma[:r] / s) -> (sigma[:r] / s)",
        ),
        "sigma is in both factors without its square root": "np.sqrt(sigma[:r] / s) -> (sigma[:r] / s)",
        "sigma is in neither factor": "root = np.sqrt(sigma[:r] / s) -> root = np.ones(r)",
        "the smallest directions are taken: PiSSA trains the largest (this is MiLoRA's start)": (
            "sigma[:r] -> sigma[-r:]",
            "Vt[:r] -> Vt[-r:]",
            "U[:, :r] -> U[:, -r:]",
        ),
        "this is LoRA's start: A random, B zero, W whole": (
            "A = root[:, None] * Vt[:r] -> A = np.random.default_rng(0).standard_normal((r, W.shape[1]))",
            "B = U[:, :r] * root -> B = np.zeros((len(W), r))",
        ),
        "columns of V^T are taken: the singular vectors are its rows": "Vt[:r] -> Vt[:, :r].T",
        "A and B are in the wrong order": "return residual, A.astype(W.dtype), B.astype(W.dtype) -> "
        "return residual, B.astype(W.dtype), A.astype(W.dtype)",
        "right only for float64: A and B have other dtypes than W": "A.astype(W.dtype), B.astype(W.dtype) -> "
        "A.astype(np.float64), B.astype(np.float64)",
        "W is changed in place": "residual = W - s * (B @ A) -> W -= s * (B @ A); residual = W",
    },
)
