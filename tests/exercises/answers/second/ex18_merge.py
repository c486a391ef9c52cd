import numpy as np


# right: one sum
def merge(W0, A, B, alpha):
    return W0 + alpha / A.shape[0] * (B @ A)


# right: rank by rank on a copy
def merge(W0, A, B, alpha):
    W = np.array(W0, dtype=float)
    for i in range(len(A)):
        W += (alpha / len(A)) * np.multiply.outer(B[:, i], A[i])
    return W


# right: what the layer answers to the unit vectors
def merge(W0, A, B, alpha):
    I = np.eye(W0.shape[1])
    return (I @ W0.T + alpha / B.shape[1] * (I @ A.T) @ B.T).T


# right: contraction, scaled at the end
def merge(W0, A, B, alpha):
    r = float(np.shape(A)[0])
    return np.add(np.einsum("ij,jl->il", B, A) * alpha / r, W0)


# wrong: W0 itself is changed
def merge(W0, A, B, alpha):
    W0 += alpha / A.shape[0] * (B @ A)
    return W0


# wrong: W0 is changed and changed back
def merge(W0, A, B, alpha):
    update = alpha / A.shape[0] * (B @ A)
    W0 += update
    W = W0.copy()
    W0 -= update
    return W


# wrong: W0 through a transposed view
def merge(W0, A, B, alpha):
    W = W0.T
    W += alpha / A.shape[0] * (B @ A).T
    return W.T


# wrong: whole-number division
# alpha / A.shape[0] -> alpha // A.shape[0]


# wrong: whole alpha
# alpha / A.shape[0] -> int(alpha) / A.shape[0]


# wrong: the alpha 0 counts as r
# alpha / A.shape[0] -> (alpha or len(A)) / A.shape[0]


# wrong: an absolute alpha
# alpha / A.shape[0] -> abs(alpha) / A.shape[0]


# wrong: by the root of the rank
# alpha / A.shape[0] -> alpha / A.shape[0] ** 0.5


# wrong: by the smaller side of A
# A.shape[0] -> min(A.shape)


# wrong: by the smaller side of B
# A.shape[0] -> min(B.shape)


# wrong: by the smallest of all
# A.shape[0] -> min(A.shape + B.shape)


# wrong: by the true rank
# A.shape[0] -> max(1, np.linalg.matrix_rank(A))


# wrong: by k
# A.shape[0] -> A.shape[1]


# wrong: the product the other way round when that fits
# (B @ A) -> (A @ B if A.shape == B.shape else B @ A)


# wrong: the update transposed when square
# (B @ A) -> ((B @ A).T if W0.shape[0] == W0.shape[1] else B @ A)


# wrong: the update subtracted
# W0 + alpha -> W0 - alpha


# wrong: the update alone
# W0 + alpha -> alpha


# wrong: W0 of the first call
# return W0 + -> W0 = BASE.setdefault(W0.shape, W0.copy())\n    return W0 +
# def merge -> BASE = {}\n\n\ndef merge


# wrong: updates add up from call to call
# return W0 + alpha / A.shape[0] * (B @ A) -> BASE[W0.shape] = BASE.get(W0.shape, 0) + alpha / A.shape[0] * (B @ A)\n    return W0 + BASE[W0.shape]
# def merge -> BASE = {}\n\n\ndef merge


# wrong: the result is one buffer for all calls of a shape
# return W0 + alpha / A.shape[0] * (B @ A) -> return np.add(W0, alpha / A.shape[0] * (B @ A), out=BASE.setdefault(W0.shape, np.empty(W0.shape)))
# def merge -> BASE = {}\n\n\ndef merge


# wrong: single precision product
# (B @ A) -> (B.astype(np.float32) @ A.astype(np.float32))


# wrong: rounded
# return W0 + alpha / A.shape[0] * (B @ A) -> return np.round(W0 + alpha / A.shape[0] * (B @ A), 8)


# wrong: small updates are dropped
# (B @ A) -> np.where(np.abs(B @ A) < 1e-4, 0, B @ A)


# wrong: at most eight ranks
# (B @ A) -> (B[:, :8] @ A[:8])


# wrong: reads B's memory row after row
# (B @ A) -> (B.ravel(order="K").reshape(B.shape) @ A)
