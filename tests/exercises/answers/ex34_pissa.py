import numpy as np


# right: as the text
def pissa_start(W, r, alpha):
    s = alpha / r
    U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(sigma[:r] / s)
    B = U[:, :r] * root
    A = root[:, None] * Vt[:r]
    return W - s * B @ A, A.astype(W.dtype), B.astype(W.dtype)


# right: the residual from the other directions
def pissa_start(W, r, alpha):
    U, sigma, Vt = np.linalg.svd(W)
    q = len(sigma)
    residual = (U[:, r:q] * sigma[r:]) @ Vt[r:q]
    D = np.diag((sigma[:r] * (r / alpha)) ** 0.5).astype(W.dtype)
    return [residual, D @ Vt[:r], U[:, :r] @ D]


# right: the SVD of the transpose, signs turned round, in float64
def pissa_start(W, r, alpha):
    V, sigma, Ut = np.linalg.svd(np.asarray(W, np.float64).T, full_matrices=False)
    B = -Ut[:r].T * np.sqrt(sigma[:r] * r / alpha)
    A = -(V[:, :r] * np.sqrt(sigma[:r] * r / alpha)).T
    A, B = A.astype(W.dtype), B.astype(W.dtype)
    return np.subtract(W, np.multiply(B @ A, alpha / r), dtype=W.dtype), A, B


# right: one direction after the other, by eigenvectors
def pissa_start(W, r, alpha):
    s = alpha / r
    wide = W.astype(np.float64)
    vectors = np.linalg.eigh(wide.T @ wide)[1][:, ::-1]
    A, B = np.zeros((r, W.shape[1])), np.zeros((len(W), r))
    for i in range(r):
        v = vectors[:, i]
        u = wide @ v
        size = np.linalg.norm(u)
        if size > 0:
            A[i], B[:, i] = v * np.sqrt(size / s), u / size * np.sqrt(size / s)
    return (wide - s * B @ A).astype(W.dtype), A.astype(W.dtype), B.astype(W.dtype)


# wrong: a residual for r = 1 only
# return W - s * B @ A, -> return W - s * B[:, :1] @ A[:1],


# wrong: small directions are dropped
# root = np.sqrt(sigma[:r] / s) -> root = np.sqrt(np.where(sigma[:r] < 0.3 * sigma[0], 0, sigma[:r]) / s)


# wrong: eigenvectors of W^T W divided by sigma, NaN where it is 0
def pissa_start(W, r, alpha):
    s = alpha / r
    eigenvalues, V = np.linalg.eigh(W.T @ W)
    V, sigma = V[:, ::-1][:, :r], np.sqrt(np.maximum(eigenvalues[::-1][:r], 0))
    B = W @ V / np.where(sigma < 1e-3 * sigma[0], 0, sigma) * np.sqrt(sigma / s)
    A = np.sqrt(sigma / s)[:, None] * V.T
    return (W - s * B @ A).astype(W.dtype), A.astype(W.dtype), B.astype(W.dtype)


# wrong: W as it was
# return W - s * B @ A, -> return W.copy(),


# wrong: added
# return W - s * B @ A, -> return W + s * B @ A,


# wrong: minus B A
# return W - s * B @ A, -> return W - B @ A,


# wrong: minus alpha B A
# return W - s * B @ A, -> return W - alpha * B @ A,


# wrong: the update in place of the residual
# return W - s * B @ A, -> return s * B @ A,


# wrong: a residual of zeros
# return W - s * B @ A, -> return np.zeros_like(W),


# wrong: the residual in half precision
# return W - s * B @ A, -> return (W - s * B @ A).astype("f2").astype(W.dtype),


# wrong: the residual in float32
# return W - s * B @ A, -> return (W - s * B @ A).astype("f4").astype(W.dtype),


# wrong: the residual without its small numbers
# return W - s * B @ A, -> return np.round(W - s * B @ A, 3),


# wrong: the scale left in
# np.sqrt(sigma[:r] / s) -> np.sqrt(sigma[:r])


# wrong: the scale left in, and the residual without it
# np.sqrt(sigma[:r] / s) -> np.sqrt(sigma[:r])
# return W - s * B @ A, -> return W - B @ A,


# wrong: the scale multiplied
# np.sqrt(sigma[:r] / s) -> np.sqrt(sigma[:r] * s)


# wrong: the scale outside of the root
# np.sqrt(sigma[:r] / s) -> np.sqrt(sigma[:r]) / s


# wrong: divided by alpha
# np.sqrt(sigma[:r] / s) -> np.sqrt(sigma[:r] / alpha)


# wrong: r times alpha
# np.sqrt(sigma[:r] / s) -> np.sqrt(sigma[:r] / (alpha * r))


# wrong: scaled by the root of the rank
# s = alpha / r -> s = alpha / r**0.5


# wrong: a whole scale
# s = alpha / r -> s = max(alpha // r, 1)


# wrong: all in B
# root = np.sqrt(sigma[:r] / s) -> root = sigma[:r] / s
# A = root[:, None] * Vt[:r] -> A = Vt[:r]


