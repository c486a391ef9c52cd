import numpy as np


# right: singular vectors
def amplification_factor(W, dW, r):
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    return float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T))


# right: projectors of the column and the row space
def amplification_factor(W, dW, r):
    U, s, Vt = np.linalg.svd(dW)
    left, right = U[:, :r] @ U[:, :r].T, Vt[:r].T @ Vt[:r]
    return np.sqrt((dW**2).sum() / ((left @ W @ right) ** 2).sum())


# right: sums of squares, entry by entry
def amplification_factor(W, dW, r):
    U, s, Vt = np.linalg.svd(dW)
    part = [[U[:, a] @ W @ Vt[b] for b in range(r)] for a in range(r)]
    return np.hypot.reduce(dW.ravel()) / np.hypot.reduce(np.ravel(part))


# right: of the transposed matrices
def amplification_factor(W, dW, r):
    V, s, Ut = np.linalg.svd(dW.T, full_matrices=False)
    overlap = np.einsum("ki,dk,jd->ij", V[:, :r], W, Ut[:r])
    return np.sqrt(np.sum(s[:r] ** 2)) / np.linalg.norm(overlap, "fro")


# wrong: upside down
# np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T) -> np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T) / np.linalg.norm(dW)


# wrong: all of W
# np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T) -> np.linalg.norm(W)


# wrong: W's own directions
# svd(dW, -> svd(W,


# wrong: the directions of the sum
# svd(dW, -> svd(W + dW,


# wrong: all of the singular vectors
# U[:, :r].T @ W @ Vt[:r].T -> U.T @ W @ Vt.T


# wrong: only the left side
# U[:, :r].T @ W @ Vt[:r].T -> U[:, :r].T @ W


# wrong: only the right side
# U[:, :r].T @ W @ Vt[:r].T -> W @ Vt[:r].T


# wrong: direction with direction only
# np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T) -> np.linalg.norm(np.diag(U[:, :r].T @ W @ Vt[:r].T))


# wrong: the first direction only
# :r] -> :1]


# wrong: the last directions
# :r] -> -r:]


# wrong: one direction too few
# :r] -> : max(r - 1, 1)]


# wrong: squares
# float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)) -> float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)) ** 2


# wrong: spectral norms
# (np.linalg.norm(dW) -> (np.linalg.norm(dW, 2)


# wrong: the spectral norm below
# @ Vt[:r].T) -> @ Vt[:r].T, 2)


# wrong: the nuclear norm above
# np.linalg.norm(dW) -> np.linalg.norm(dW, "nuc")


# wrong: the sum's norm above
# np.linalg.norm(dW) -> np.linalg.norm(W + dW)


# wrong: V^T in place of V when square
# Vt[:r].T -> (Vt.T[:r].T if W.shape[0] == W.shape[1] else Vt[:r].T)


# wrong: U and V swapped when square
# return float( -> U, Vt = (Vt.T, U.T) if W.shape[0] == W.shape[1] else (U, Vt)\n    return float(


# wrong: never below 1
# return float(np -> return max(1.0, np
# W @ Vt[:r].T)) -> W @ Vt[:r].T))


# wrong: a little below the line
# W @ Vt[:r].T)) -> W @ Vt[:r].T) + 1e-8)


# wrong: the trace
# np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T) -> abs(np.trace(U[:, :r].T @ W @ Vt[:r].T))


# wrong: divided by the rank
# return float( -> return 1 / r * float(


# wrong: the directions are remembered by shape
# U, _, Vt = np.linalg.svd(dW, full_matrices=False) -> U, _, Vt = SEEN.setdefault(dW.shape, np.linalg.svd(dW, full_matrices=False))
# def amp -> SEEN = {}\n\n\ndef amp


# wrong: dW is scaled in place
# U, _, -> dW *= 2.0\n    U, _,
# np.linalg.norm(dW) -> np.linalg.norm(dW) / 2


# wrong: an array of one number
# float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)) -> np.array([np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)])


# wrong: single precision
# svd(dW, -> svd(dW.astype(np.float32),
