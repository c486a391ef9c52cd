"""Exercise 22: the amplification factor.

dW = B A has rank r. The judge skips cases in which its directions are not well defined, or W has next to nothing in
them.
"""

import numpy as np

from minilora.exercises.catalogue.ex20_subspace_similarity import GAP, gap
from minilora.exercises.findings import equal
from minilora.exercises.spec import Exercise, Floats, OneOf


def amplification_factor(W, dW, r):
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    projected = U[:, :r].T @ W @ Vt[:r].T
    return float(np.linalg.norm(dW) / np.linalg.norm(projected))


def judge(case, call):
    """An SVD may turn the two subspaces by p u ||dW|| / gap, for which p = 10 d k is generous (Wedin 1972); the
    projection of W then moves by that times ||W||."""
    W = case["W"]
    r = min(case["r"], *W.shape)
    dW = case["B"][:, :r] @ case["A"][:r]
    distance = gap(dW, r)
    if distance < GAP:
        return
    expected = amplification_factor(W.astype(np.float64), dW.astype(np.float64), r)
    projected = np.linalg.norm(dW) / expected
    if projected < GAP * np.linalg.norm(W):
        return
    got = call("amplification_factor", W=W, dW=dW, r=r)
    size = np.linalg.norm(W) / projected / distance
    tolerance = 20 * W.size * float(np.finfo(case.dtype).eps) * size * expected
    yield equal("the factor = ||dW||_F / ||U^T W V||_F", expected, got, tolerance)


EXERCISE = Exercise(
    title="the amplification factor",
    lesson=10,
    minutes=15,
    functions={"amplification_factor": amplification_factor},
    inputs={"W": Floats("d k"), "A": Floats("p k"), "B": Floats("d p"), "r": OneOf((1, 2))},
    sizes={"d": (1, 5), "k": (1, 5), "p": (2, 2)},
    judge=judge,
    hints=(
        "Take the SVD of dW, not of W: its singular vectors are the directions that the update changes.",
        "U[:, :r] holds the left vectors as columns, Vt[:r] the right ones as rows. U^T W V is (r, r).",
        "U, _, Vt = np.linalg.svd(dW, full_matrices=False); "
        "return np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)",
    ),
    slips={
        "the factor is upside down": "norm(dW) / np.linalg.norm(projected) -> norm(projected) / np.linalg.norm(dW)",
        "the whole W is in the denominator: project it onto dW's directions": "norm(projected) -> norm(W)",
        "W's own singular vectors are used: take dW's": "svd(dW -> svd(W",
        "the norms are squared": "norm(projected)) -> norm(projected)) ** 2",
        "columns of V^T are taken: the right-singular vectors are its rows": "Vt[:r].T -> Vt[:, :r]",
        "U and V are swapped, which fits only if W is square": "U[:, :r].T @ W @ Vt[:r].T -> Vt[:r] @ W @ U[:, :r]",
        "the spectral norm instead of the Frobenius norm": (
            "norm(dW) -> norm(dW, 2)",
            "norm(projected) -> norm(projected, 2)",
        ),
        "W is projected on one side only": " @ Vt[:r].T -> ",
        "only the first direction is used: right only for r = 1": ":r] -> :1]",
    },
)