# wrong: all in A
# B = U[:, :r] * root -> B = U[:, :r]
# root = np.sqrt(sigma[:r] / s) -> root = sigma[:r] / s


# wrong: three quarters in A
# A = root[:, None] * Vt[:r] -> A = root[:, None] ** 1.5 * Vt[:r]
# B = U[:, :r] * root -> B = U[:, :r] * root**0.5


# wrong: the scale in A only
# B = U[:, :r] * root -> B = U[:, :r] * root * np.sqrt(s)
# A = root[:, None] * Vt[:r] -> A = root[:, None] * Vt[:r] / np.sqrt(s)


# wrong: sigma in both
# np.sqrt(sigma[:r] / s) -> sigma[:r] / s


# wrong: no sigma
# np.sqrt(sigma[:r] / s) -> np.ones(r)


# wrong: sigma's mean for all directions
# root = np.sqrt(sigma[:r] / s) -> root = np.sqrt(np.full(r, sigma[:r].mean()) / s)


# wrong: only the largest sigma
# root = np.sqrt(sigma[:r] / s) -> root = np.sqrt(np.full(r, sigma[0]) / s)


# wrong: only the first direction
# root = np.sqrt(sigma[:r] / s) -> root = np.sqrt(sigma[:r] / s) * (np.arange(r) < 1)


# wrong: the last direction left out
# root = np.sqrt(sigma[:r] / s) -> root = np.sqrt(sigma[:r] / s) * (np.arange(r) < max(r - 1, 1))


# wrong: the smallest directions
# sigma[:r] -> sigma[-r:]
# U[:, :r] -> U[:, -r:]
# Vt[:r] -> Vt[-r:]


# wrong: the second largest on
# U, sigma, Vt = np.linalg.svd(W, full_matrices=False) -> U, sigma, Vt = np.linalg.svd(W, full_matrices=False)\n    if len(sigma) > r:\n        U, sigma, Vt = U[:, 1:], sigma[1:], Vt[1:]


# wrong: the directions in rising order
# A = root[:, None] * Vt[:r] -> A = root[:, None] * Vt[:r]\n    A, B = A[::-1], B[:, ::-1]


# wrong: columns of Vt
# Vt[:r] -> Vt[:, :r].T


# wrong: rows of U
# U[:, :r] -> U[:r].T


# wrong: rows and columns of W
# B = U[:, :r] * root -> B = W[:, :r].copy()
# A = root[:, None] * Vt[:r] -> A = np.eye(r, W.shape[1]) / s


# wrong: random directions
# U, sigma, Vt = np.linalg.svd(W, full_matrices=False) -> U, sigma, Vt = np.linalg.svd(np.random.default_rng(0).standard_normal(W.shape), full_matrices=False)


# wrong: LoRA's start
# return W - s * B @ A, -> A = np.random.default_rng(0).standard_normal(A.shape)\n    B = np.zeros(B.shape)\n    return W.copy(),


# wrong: the sign of B only
# B = U[:, :r] * root -> B = -U[:, :r] * root


# wrong: rotated factors
# A = root[:, None] * Vt[:r] -> A = root[:, None] * Vt[:r]\n    if r > 1:\n        R = np.eye(r)\n        R[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]\n        A, B = R @ A, B @ R.T


# wrong: B before A
# A.astype(W.dtype), B.astype(W.dtype) -> B.astype(W.dtype), A.astype(W.dtype)


# wrong: the residual last
# return W - s * B @ A, A.astype(W.dtype), B.astype(W.dtype) -> return A.astype(W.dtype), B.astype(W.dtype), W - s * B @ A


# wrong: transposed factors
# A.astype(W.dtype), B.astype(W.dtype) -> A.T.astype(W.dtype), B.T.astype(W.dtype)


# wrong: A and B in float64
# A.astype(W.dtype), B.astype(W.dtype) -> A.astype("f8"), B.astype("f8")


# wrong: the residual in float64
# return W - s * B @ A, -> return (W - s * B @ A).astype("f8"),


# wrong: A and B in float32
# A.astype(W.dtype), B.astype(W.dtype) -> A.astype("f4"), B.astype("f4")


# wrong: W changed
# return W - s * B @ A, -> W -= s * B @ A\n    return W,


# wrong: the residual is a buffer
# return W - s * B @ A, -> buffer = globals().setdefault(f"{W.shape}{W.dtype}", np.empty_like(W))\n    np.subtract(W, s * B @ A, out=buffer)\n    return buffer,


# wrong: kept by W, whatever alpha is
kept = {}


def pissa_start(W, r, alpha):
    if (W.tobytes(), r) not in kept:
        s = alpha / r
        U, sigma, Vt = np.linalg.svd(W, full_matrices=False)
        root = np.sqrt(sigma[:r] / s)
        B, A = U[:, :r] * root, root[:, None] * Vt[:r]
        kept[W.tobytes(), r] = W - s * B @ A, A.astype(W.dtype), B.astype(W.dtype)
    return tuple(part.copy() for part in kept[W.tobytes(), r])
