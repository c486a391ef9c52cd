import numpy as np


# right: singular vectors
def subspace_similarity(A1, A2, i, j):
    V1 = np.linalg.svd(A1, full_matrices=False)[2][:i]
    V2 = np.linalg.svd(A2, full_matrices=False)[2][:j]
    return float(((V1 @ V2.T) ** 2).sum() / min(i, j))


# right: projectors
def subspace_similarity(A1, A2, i, j):
    projectors = []
    for A, n in ((A1, i), (A2, j)):
        V = np.linalg.svd(A)[2].T[:, :n]
        projectors.append(V @ V.T)
    return np.trace(projectors[0] @ projectors[1]) / (i if i < j else j)


# right: cosines of the principal angles, vectors as columns of the transposed matrix
def subspace_similarity(A1, A2, i, j):
    U1 = np.linalg.svd(A1.T, full_matrices=False)[0][:, :i]
    U2 = np.linalg.svd(A2.T, full_matrices=False)[0][:, :j]
    cosines = np.linalg.svd(U1.T @ U2, compute_uv=False)
    return np.sum(cosines**2) / min(i, j)


# right: one minus what is left over
def subspace_similarity(A1, A2, i, j):
    V1, V2 = (np.linalg.svd(A, full_matrices=True)[2] for A in (A1, A2))
    total = 0.0
    for v in V1[:i]:
        total += 1.0 - float(sum(np.dot(v, w) ** 2 for w in V2[j:]))
    return total / min(i, j)


# wrong: divided by the larger one
# min(i, j) -> max(i, j)


# wrong: divided by the first
# min(i, j) -> i


# wrong: divided by the product's root
# min(i, j) -> (i * j) ** 0.5


# wrong: no squares
# ((V1 @ V2.T) ** 2) -> np.abs(V1 @ V2.T)


# wrong: the root
# float( -> np.sqrt(


# wrong: the largest cosine
# return float(((V1 @ V2.T) ** 2).sum() / min(i, j)) -> return float(np.linalg.norm(V1 @ V2.T, 2) ** 2)


# wrong: direction with direction only
# return float(((V1 @ V2.T) ** 2).sum() / min(i, j)) -> m = min(i, j)\n    return float((np.diag(V1 @ V2.T)[:m] ** 2).sum() / m)


# wrong: rows made orthogonal in their order
def subspace_similarity(A1, A2, i, j):
    V1 = np.linalg.qr(A1.T)[0].T[:i]
    V2 = np.linalg.qr(A2.T)[0].T[:j]
    return float(((V1 @ V2.T) ** 2).sum() / min(i, j))


# wrong: rows of length 1
# V1 = -> V1 = (A1 / np.linalg.norm(A1, axis=1, keepdims=True))[:i]\n    _ =


# wrong: centred first
# svd(A1, -> svd(A1 - A1.mean(0),


# wrong: all directions
# [2][:i] -> [2]


# wrong: the same number of both
# [2][:j] -> [2][:i]


# wrong: i and j swapped
# [2][:i] -> [2][:j]
# [2][:j] -> [2][:i]


# wrong: the smallest directions
# [2][:i] -> [2][-i:]


# wrong: the smallest directions of both
# [2][:i] -> [2][-i:]
# [2][:j] -> [2][-j:]


# wrong: eigenvectors upwards
def subspace_similarity(A1, A2, i, j):
    V1 = np.linalg.eigh(A1.T @ A1)[1].T[:i]
    V2 = np.linalg.eigh(A2.T @ A2)[1].T[:j]
    return float(((V1 @ V2.T) ** 2).sum() / min(i, j))


# wrong: columns of V^T
# [2][:i] -> [2][:, :i].T


# wrong: left vectors when A is square
# V1 = np.linalg.svd(A1, full_matrices=False)[2][:i] -> V1 = np.linalg.svd(A1 if len(A1) != A1.shape[1] else A1.T, full_matrices=False)[2][:i]


# wrong: one too many
# [2][:i] -> [2][: i + 1]


# wrong: vectors remembered by shape
# V1 = np.linalg.svd(A1, full_matrices=False)[2][:i] -> V1 = SEEN.setdefault(A1.shape, np.linalg.svd(A1, full_matrices=False)[2])[:i]
# def sub -> SEEN = {}\n\n\ndef sub


# wrong: cut vectors remembered by the first number
# V1 = np.linalg.svd(A1, full_matrices=False)[2][:i] -> V1 = SEEN.setdefault((A1.shape, float(A1[0, 0])), np.linalg.svd(A1, full_matrices=False)[2][:i])[:i]
# def sub -> SEEN = {}\n\n\ndef sub


# wrong: the same factor is always alike to the last direction of the smaller
# return float( -> if np.array_equal(A1, A2):\n        return i / j\n    return float(


# wrong: an array of one number
# return float(((V1 @ V2.T) ** 2).sum() / min(i, j)) -> return ((V1 @ V2.T) ** 2).sum(keepdims=True)[0] / min(i, j)


# wrong: scales A1 in place
# V1 = -> A1 /= np.abs(A1).max()\n    V1 =


# wrong: weighted by the singular values
# V1 = np.linalg.svd(A1, full_matrices=False)[2][:i] -> _, s, V1 = np.linalg.svd(A1, full_matrices=False)\n    V1 = (s / s[0])[:i, None] * V1[:i]


# wrong: two decimals
# return float(((V1 @ V2.T) ** 2).sum() / min(i, j)) -> return round(float(((V1 @ V2.T) ** 2).sum() / min(i, j)), 2)


# wrong: the distance
# return float( -> return 1 - float(
