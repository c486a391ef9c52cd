import numpy as np


# right: the definition
def amplification_factor(W, dW, r):
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    projected = U[:, :r].T @ W @ Vt[:r].T
    return float(np.linalg.norm(dW) / np.linalg.norm(projected))


# right: projections in full space
def amplification_factor(W, dW, r):
    U, S, Vt = np.linalg.svd(dW)
    left, right = U[:, :r] @ U[:, :r].T, Vt[:r].T @ Vt[:r]
    return np.sqrt((S**2).sum() / np.square(left @ W @ right).sum())


# right: eigenvectors
def amplification_factor(W, dW, r):
    dW64 = dW.astype(np.float64)
    U = np.linalg.eigh(dW64 @ dW64.T)[1][:, ::-1][:, :r]
    V = np.linalg.eigh(dW64.T @ dW64)[1][:, ::-1][:, :r]
    return np.sqrt(np.sum(dW64**2)) / np.sqrt(np.sum((U.T @ W @ V) ** 2))


# right: entry by entry
def amplification_factor(W, dW, r):
    U, S, Vt = np.linalg.svd(dW, full_matrices=False)
    total = sum((U[:, a] @ W @ Vt[b]) ** 2 for a in range(r) for b in range(r))
    return (sum(s**2 for s in S[:r]) / total) ** 0.5


# wrong: upside down
# np.linalg.norm(dW) / np.linalg.norm(projected) -> np.linalg.norm(projected) / np.linalg.norm(dW)


# wrong: all of W
# norm(projected) -> norm(W)


# wrong: W's directions
# svd(dW -> svd(W


# wrong: W's directions in both
# svd(dW -> svd(W
# norm(dW) -> norm(U[:, :r].T @ dW @ Vt[:r].T)


# wrong: squared
# float( -> float(1) * (
# projected)) -> projected)) ** 2


# wrong: the root
# float( -> np.sqrt(


# wrong: columns of V^T
# Vt[:r].T -> Vt.T[:r].T


# wrong: rows of U
# U[:, :r].T -> U[:r]


# wrong: swapped
# U[:, :r].T @ W @ Vt[:r].T -> Vt[:r] @ W.T @ U[:, :r] if len(W) != W.shape[1] else Vt[:r] @ W @ U[:, :r]


# wrong: U only
#  @ Vt[:r].T ->


# wrong: V only
# U[:, :r].T @ W -> W


# wrong: U on both sides, when square
# W @ Vt[:r].T -> W @ (U[:, :r] if len(W) == W.shape[1] else Vt[:r].T)


# wrong: spectral norms
# norm(dW) -> norm(dW, 2)
# norm(projected) -> norm(projected, 2)


# wrong: the spectral norm above
# norm(dW) -> norm(dW, 2)


# wrong: the nuclear norm below
# norm(projected) -> norm(projected, "nuc")


# wrong: the first direction
# :r] -> :1]


# wrong: one direction too many, where there is one
# :r] -> : r + 1]


# wrong: the smallest
# U[:, :r].T @ W @ Vt[:r].T -> U[:, -r:].T @ W @ Vt[-r:].T


# wrong: the diagonal only
# norm(projected) -> norm(np.diag(projected))


# wrong: the trace
# np.linalg.norm(projected) -> abs(np.trace(projected))


# wrong: the average of the singular values' ratio
# float(np.linalg.norm(dW) / np.linalg.norm(projected)) -> float(np.mean(np.linalg.svd(dW, compute_uv=False)[:r] / np.linalg.svd(projected, compute_uv=False)))


# wrong: W + dW is projected
# @ W @ -> @ (W + dW) @


# wrong: an epsilon below
# norm(projected) -> norm(projected) + 1e-3


# wrong: per direction
# float( -> float(1 / r) * (


# wrong: capped at 10
# return float( -> return min(10.0, 


# wrong: at least 1
# return float( -> return max(1.0, 


# wrong: float16
# svd(dW, -> svd(dW.astype(np.float16).astype(np.float32),


# wrong: a negative factor, by a sign of the trace
# return float(np.linalg.norm(dW) / np.linalg.norm(projected)) -> return float(np.linalg.norm(dW) / np.linalg.norm(projected) * np.sign(np.trace(projected)))


# wrong: directions cached by the shape and r
kept = {}


def amplification_factor(W, dW, r):
    U, _, Vt = kept.setdefault((dW.shape, r), np.linalg.svd(dW, full_matrices=False))
    return float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T))


# wrong: the result cached by dW
kept = {}


def amplification_factor(W, dW, r):
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    return kept.setdefault(dW.tobytes(), float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)))


# wrong: the result cached by W
kept = {}


def amplification_factor(W, dW, r):
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    return kept.setdefault(W.tobytes(), float(np.linalg.norm(dW) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)))


# wrong: dW is normalised in place
def amplification_factor(W, dW, r):
    size = np.linalg.norm(dW)
    dW /= size
    U, _, Vt = np.linalg.svd(dW, full_matrices=False)
    return float(size / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T))
