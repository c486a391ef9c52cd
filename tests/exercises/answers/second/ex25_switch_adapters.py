import numpy as np


# right: take one away, add the other
def switch(W, old, new):
    A, B, alpha = old
    base = W - alpha / len(A) * (B @ A)
    A, B, alpha = new
    return base + alpha / len(A) * (B @ A)


# right: one difference of updates
def switch(W, old, new):
    def update(adapter):
        A, B, alpha = adapter
        return np.dot(B, A) * (alpha / B.shape[1])

    return W + (update(new) - update(old))


# right: the stacked factors
def switch(W, old, new):
    (A1, B1, a1), (A2, B2, a2) = old, new
    B = np.concatenate([-a1 / A1.shape[0] * B1, a2 / A2.shape[0] * B2], axis=1)
    return W + B @ np.concatenate([A1, A2])


# right: rank by rank on a copy
def switch(W, old, new):
    W = W.astype(float).copy()
    for sign, (A, B, alpha) in ((-1, old), (+1, new)):
        for a, b in zip(A, B.T):
            W += sign * alpha / len(A) * b[:, None] * a[None, :]
    return W


# wrong: only adds
# base = W - alpha / len(A) * (B @ A) -> base = W


# wrong: only takes away
# return base + alpha / len(A) * (B @ A) -> return base


# wrong: the other way about
# base = W - alpha -> base = W + alpha
# return base + alpha -> return base - alpha


# wrong: the old alpha for both
# A, B, alpha = new -> A, B, _ = new


# wrong: the new alpha for both
# A, B, alpha = old -> A, B, _ = old\n    alpha = new[2]


# wrong: the old rank for both
# return base + alpha / len(A) * -> return base + alpha / len(old[0]) *


# wrong: the new rank for both
# base = W - alpha / len(A) * -> base = W - alpha / len(new[0]) *


# wrong: whole-number division
# alpha / len(A) -> alpha // len(A)


# wrong: no scale
# alpha / len(A) -> 1.0


# wrong: differences of the factors when shapes agree
# A, B, alpha = old -> if old[0].shape == new[0].shape and old[2] == new[2]:\n        return W + old[2] / len(old[0]) * ((new[1] - old[1]) @ (new[0] - old[0]))\n    A, B, alpha = old


# wrong: the smaller side is the rank
# len(A) -> min(A.shape)


# wrong: the smaller side of B is the rank
# len(A) -> min(B.shape)


# wrong: the smallest side of all
# len(A) -> min(A.shape + B.shape)


# wrong: W in place
# base = W - alpha / len(A) * (B @ A) -> W -= alpha / len(A) * (B @ A)\n    base = W


# wrong: W in place and back
# return base -> W += 1.0\n    W -= 1.0\n    return base


# wrong: an adapter with equal A is the same
# A, B, alpha = old -> if np.array_equal(old[0], new[0]):\n        return W.copy()\n    A, B, alpha = old


# wrong: an adapter with equal factors is the same, whatever its alpha
# A, B, alpha = old -> if np.array_equal(old[0], new[0]) and np.array_equal(old[1], new[1]):\n        return W.copy()\n    A, B, alpha = old


# wrong: alpha 0 counts as r
# alpha / len(A) -> (alpha or len(A)) / len(A)


# wrong: absolute alphas
# alpha / len(A) -> abs(alpha) / len(A)


# wrong: the base of the first call is kept
# A, B, alpha = new -> base = BASE.setdefault(W.shape, base)\n    A, B, alpha = new
# def switch -> BASE = {}\n\n\ndef switch


# wrong: the update is remembered by shape
# return base + alpha / len(A) * (B @ A) -> return base + BASE.setdefault((B.shape, A.shape), alpha / len(A) * (B @ A))
# def switch -> BASE = {}\n\n\ndef switch


# wrong: the old update is taken transposed when square
# base = W - alpha / len(A) * (B @ A) -> update = alpha / len(A) * (B @ A)\n    base = W - (update.T if W.shape[0] == W.shape[1] else update)


# wrong: the factors the other way round when that fits
# base + alpha / len(A) * (B @ A) -> base + alpha / len(A) * (A @ B if A.shape == B.shape else B @ A)


# wrong: only as many ranks as the old one has
# A, B, alpha = new -> n, (A, B, alpha) = len(A), new\n    full = len(A)\n    A, B, alpha = A[:n], B[:, :n], alpha / full * len(A[:n])


# wrong: single precision
# return base + alpha / len(A) * (B @ A) -> return base + (alpha / len(A) * (B @ A)).astype(np.float32)


# wrong: one buffer for all results
# return base + alpha / len(A) * (B @ A) -> return np.add(base, alpha / len(A) * (B @ A), out=BASE.setdefault(W.shape, np.empty(W.shape)))
# def switch -> BASE = {}\n\n\ndef switch
