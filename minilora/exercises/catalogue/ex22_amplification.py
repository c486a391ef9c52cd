"""Exercise 22: the amplification factor.

dW = B A has rank r; cases where its directions are not well defined, or W has next to nothing in them, are
passed over.
"""

import numpy as np

from minilora.exercises.catalogue.ex20_subspace_similarity import GAP, gap
from minilora.exercises.spec import Call, Case, Exercise, Floats, check_equal


def _factor(W, dW, r, W_directions=None, power=1):
    U, _, Vt = np.linalg.svd(dW if W_directions is None else W_directions, full_matrices=False)
    return float((np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)) ** power)


def _right(W, dW, r):
    return _factor(W, dW, r)


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    W, r = case["W"], min(case.sizes["r"], *case["W"].shape)
    dW = case["B"][:, :r] @ case["A"][:r]
    distance = gap(dW, r)
    if distance < GAP:
        return
    U, _, Vt = np.linalg.svd(dW.astype(np.float64))
    projected = np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)
    if projected < GAP:
        return
    got = call("amplification_factor", W=W, dW=dW, r=r)
    # An SVD may turn the two subspaces by p u ||dW|| / gap, p = 10 d k being generous (Wedin 1972); the projection
    # of W then moves by that times ||W||.
    expected = _right(W.astype(np.float64), dW.astype(np.float64), r)
    size = np.linalg.norm(dW) / distance * max(1.0, np.linalg.norm(W) / projected)
    tolerance = 20 * W.size * float(np.finfo(case.dtype).eps) * size * expected
    check_equal("the factor = ||dW||_F / ||U^T W V||_F", expected, got, tolerance)


def _columns_of_vt(W, dW, r):
    U, _, Vt = np.linalg.svd(dW)
    return float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:, :r]))


def _swapped(W, dW, r):
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    return float(np.linalg.norm(dW) / np.linalg.norm(Vt[:r] @ W @ U[:, :r]))


def _spectral(W, dW, r):
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    return float(np.linalg.norm(dW, 2) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T, 2))


def _one_side(W, dW, r):
    U, _, _ = np.linalg.svd(dW, full_matrices=False)
    return float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W))


EXERCISE = Exercise(
    title="the amplification factor",
    lesson=10,
    minutes=15,
    functions={"amplification_factor": _right},
    inputs={"W": Floats("d k"), "A": Floats("p k"), "B": Floats("d p")},
    sizes={"d": (1, 5), "k": (1, 5), "r": (1, 2), "p": (2, 2)},
    judge=_judge,
    hints=(
        "Take the SVD of dW, not of W: its singular vectors are the directions that the update changes.",
        "U[:, :r] holds the left vectors as columns, Vt[:r] the right ones as rows. U^T W V is (r, r).",
        "U, _, Vt = np.linalg.svd(dW, full_matrices=False); "
        "return np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)",
    ),
    wrong={
        "the factor is upside down": lambda W, dW, r: _factor(W, dW, r, power=-1),
        "the whole W is in the denominator: project it onto dW's directions": lambda W, dW, r: float(
            np.linalg.norm(dW) / np.linalg.norm(W)
        ),
        "W's own singular vectors are used: take dW's": lambda W, dW, r: _factor(W, dW, r, W_directions=W),
        "the norms are squared": lambda W, dW, r: _factor(W, dW, r, power=2),
        "columns of V^T are taken: the right-singular vectors are its rows": _columns_of_vt,
        "U and V are swapped, which fits only if W is square": _swapped,
        "the spectral norm instead of the Frobenius norm": _spectral,
        "W is projected on one side alone": _one_side,
        "only the first direction is used: right only for r = 1": lambda W, dW, r: _factor(W, dW, 1),
    },
)
