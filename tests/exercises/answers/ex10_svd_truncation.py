import numpy as np


# right: singular values in B
def truncate(dW, r):
    U, S, Vt = np.linalg.svd(dW, full_matrices=False)
    B = U[:, :r] * S[:r]
    A = Vt[:r]
    return B, A


# right: the root of the singular values in both
def truncate(dW, r):
    U, S, Vt = np.linalg.svd(dW)
    root = np.diag(np.sqrt(S[:r]))
    return U[:, :r] @ root, root @ Vt[:r, :]


# right: projection onto the leading left vectors, from eigenvectors
def truncate(dW, r):
    values, vectors = np.linalg.eigh(dW @ dW.T)
    B = vectors[:, np.argsort(values)[::-1][:r]]
    return B, B.T @ dW


# right: projection onto the leading right vectors
def truncate(dW, r):
    A = np.linalg.svd(dW, full_matrices=False)[2][:r]
    return np.matmul(dW, A.T), A


# wrong: no singular values
# U[:, :r] * S[:r] -> U[:, :r]


# wrong: singular values twice
# A = Vt[:r] -> A = S[:r, None] * Vt[:r]


# wrong: the square root once
# * S[:r] -> * np.sqrt(S[:r])


# wrong: the smallest ones
# :r] -> -r:]


# wrong: columns of Vt
# Vt[:r] -> Vt[:, :r].T


# wrong: rows of U
# U[:, :r] -> U[:r].T


# wrong: nothing cut
# [:r] ->
# [:, :r] ->


# wrong: zeros instead of a cut
# B = U[:, :r] * S[:r] -> S[r:] = 0; B = U * S
# A = Vt[:r] -> A = Vt


# wrong: one direction too few, for r > 1
# S[:r] -> np.where(np.arange(r) < max(1, r - 1), S[:r], 0)


# wrong: only the first direction
# S[:r] -> np.where(np.arange(r) < 1, S[:r], 0)


# wrong: order of the results
# return B, A -> return A, B


# wrong: both transposed
# return B, A -> return B.T, A.T


# wrong: the product is returned
# return B, A -> return B @ A


# wrong: the mean is taken off first, as in PCA
# np.linalg.svd(dW, -> np.linalg.svd(dW - dW.mean(axis=0),


# wrong: columns normalised
# return B, A -> return B / np.linalg.norm(B, axis=0), A


# wrong: the sign of one factor
# return B, A -> return -B, A


# wrong: singular values rounded to two digits
# * S[:r] -> * np.round(S[:r], 2)


# wrong: singular values above 1 only
# * S[:r] -> * np.where(S[:r] > 1, S[:r], 0)


# wrong: float16
# np.linalg.svd(dW, -> np.linalg.svd(dW.astype(np.float16).astype(dW.dtype),


# wrong: the first r columns
def truncate(dW, r):
    return dW[:, :r], np.eye(r, dW.shape[1])


# wrong: the r largest columns
def truncate(dW, r):
    best = np.argsort(-np.linalg.norm(dW, axis=0))[:r]
    return dW[:, best], np.eye(dW.shape[1])[best]


# wrong: a QR factorization, cut
def truncate(dW, r):
    Q, R = np.linalg.qr(dW)
    return Q[:, :r], R[:r]


# wrong: three steps of alternating least squares
def truncate(dW, r):
    A = np.random.default_rng(0).standard_normal((r, dW.shape[1]))
    for _ in range(3):
        B = dW @ np.linalg.pinv(A)
        A = np.linalg.pinv(B) @ dW
    return B, A


# wrong: the SVD of the first dW of this shape
kept = {}


def truncate(dW, r):
    U, S, Vt = kept.setdefault(dW.shape, np.linalg.svd(dW, full_matrices=False))
    return U[:, :r] * S[:r], Vt[:r]


# wrong: cached by dW with the first r
kept = {}


def truncate(dW, r):
    r = kept.setdefault(dW.tobytes(), r)
    U, S, Vt = np.linalg.svd(dW, full_matrices=False)
    return U[:, :r] * S[:r], Vt[:r]


# wrong: dW becomes its own residual
def truncate(dW, r):
    U, S, Vt = np.linalg.svd(dW, full_matrices=False)
    dW -= (U[:, :r] * S[:r]) @ Vt[:r]
    return U[:, :r] * S[:r], Vt[:r]


# wrong: symmetric matrices only
def truncate(dW, r):
    if dW.shape[0] != dW.shape[1]:
        U, S, Vt = np.linalg.svd(dW, full_matrices=False)
        return U[:, :r] * S[:r], Vt[:r]
    values, vectors = np.linalg.eigh((dW + dW.T) / 2)
    order = np.argsort(-abs(values))[:r]
    return vectors[:, order] * values[order], vectors[:, order].T


# wrong: divides by the singular values, which may be 0
def truncate(dW, r):
    values, V = np.linalg.eigh(dW.T @ dW)
    V, S = V[:, ::-1][:, :r], np.sqrt(np.maximum(values[::-1][:r], 0))
    return (dW @ V / S) * S, V.T
