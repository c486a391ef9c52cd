import numpy as np


# right: singular values on the left
def truncate(dW, r):
    U, s, Vt = np.linalg.svd(dW, full_matrices=False)
    return U[:, :r] * s[:r], Vt[:r]


# right: projected onto its leading right singular vectors
def truncate(dW, r):
    V = np.linalg.svd(dW)[2].T[:, :r]
    return dW @ V, V.T


# right: shared out evenly, from the transposed matrix
def truncate(dW, r):
    U, s, Vt = np.linalg.svd(dW.T, full_matrices=False)
    root = np.diag(np.sqrt(s[:r]))
    return Vt[:r].T @ root, root @ U[:, :r].T


# right: singular values on the right, one direction after another, signs turned
def truncate(dW, r):
    U, s, Vt = np.linalg.svd(dW, full_matrices=True)
    B, A = np.zeros((dW.shape[0], r)), np.zeros((r, dW.shape[1]))
    for i in range(r):
        B[:, i] = -3.0 * U[:, i]
        A[i] = -s[i] / 3.0 * Vt[i]
    return B, A


# wrong: the smallest directions
# U[:, :r] * s[:r], Vt[:r] -> U[:, -r:] * s[-r:], Vt[-r:]


# wrong: the smallest directions first
# U[:, :r] * s[:r], Vt[:r] -> (U * s)[:, ::-1][:, :r], Vt[::-1][:r]


# wrong: singular values on both sides
# Vt[:r] -> s[:r, None] * Vt[:r]


# wrong: no singular values
# * s[:r] -> 


# wrong: one direction too few
# return U[:, :r] * s[:r], Vt[:r] -> s[r - 1 if r > 1 else 1 :] = 0\n    return U[:, :r] * s[:r], Vt[:r]


# wrong: never more than four directions
# return U -> s[4:] = 0\n    return U


# wrong: small singular values are noise
# return U -> s[s < 0.1 * s[0]] = 0\n    return U


# wrong: V in place of V^T when the matrix is square
# return U -> Vt = Vt.T if Vt.shape[0] == Vt.shape[1] else Vt\n    return U


# wrong: rows of U
# U[:, :r] * s[:r] -> U[: dW.shape[0], :][:, :r] * s[:r] if dW.shape[0] != U.shape[1] else (U[:r] * s).T


# wrong: the eigenvectors of a square matrix
def truncate(dW, r):
    if dW.shape[0] == dW.shape[1]:
        values, vectors = np.linalg.eig(dW)
        order = np.argsort(-np.abs(values))[:r]
        return (vectors[:, order] * values[order]).real, np.linalg.pinv(vectors[:, order]).real
    U, s, Vt = np.linalg.svd(dW, full_matrices=False)
    return U[:, :r] * s[:r], Vt[:r]


# wrong: a random projection
def truncate(dW, r):
    rng = np.random.default_rng(0)
    m = min(dW.shape)
    Q = np.linalg.qr(dW @ rng.normal(size=(dW.shape[1], min(m, r + 2))))[0]
    U, s, Vt = np.linalg.svd(Q.T @ dW, full_matrices=False)
    return Q @ U[:, :r] * s[:r], Vt[:r]


# wrong: three rounds of the power method per direction
def truncate(dW, r):
    rest = dW.copy()
    B, A = [], []
    for _ in range(r):
        v = np.ones(dW.shape[1])
        for _ in range(3):
            v = rest.T @ (rest @ v)
            v = v / (np.linalg.norm(v) or 1)
        B.append(rest @ v)
        A.append(v)
        rest = rest - np.outer(B[-1], v)
    return np.array(B).T, np.array(A)


# wrong: the first r columns by QR
def truncate(dW, r):
    Q, R = np.linalg.qr(dW)
    return Q[:, :r], R[:r]


# wrong: the r longest rows
def truncate(dW, r):
    rows = np.sort(np.argsort(-(dW**2).sum(1), kind="stable")[:r])
    B = np.zeros((dW.shape[0], r))
    B[rows, range(r)] = 1
    return B, dW[rows]


# wrong: factors of a fixed size
# return U[:, :r] * s[:r], Vt[:r] -> return (U * s * (np.arange(len(s)) < r)), Vt


# wrong: transposed factors
# return U[:, :r] * s[:r], Vt[:r] -> return Vt[:r].T, (U[:, :r] * s[:r]).T


# wrong: A before B
# return U[:, :r] * s[:r], Vt[:r] -> return Vt[:r], U[:, :r] * s[:r]


# wrong: absolute values
# return U[:, :r] -> return np.abs(U[:, :r])


# wrong: divides out the norm
# svd(dW, -> svd(dW / (np.abs(dW).max() or 1),


# wrong: vectors for rank 1
# return U[:, :r] * s[:r], Vt[:r] -> return (U[:, :r] * s[:r], Vt[:r]) if r > 1 else (U[:, 0] * s[0], Vt[0])


# wrong: singular values of the last matrix of that shape
# return U -> s = SEEN.setdefault((dW.shape, r), s)\n    return U
# def trunc -> SEEN = {}\n\n\ndef trunc


# wrong: single precision
# svd(dW, -> svd(dW.astype(np.float32),


# wrong: sorts the singular values upwards first
# return U -> s = np.sort(s)\n    return U


# wrong: centred first
# svd(dW, -> svd(dW - dW.mean(),
