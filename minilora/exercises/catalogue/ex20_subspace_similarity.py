"""Exercise 20: the similarity of two subspaces.

The i leading directions of A are well defined only if singular value i is clearly above the next: the judge skips
other cases.
"""

import itertools

import numpy as np

from minilora.exercises.findings import equal
from minilora.exercises.spec import Exercise, Floats

GAP = 0.05


def subspace_similarity(A1, A2, i, j):
    V1 = np.linalg.svd(A1, full_matrices=False)[2][:i]
    V2 = np.linalg.svd(A2, full_matrices=False)[2][:j]
    return float(np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j))


def gap(A, i):
    """How far singular value i is above the next one (0 if there is none), as a part of the norm of A."""
    sigma = np.append(np.linalg.svd(A.astype(np.float64), compute_uv=False), 0.0)
    return (sigma[i - 1] - sigma[i]) / max(float(np.linalg.norm(sigma)), np.finfo(float).tiny)


def judge(case, call):
    """An SVD, or the eigenvectors of A^T A, which squares A, may turn a subspace by p u ||A||^2 / gap^2, for which
    p = 10 k r is generous (Wedin 1972); phi sums at most i j squares of cosines."""
    A1, A2 = case["A1"], case["A2"]
    for i, j in itertools.product(range(1, min(A1.shape) + 1), range(1, min(A2.shape) + 1)):
        gaps = gap(A1, i), gap(A2, j)
        if min(gaps) < GAP:
            continue
        got = call("subspace_similarity", A1=A1, A2=A2, i=i, j=j)
        turn = sum(gap**-2.0 for gap in gaps)
        tolerance = 10 * A1.size * A2.size * float(np.finfo(case.dtype).eps) * turn
        expected = subspace_similarity(A1.astype(np.float64), A2.astype(np.float64), i, j)
        yield equal("phi = ||U1^T U2||_F^2 / min(i, j)", expected, got, tolerance)


EXERCISE = Exercise(
    title="the similarity of two subspaces",
    lesson=9,
    minutes=15,
    functions={"subspace_similarity": subspace_similarity},
    inputs={"A1": Floats("r1 k"), "A2": Floats("r2 k")},
    sizes={"r1": (1, 3), "r2": (1, 3), "k": (1, 5)},
    judge=judge,
    hints=(
        "np.linalg.svd(A, full_matrices=False) returns U, sigma, V^T. Which of them holds directions of length k?",
        "The rows of V^T, largest singular value first. i rows times j rows transposed make a matrix (i, j).",
        "V1 = svd(A1)[2][:i]; V2 = svd(A2)[2][:j]; return np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j)",
    ),
    slips={
        "the norm is not squared": ") ** 2 -> )",
        "the division by min(i, j) is missing": " / min(i, j) -> ",
        "divided by max(i, j): a contained subspace must give 1": "min(i, j) -> max(i, j)",
        "divided by i j": "min(i, j) -> (i * j)",
        "the largest singular value instead of the Frobenius norm": "V1 @ V2.T) -> V1 @ V2.T, 2)",
        "left-singular vectors are compared: they have length r, not k": (
            "[2][:i] -> [0][:, :i].T",
            "[2][:j] -> [0][:, :j].T",
        ),
        "columns of V^T are taken: the right-singular vectors are its rows": (
            "[2][:i] -> [2][:, :i].T",
            "[2][:j] -> [2][:, :j].T",
        ),
        "the smallest directions are compared: NumPy puts the largest first": ("[:i] -> [-i:]", "[:j] -> [-j:]"),
        "rows of A are compared as they are: they are not orthonormal": (
            "np.linalg.svd(A1, full_matrices=False)[2] -> A1",
            "np.linalg.svd(A2, full_matrices=False)[2] -> A2",
        ),
    },
)
