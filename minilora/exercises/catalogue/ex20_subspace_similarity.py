"""Exercise 20: the similarity of two subspaces.

The i leading directions of A are well defined only if singular value i is clearly above the next: other cases are
passed over.
"""

import numpy as np

from minilora.exercises.spec import Call, Case, Exercise, Floats, check_equal

GAP = 0.2


def _directions(A, i):
    return np.linalg.svd(A, full_matrices=False)[2][:i]


def _right(A1, A2, i, j):
    return float(np.linalg.norm(_directions(A1, i) @ _directions(A2, j).T) ** 2 / min(i, j))


def gap(A, i):
    """How far singular value i is above the next one (0 if there is none)."""
    sigma = np.append(np.linalg.svd(A.astype(np.float64), compute_uv=False), 0.0)
    return sigma[i - 1] - sigma[i]


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    A1, A2 = case["A1"], case["A2"]
    i, j = (min(case.sizes[side], *A.shape) for side, A in (("i", A1), ("j", A2)))
    gaps = gap(A1, i), gap(A2, j)
    if min(gaps) < GAP:
        return
    got = call("subspace_similarity", A1=A1, A2=A2, i=i, j=j)
    # An SVD, or eigenvectors of A^T A, which squares, may turn a subspace by p u ||A||^2 / gap^2, p = 10 k r being
    # generous (Wedin 1972); phi sums at most i j squares of cosines.
    sizes = [float(np.linalg.norm(A)) for A in (A1, A2)]
    turn = sum((size / gap) ** 2 for size, gap in zip(sizes, gaps, strict=True))
    tolerance = 10 * A1.size * A2.size * float(np.finfo(case.dtype).eps) * turn
    expected = _right(A1.astype(np.float64), A2.astype(np.float64), i, j)
    check_equal("phi = ||U1^T U2||_F^2 / min(i, j)", expected, got, tolerance)


def _with(phi):
    return lambda A1, A2, i, j: float(phi(_directions(A1, i) @ _directions(A2, j).T, i, j))


def _left_vectors(A1, A2, i, j):
    U1, U2 = (np.linalg.svd(A, full_matrices=False)[0] for A in (A1, A2))
    return float(np.linalg.norm(U1[:, :i].T @ U2[:, :j]) ** 2 / min(i, j))


def _columns_of_vt(A1, A2, i, j):
    V1, V2 = (np.linalg.svd(A, full_matrices=False)[2] for A in (A1, A2))
    return float(np.linalg.norm(V1[:, :i].T @ V2[:, :j]) ** 2 / min(i, j))


def _smallest(A1, A2, i, j):
    V1, V2 = (np.linalg.svd(A, full_matrices=False)[2] for A in (A1, A2))
    return float(np.linalg.norm(V1[-i:] @ V2[-j:].T) ** 2 / min(i, j))


EXERCISE = Exercise(
    title="the similarity of two subspaces",
    lesson=9,
    minutes=15,
    functions={"subspace_similarity": _right},
    inputs={"A1": Floats("r1 k"), "A2": Floats("r2 k")},
    sizes={"r1": (1, 3), "r2": (1, 3), "k": (1, 5), "i": (1, 3), "j": (1, 3)},
    judge=_judge,
    hints=(
        "np.linalg.svd(A, full_matrices=False) returns U, sigma, V^T. Which of them holds directions of length k?",
        "The rows of V^T, largest singular value first. The product of i rows and j rows, transposed, is (i, j).",
        "V1 = svd(A1)[2][:i]; V2 = svd(A2)[2][:j]; return np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j)",
    ),
    wrong={
        "the norm is not squared": _with(lambda M, i, j: np.linalg.norm(M) / min(i, j)),
        "the division by min(i, j) is missing": _with(lambda M, i, j: np.linalg.norm(M) ** 2),
        "divided by max(i, j): a contained subspace must give 1": _with(
            lambda M, i, j: np.linalg.norm(M) ** 2 / max(i, j)
        ),
        "divided by i j": _with(lambda M, i, j: np.linalg.norm(M) ** 2 / (i * j)),
        "the largest singular value instead of the Frobenius norm": _with(
            lambda M, i, j: np.linalg.norm(M, 2) ** 2 / min(i, j)
        ),
        "left-singular vectors are compared: they live in r dimensions, not k": _left_vectors,
        "columns of V^T are taken: the right-singular vectors are its rows": _columns_of_vt,
        "the smallest directions are compared: NumPy puts the largest first": _smallest,
        "rows of A are compared as they are: they are not orthonormal": lambda A1, A2, i, j: float(
            np.linalg.norm(A1[:i] @ A2[:j].T) ** 2 / min(i, j)
        ),
    },
)
