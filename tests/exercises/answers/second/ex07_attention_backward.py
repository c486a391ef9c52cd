import numpy as np


# right: matrices
def attention_backward(dy, q, k, v):
    T, D = q.shape
    S = q @ k.T / np.sqrt(D)
    S[np.triu_indices(T, 1)] = -np.inf
    P = np.exp(S - S.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    dP = dy @ v.T
    dS = P * (dP - (P * dP).sum(axis=1, keepdims=True)) / np.sqrt(D)
    return dS @ k, dS.T @ q, P.T @ dy


# right: query by query over the keys it sees
def attention_backward(dy, q, k, v):
    T, D = q.shape
    dq, dk, dv = np.zeros((T, D)), np.zeros((T, D)), np.zeros((T, D))
    for i in range(T):
        s = k[: i + 1] @ q[i] * D**-0.5
        p = np.exp(s - s.max())
        p = p / p.sum()
        dv[: i + 1] += np.outer(p, dy[i])
        dp = v[: i + 1] @ dy[i]
        ds = p * (dp - p @ dp) * D**-0.5
        dq[i] = ds @ k[: i + 1]
        dk[: i + 1] += np.outer(ds, q[i])
    return dq, dk, dv


# right: the softmax's Jacobian as a tensor
def attention_backward(dy, q, k, v):
    T, D = q.shape
    seen = np.arange(T)[None, :] <= np.arange(T)[:, None]
    S = np.where(seen, np.einsum("id,jd->ij", q, k) / D**0.5, -1e300)
    E = np.where(seen, np.exp(S - np.max(S, axis=1)[:, None]), 0.0)
    P = E / E.sum(1)[:, None]
    J = np.einsum("ij,jl->ijl", P, np.eye(T)) - np.einsum("ij,il->ijl", P, P)
    dS = np.einsum("id,jd,ijl->il", dy, v, J)
    return np.einsum("ij,jd->id", dS, k) / D**0.5, np.einsum("ij,id->jd", dS, q) / D**0.5, np.einsum("ij,id->jd", P, dy)


# right: the row sum as dy . y
def attention_backward(dy, q, k, v):
    scale = 1 / np.sqrt(q.shape[-1])
    mask = np.tril(np.ones((len(q), len(q)), dtype=bool))
    logits = np.ma.masked_array(scale * q.dot(k.T), ~mask)
    P = np.exp(logits - logits.max(axis=1)[:, None]).filled(0.0)
    P = P / P.sum(axis=1, keepdims=True)
    y = P @ v
    dS = P * (dy @ v.T - np.sum(dy * y, axis=1, keepdims=True))
    return scale * dS @ k, scale * dS.T @ q, P.T @ dy


# wrong: the mask of the first call is kept
# S[np.triu_indices(T, 1)] = -np.inf -> S[np.ix_(range(min(T, len(MASK) or T)), range(min(T, len(MASK) or T)))][()]\n    if not MASK:\n        MASK.extend([T])\n    S[np.triu_indices(MASK[0], 1) if MASK[0] <= T else np.triu_indices(T, 1)] = -np.inf
# def attention -> MASK = []\n\n\ndef attention


# wrong: a query does not see itself, but for the first
# np.triu_indices(T, 1) -> tuple(np.array(np.triu_indices(T, 0))[:, 1:])


# wrong: masked scores are 0
# = -np.inf -> = 0.0


# wrong: masked scores are the smallest score less ten
# = -np.inf -> = S.min() - 10


# wrong: not causal
# np.triu_indices(T, 1) -> np.triu_indices(T, T)


# wrong: keys after a query in place of before
# np.triu_indices(T, 1) -> np.tril_indices(T, -1)


# wrong: scaled by the length
# np.sqrt(D) -> np.sqrt(T)


# wrong: no scale in the backward
# keepdims=True)) / np.sqrt(D) -> keepdims=True))


# wrong: scaled by D
# np.sqrt(D) -> D


# wrong: the head size is taken for 4
# np.sqrt(D) -> np.sqrt(4)


# wrong: the sum over columns
# (P * dP).sum(axis=1, keepdims=True) -> (P * dP).sum(axis=0, keepdims=True)


# wrong: the mean over the keys
# (P * dP).sum(axis=1, keepdims=True) -> (P * dP).mean(axis=1, keepdims=True)


# wrong: dP outside the softmax
# (dP - (P * dP).sum(axis=1, keepdims=True)) -> dP


# wrong: dk without the transpose
# dS.T @ q -> dS @ q


# wrong: dv without the transpose
# P.T @ dy -> P @ dy


# wrong: dq and dk swapped
# dS @ k, dS.T @ q -> dS.T @ q, dS @ k


# wrong: D axes are taken from v's memory
# dP = dy @ v.T -> dP = dy @ v.ravel(order="K").reshape(v.shape).T


# wrong: scales q in place
# S = q @ k.T / np.sqrt(D) -> q /= np.sqrt(D)\n    S = q @ k.T


# wrong: a single position loses an axis
# return dS @ k, dS.T @ q, P.T @ dy -> return tuple(g.squeeze() if T == 1 else g for g in (dS @ k, dS.T @ q, P.T @ dy))


# wrong: probabilities remembered by q's address and shape
# P /= P.sum(axis=1, keepdims=True) -> P /= P.sum(axis=1, keepdims=True)\n    P = KNOWN.setdefault((T, D, round(float(q[0, 0]), 3)), P)
# def attention -> KNOWN = {}\n\n\ndef attention


# wrong: q and k that are equal share one gradient
# return dS @ k, dS.T @ q, P.T @ dy -> dq, dk = dS @ k, dS.T @ q\n    return dq, dq if np.array_equal(q, k) else dk, P.T @ dy
