import math

import numpy as np


# right: matrices
def attention_backward(dy, q, k, v):
    T, D = q.shape
    scale = 1 / math.sqrt(D)
    S = q @ k.T * scale
    S = np.where(np.tril(np.ones((T, T), bool)), S, -np.inf)
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P = P / P.sum(axis=-1, keepdims=True)
    dP = dy @ v.T
    dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True))
    return dS @ k * scale, dS.T @ q * scale, P.T @ dy


# right: one query at a time
def attention_backward(dy, q, k, v):
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    root = q.shape[1] ** 0.5
    for i in range(len(q)):
        s = k[: i + 1] @ q[i] / root
        p = np.exp(s - s.max())
        p /= p.sum()
        ds = (np.diag(p) - np.outer(p, p)) @ (v[: i + 1] @ dy[i])
        dq[i] = ds @ k[: i + 1] / root
        dk[: i + 1] += np.outer(ds, q[i]) / root
        dv[: i + 1] += np.outer(p, dy[i])
    return dq, dk, dv


# right: the flash-attention identity, rowsum(P dP) = rowsum(y dy)
def attention_backward(dy, q, k, v):
    T, D = q.shape
    q = q / np.sqrt(D)
    S = q @ k.T
    E = np.tril(np.exp(S - np.where(np.tri(T) > 0, S, -np.inf).max(1)[:, None].clip(S.max(1)[:, None] - 50)))
    P = E / E.sum(1)[:, None]
    y = P @ v
    dS = P * (dy @ v.T - (y * dy).sum(1)[:, None])
    return dS @ k / np.sqrt(D), dS.T @ q, P.T @ dy


# right: a large negative mask
def attention_backward(dy, q, k, v):
    T, D = q.shape
    mask = np.triu(np.full((T, T), -1e30), 1)
    S = np.einsum("id,jd->ij", q, k) / np.sqrt(D) + mask
    P = np.exp(S - np.logaddexp.reduce(S, axis=1)[:, None])
    dP = np.einsum("id,jd->ij", dy, v)
    dS = P * dP - P * np.einsum("ij,ij->i", P, dP)[:, None]
    dS = dS / np.sqrt(D)
    return np.einsum("ij,jd->id", dS, k), np.einsum("ij,id->jd", dS, q), np.einsum("ij,id->jd", P, dy)


# wrong: no scale in the gradients
# dS @ k * scale, dS.T @ q * scale -> dS @ k, dS.T @ q


# wrong: scale by D
# math.sqrt(D) -> D


# wrong: scale by sqrt(T)
# math.sqrt(D) -> math.sqrt(T)


# wrong: no scale
# 1 / math.sqrt(D) -> 1.0


# wrong: no mask
# np.where(np.tril(np.ones((T, T), bool)), S, -np.inf) -> S


# wrong: the mask hides the diagonal too, but for the first
# np.tril(np.ones((T, T), bool)) -> np.tril(np.ones((T, T), bool), -1) | (np.arange(T) == 0)


# wrong: the mask is upside down
# np.tril(np.ones((T, T), bool)) -> np.triu(np.ones((T, T), bool))


# wrong: one key too many is seen
# np.ones((T, T), bool)) -> np.ones((T, T), bool), 1)


# wrong: the mask is zeros before the softmax
# S, -np.inf -> S, 0.0


# wrong: masked after the softmax, not normalised again
# S = np.where(np.tril(np.ones((T, T), bool)), S, -np.inf)\n -> \n
# P = P / P.sum(axis=-1, keepdims=True) -> P = np.tril(P / P.sum(axis=-1, keepdims=True))


# wrong: dS = P dP
# dP - (P * dP).sum(axis=-1, keepdims=True) -> dP


# wrong: dS with a mean
# (P * dP).sum(axis=-1, keepdims=True) -> (P * dP).mean(axis=-1, keepdims=True)


# wrong: dS with the sum of dP
# (P * dP).sum(axis=-1, keepdims=True) -> dP.sum(axis=-1, keepdims=True)


# wrong: the sum over queries in dS
# (P * dP).sum(axis=-1, keepdims=True) -> (P * dP).sum(axis=0, keepdims=True)


# wrong: the sigmoid's derivative
# P * (dP - (P * dP).sum(axis=-1, keepdims=True)) -> P * (1 - P) * dP


# wrong: dk without transposing
# dS.T @ q -> dS @ q


# wrong: dv without transposing
# P.T @ dy -> P @ dy


# wrong: dv from dS
# P.T @ dy -> dS.T @ dy


# wrong: dq from q
# dS @ k -> dS @ q


# wrong: dk from v
# dS.T @ q -> dS.T @ v


# wrong: dq and dk swapped
# dS @ k * scale, dS.T @ q * scale -> dS.T @ q * scale, dS @ k * scale


# wrong: softmax over queries
# P.sum(axis=-1, keepdims=True) -> P.sum(axis=0, keepdims=True)


# wrong: the gradient of the last query only
# dP = dy @ v.T -> dy = np.where(np.arange(T)[:, None] == T - 1, dy, 0); dP = dy @ v.T


# wrong: float32 inside
# T, D = q.shape -> q, k = q.astype(np.float32), k.astype(np.float32); T, D = q.shape


# wrong: q is scaled in place
# S = q @ k.T * scale -> q *= scale; S = q @ k.T


# wrong: P of the last call with this q
kept = {}


def attention_backward(dy, q, k, v):
    T, D = q.shape
    S = np.where(np.tri(T) > 0, q @ k.T / np.sqrt(D), -np.inf)
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P = kept.setdefault(q.tobytes(), P / P.sum(axis=-1, keepdims=True))
    dP = dy @ v.T
    dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True)) / np.sqrt(D)
    return dS @ k, dS.T @ q, P.T @ dy


# wrong: one buffer for the three results
buffers = {}


def attention_backward(dy, q, k, v):
    T, D = q.shape
    S = np.where(np.tri(T) > 0, q @ k.T / np.sqrt(D), -np.inf)
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P = P / P.sum(axis=-1, keepdims=True)
    dP = dy @ v.T
    dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True)) / np.sqrt(D)
    out = buffers.setdefault(q.shape, np.empty((3, T, D)))
    out[:] = dS @ k, dS.T @ q, P.T @ dy
    return tuple(out)
