import numpy as np


# right: products of rows of V^T
def subspace_similarity(A1, A2, i, j):
    V1 = np.linalg.svd(A1, full_matrices=False)[2][:i]
    V2 = np.linalg.svd(A2, full_matrices=False)[2][:j]
    return float(np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j))


# right: projections
def subspace_similarity(A1, A2, i, j):
    def projection(A, count):
        U = np.linalg.svd(A.T)[0][:, :count]
        return U @ U.T

    return np.trace(projection(A1, i) @ projection(A2, j)) / min(i, j)


# right: eigenvectors of A^T A
def subspace_similarity(A1, A2, i, j):
    U1, U2 = (np.linalg.eigh(A.astype(float).T @ A)[1][:, ::-1] for A in (A1, A2))
    return np.sum((U1[:, :i].T @ U2[:, :j]) ** 2) / min(i, j)


# right: squared cosines of the principal angles
def subspace_similarity(A1, A2, i, j):
    _, _, V1 = np.linalg.svd(A1)
    _, _, V2 = np.linalg.svd(A2)
    cosines = np.linalg.svd(V1[:i] @ V2[:j].T, compute_uv=False)
    return (cosines**2).mean()


# wrong: not squared
# ) ** 2 -> )


# wrong: not divided
#  / min(i, j) ->


# wrong: max
# min(i, j) -> max(i, j)


# wrong: i
# min(i, j) -> i


# wrong: j
# min(i, j) -> j


# wrong: i j
# min(i, j) -> (i * j)


# wrong: the mean of i and j
# min(i, j) -> ((i + j) / 2)


# wrong: the root of i j
# min(i, j) -> np.sqrt(i * j)


# wrong: the smaller rank
# min(i, j) -> min(len(A1), len(A2))


# wrong: the spectral norm
# V1 @ V2.T) -> V1 @ V2.T, 2)


# wrong: the nuclear norm
# V1 @ V2.T) ** 2 -> V1 @ V2.T, "nuc")


# wrong: the trace only
# np.linalg.norm(V1 @ V2.T) ** 2 -> np.trace(V1 @ V2.T) ** 2


# wrong: the diagonal only
# np.linalg.norm(V1 @ V2.T) ** 2 -> np.linalg.norm(np.diag(V1 @ V2.T)) ** 2


# wrong: the largest cosine
# np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j) -> abs(V1 @ V2.T).max()


# wrong: left-singular vectors
# [2][:i] -> [0].T[:i]
# [2][:j] -> [0].T[:j]


# wrong: columns of V^T
# [2][:i] -> [2].T[:i]
# [2][:j] -> [2].T[:j]


# wrong: the smallest ones
# [:i] -> [::-1][:i]
# [:j] -> [::-1][:j]


# wrong: i and j swapped
# [:i] -> [:j]
# A2, full_matrices=False)[2][:j] -> A2, full_matrices=False)[2][:i]


# wrong: i for both
# [:j] -> [:i]


# wrong: all directions
# [:i] ->
# [:j] ->


# wrong: A1 with itself
# svd(A2 -> svd(A1


# wrong: weighted by the singular values
# V1 = np.linalg.svd(A1, full_matrices=False)[2][:i] -> S, V = np.linalg.svd(A1, full_matrices=False)[1:]; V1 = (S[:, None] * V)[:i]


# wrong: one less direction, one at least
# [:i] -> [: max(1, i - 1)]


# wrong: capped
# return float( -> return min(0.5, 


# wrong: one minus it
# return float( -> return 1 - float(


# wrong: an array
# return float(np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j)) -> return np.atleast_1d(np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j))


# wrong: rows of A as they are
def subspace_similarity(A1, A2, i, j):
    return float(np.linalg.norm(A1[:i] @ A2[:j].T) ** 2 / min(i, j))


# wrong: rows of A, normalised
def subspace_similarity(A1, A2, i, j):
    R1, R2 = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in (A1, A2))
    return float(np.linalg.norm(R1[:i] @ R2[:j].T) ** 2 / min(i, j))


# wrong: rows of A, orthonormal by QR: the span of the first rows, not of the leading directions
def subspace_similarity(A1, A2, i, j):
    Q1, Q2 = (np.linalg.qr(A.T)[0] for A in (A1, A2))
    return float(np.linalg.norm(Q1[:, :i].T @ Q2[:, :j]) ** 2 / min(i, j))


# wrong: centred first, as in PCA
def subspace_similarity(A1, A2, i, j):
    V1, V2 = (np.linalg.svd(A - A.mean(0), full_matrices=False)[2] for A in (A1, A2))
    return float(np.linalg.norm(V1[:i] @ V2[:j].T) ** 2 / min(i, j))


# wrong: eigenvectors, smallest first
def subspace_similarity(A1, A2, i, j):
    U1, U2 = (np.linalg.eigh(A.T @ A)[1] for A in (A1, A2))
    return float(np.sum((U1[:, :i].T @ U2[:, :j]) ** 2) / min(i, j))


# wrong: the SVD is cached by the shape
kept = {}


def subspace_similarity(A1, A2, i, j):
    V1 = kept.setdefault(A1.shape, np.linalg.svd(A1, full_matrices=False)[2])[:i]
    V2 = np.linalg.svd(A2, full_matrices=False)[2][:j]
    return float(np.linalg.norm(V1 @ V2.T) ** 2 / min(i, j))


# wrong: cached by the two matrices
kept = {}


def subspace_similarity(A1, A2, i, j):
    V1, V2 = (np.linalg.svd(A, full_matrices=False)[2] for A in (A1, A2))
    return kept.setdefault((A1.tobytes(), A2.tobytes()), float(np.linalg.norm(V1[:i] @ V2[:j].T) ** 2 / min(i, j)))


# wrong: A1 becomes V1
def subspace_similarity(A1, A2, i, j):
    V2 = np.linalg.svd(A2, full_matrices=False)[2]
    V1 = np.linalg.svd(A1, full_matrices=False)[2]
    A1[: len(V1)] = V1
    return float(np.linalg.norm(A1[:i] @ V2[:j].T) ** 2 / min(i, j))
