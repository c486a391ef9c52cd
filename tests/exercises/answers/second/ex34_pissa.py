import numpy as np


# right: roots of the singular values
def pissa_start(W, r, alpha):
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(s[:r] * r / alpha)
    B, A = U[:, :r] * root, root[:, None] * Vt[:r]
    residual = W - alpha / r * (B @ A)
    return residual.astype(W.dtype), A.astype(W.dtype), B.astype(W.dtype)


# right: from the transposed matrix, in float64
def pissa_start(W, r, alpha):
    V, s, Ut = np.linalg.svd(W.T.astype(float), full_matrices=False)
    A = np.diag((s[:r] * r / alpha) ** 0.5) @ V[:, :r].T
    B = Ut[:r].T @ np.diag((s[:r] * r / alpha) ** 0.5)
    return tuple(np.asarray(M, dtype=W.dtype) for M in (W - B @ A * alpha / r, A, B))


# right: the residual from the other directions, signs turned
def pissa_start(W, r, alpha):
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    residual = np.zeros(W.shape, W.dtype)
    for i in range(r, len(s)):
        residual += s[i] * np.outer(U[:, i], Vt[i])
    A, B = np.zeros((r, W.shape[1]), W.dtype), np.zeros((W.shape[0], r), W.dtype)
    for i in range(r):
        A[i] = -np.sqrt(s[i] / (alpha / r)) * Vt[i]
        B[:, i] = -np.sqrt(s[i] / (alpha / r)) * U[:, i]
    return residual, A, B


# right: W's projection
def pissa_start(W, r, alpha):
    U, s, Vt = np.linalg.svd(W)
    lead = Vt[:r]
    scale = np.sqrt(r / alpha * s[:r])
    return (W - W @ lead.T @ lead).astype(W.dtype), (lead * scale[:, None]).astype(W.dtype), (U[:, :r] * scale).astype(W.dtype)


# wrong: the smallest directions
# [:, :r] -> [:, -r:]
# Vt[:r] -> Vt[-r:]
# s[:r] -> s[-r:]


# wrong: the scale is left out of the factors
# s[:r] * r / alpha -> s[:r]


# wrong: the scale is left out of both
# s[:r] * r / alpha -> s[:r]
# alpha / r * (B @ A) -> B @ A


# wrong: the scale upside down
# s[:r] * r / alpha -> s[:r] * alpha / r


# wrong: the scale in A only
# root = np.sqrt(s[:r] * r / alpha) -> root = np.sqrt(s[:r])
# return residual -> A = A * r / alpha\n    residual = W - alpha / r * (B @ A)\n    return residual


# wrong: the singular values in B only
# B, A = U[:, :r] * root, root[:, None] * Vt[:r] -> B, A = U[:, :r] * root**2, Vt[:r]


# wrong: the singular values in A only
# B, A = U[:, :r] * root, root[:, None] * Vt[:r] -> B, A = U[:, :r], root[:, None] ** 2 * Vt[:r]


# wrong: no roots
# np.sqrt(s[:r] * r / alpha) -> s[:r] * r / alpha


# wrong: W stays whole
# residual = W - alpha / r * (B @ A) -> residual = W.copy()


# wrong: W itself comes back changed
# residual = W - alpha / r * (B @ A) -> W -= (alpha / r * (B @ A)).astype(W.dtype)\n    residual = W


# wrong: the residual adds
# W - alpha -> W + alpha


# wrong: float64 comes back
# .astype(W.dtype) -> .astype(float)


# wrong: B before A
# A.astype(W.dtype), B.astype(W.dtype) -> B.astype(W.dtype), A.astype(W.dtype)


# wrong: a random subspace
# U, s, Vt = np.linalg.svd(W, full_matrices=False) -> rng = np.random.default_rng(0)\n    Q = np.linalg.qr(W @ rng.normal(size=(W.shape[1], r)))[0]\n    U, s, Vt = np.linalg.svd(Q.T @ W, full_matrices=False)\n    U = Q @ U


# wrong: at most four directions
# root = np -> s[4:r] = 0\n    root = np


# wrong: tiny singular values are dropped
# root = np -> s = np.where(s < 0.1 * s[0], 0, s)\n    root = np


# wrong: whole-number division
# alpha / r * (B -> alpha // r * (B
# s[:r] * r / alpha -> s[:r] / max(alpha // r, 1)


# wrong: V for V^T when square
# root = np -> Vt = Vt.T if W.shape[0] == W.shape[1] else Vt\n    root = np


# wrong: eigenvectors when square
# root = np -> if W.shape[0] == W.shape[1]:\n        values, U = np.linalg.eigh((W + W.T) / 2)\n        s, U, Vt = np.abs(values)[::-1], U[:, ::-1], U[:, ::-1].T\n    root = np


# wrong: the residual of another call of the shape
# return residual -> residual = KEPT.setdefault((W.shape, W.dtype, r), residual)\n    return residual
# def pissa -> KEPT = {}\n\n\ndef pissa
