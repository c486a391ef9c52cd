import numpy as np


# right: one line
def merge(W0, A, B, alpha):
    s = alpha / A.shape[0]
    return W0 + s * (B @ A)


# right: a sum of outer products
def merge(W0, A, B, alpha):
    W = W0.copy()
    for j in range(A.shape[0]):
        W += alpha / len(A) * np.outer(B[:, j], A[j])
    return W


# right: einsum, scaled first
def merge(W0, A, B, alpha):
    return np.add(np.einsum("dr,rk->dk", B * (alpha / B.shape[1]), A), W0)


# right: entry by entry
def merge(W0, A, B, alpha):
    d, k = W0.shape
    return np.array([[W0[i, j] + alpha * sum(B[i] * A[:, j]) / len(A) for j in range(k)] for i in range(d)])


# wrong: no scale
# s * (B @ A) -> B @ A


# wrong: scale twice
# s * (B -> s * s * (B


# wrong: alpha
# alpha / A.shape[0] -> alpha


# wrong: alpha / k
# A.shape[0] -> A.shape[1]


# wrong: alpha / min
# A.shape[0] -> min(A.shape)


# wrong: alpha / sqrt(r)
# alpha / A.shape[0] -> alpha / np.sqrt(A.shape[0])


# wrong: whole-number division
# alpha / A.shape[0] -> alpha // A.shape[0]


# wrong: alpha 0 means r
# alpha / A.shape[0] -> (alpha or len(A)) / A.shape[0]


# wrong: |alpha|
# alpha / A.shape[0] -> abs(alpha) / A.shape[0]


# wrong: minus
# W0 + s -> W0 - s


# wrong: no W0
# return W0 + s -> return s


# wrong: W0 scaled too
# W0 + s * (B @ A) -> s * (W0 + B @ A)


# wrong: transposed, when square
# (B @ A) -> ((B @ A).T if len(W0) == W0.shape[1] else B @ A)


# wrong: the first direction only
# (B @ A) -> np.outer(B[:, 0], A[0])


# wrong: two directions at most
# (B @ A) -> (B[:, :2] @ A[:2])


# wrong: the elementwise product where it fits
# (B @ A) -> (B * A.T if B.shape == A.T.shape == W0.shape else B @ A)


# wrong: only the diagonal of B
# (B @ A) -> (np.triu(B) @ A)


# wrong: averaged with W0
# return W0 + s * (B @ A) -> return (W0 + s * (B @ A)) / 2


# wrong: float32
# (B @ A) -> (B.astype(np.float32) @ A.astype(np.float32))


# wrong: float16
# (B @ A) -> (B.astype(np.float16) @ A.astype(np.float16)).astype(W0.dtype)


# wrong: rounded to eight digits
# return W0 + s * (B @ A) -> return np.round(W0 + s * (B @ A), 8)


# wrong: small updates are dropped
# return W0 + s * (B @ A) -> u = s * (B @ A); return W0 + np.where(abs(u) < 1e-6, 0, u)


# wrong: W0 in place
# return W0 + s * (B @ A) -> W0 += s * (B @ A); return W0


# wrong: B in place
# return W0 + s * (B @ A) -> B *= s; return W0 + B @ A


# wrong: W0 is replaced, then put back from a float32 copy
# return W0 + s * (B @ A) -> old = W0.astype(np.float32); W0 += s * (B @ A); W = W0.copy(); W0[...] = old; return W


# wrong: cached by the adapter
kept = {}


def merge(W0, A, B, alpha):
    return kept.setdefault((A.tobytes(), B.tobytes(), alpha, W0.shape), W0 + alpha / len(A) * (B @ A))


# wrong: cached by W0
kept = {}


def merge(W0, A, B, alpha):
    return kept.setdefault(W0.tobytes(), W0 + alpha / len(A) * (B @ A))


# wrong: merges stack up on the first W0
base = {}


def merge(W0, A, B, alpha):
    base[W0.shape] = base.get(W0.shape, W0) + alpha / len(A) * (B @ A)
    return base[W0.shape]


# wrong: a merged weight is not merged again
done = set()


def merge(W0, A, B, alpha):
    if W0.tobytes() in done:
        return W0
    done.add(W0.tobytes())
    return W0 + alpha / len(A) * (B @ A)


# wrong: one output buffer
out = {}


def merge(W0, A, B, alpha):
    W = out.setdefault(W0.shape, np.empty(W0.shape))
    W[...] = W0 + alpha / len(A) * (B @ A)
    return W
