import math

import numpy as np


# right: repeat, mask, softmax
def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    k, v = np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(D)
    future = np.arange(S)[None, :] > np.arange(S - T, S)[:, None]
    scores[:, future] = -np.inf
    P = np.exp(scores - scores.max(axis=-1, keepdims=True))
    P /= P.sum(axis=-1, keepdims=True)
    return P @ v


def shared_backward(dkeys, K):
    H, S, D = dkeys.shape
    return dkeys.reshape(K, H // K, S, D).sum(axis=1)


# right: loops over heads and queries
def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    y = np.zeros(q.shape)
    for h in range(H):
        kv = h // (H // K)
        for t in range(T):
            seen = S - T + t + 1
            s = k[kv, :seen] @ q[h, t] / math.sqrt(D)
            e = np.exp(s - max(s))
            y[h, t] = e @ v[kv, :seen] / sum(e)
    return y


def shared_backward(dkeys, K):
    G = len(dkeys) // K
    return np.stack([sum(dkeys[g * G : (g + 1) * G]) for g in range(K)])


# right: groups as an axis, einsum, a large negative number for the mask
def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    grouped = q.reshape(K, H // K, T, D)
    scores = np.einsum("kgtd,ksd->kgts", grouped, k) * D**-0.5
    mask = np.triu(np.ones((T, S)), S - T + 1)
    scores = np.where(mask > 0, -1e30, scores)
    scores = scores - scores.max(-1, keepdims=True)
    log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return np.einsum("kgts,ksd->kgtd", np.exp(log_p), v).reshape(H, T, D)


def shared_backward(dkeys, K):
    dk = np.zeros((K, *dkeys.shape[1:]), dkeys.dtype)
    np.add.at(dk, np.arange(len(dkeys)) // (len(dkeys) // K), dkeys)
    return dk


# right: an index for each head; scaled queries
def grouped_attention(q, k, v):
    H, T, D = q.shape
    S = k.shape[1]
    which = np.arange(H) * len(k) // H
    scores = np.matmul(q / D**0.5, np.swapaxes(k[which], -1, -2))
    scores += np.where(np.tri(T, S, S - T, dtype=bool), 0, -np.inf)
    weights = np.exp(scores - np.max(scores, axis=2)[..., None])
    return np.matmul(weights, v[which]) / weights.sum(axis=2)[..., None]


def shared_backward(dkeys, K):
    sharing = np.kron(np.eye(K), np.ones(len(dkeys) // K))
    return np.tensordot(sharing, dkeys, axes=1)


# wrong: right if there is one key head, or one for each query head
# np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0) -> (k, v) if H == K else (np.repeat(k[:1], H, axis=0), np.repeat(v[:1], H, axis=0))


# wrong: a cache only with one query
# future = np.arange(S)[None, :] > np.arange(S - T, S)[:, None] -> future = np.arange(S)[None, :] > (np.arange(T)[:, None] if T > 1 else S)


# wrong: the maximum is clipped at 0
# scores - scores.max(axis=-1, keepdims=True) -> scores - np.maximum(scores.max(axis=-1, keepdims=True), 0)


# wrong: an epsilon in the sum
# P.sum(axis=-1, keepdims=True)\n -> P.sum(axis=-1, keepdims=True) + 1e-6\n


# wrong: values in half precision
# return P @ v -> return P @ v.astype("f2").astype(v.dtype)


# wrong: tiled
# k, v = np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0) -> k, v = np.tile(k, (H // K, 1, 1)), np.tile(v, (H // K, 1, 1))


# wrong: keys tiled, values repeated
# np.repeat(k, H // K, axis=0), -> np.tile(k, (H // K, 1, 1)),


# wrong: the last keys for all
# np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0) -> np.repeat(k[-1:], H, axis=0), np.repeat(v[-1:], H, axis=0)


# wrong: the mean of all keys and values
# np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0) -> np.repeat(k.mean(0, keepdims=True), H, axis=0), np.repeat(v.mean(0, keepdims=True), H, axis=0)


# wrong: groups of K heads
# np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0) -> k[np.minimum(np.arange(H) // K, K - 1)], v[np.minimum(np.arange(H) // K, K - 1)]


# wrong: repeated along the positions
# np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0) -> np.repeat(k, H // K, axis=1).reshape(H, S, D), np.repeat(v, H // K, axis=1).reshape(H, S, D)


# wrong: no mask
# scores[:, future] = -np.inf -> pass


# wrong: the queries are the first positions
# np.arange(S - T, S) -> np.arange(T)


# wrong: the queries see the cache only
# > np.arange(S - T, S)[:, None] -> > np.maximum(S - T - 1, 0) + 0 * np.arange(T)[:, None]


# wrong: a query sees one key too many
# > np.arange(S - T, S) -> > np.arange(S - T + 1, S + 1)


# wrong: a query does not see itself
# future = np.arange(S)[None, :] > np.arange(S - T, S)[:, None] -> future = (np.arange(S)[None, :] >= np.arange(S - T, S)[:, None]) & (np.arange(S) > 0)


# wrong: the mask turned round
# > np.arange(S - T, S)[:, None] -> < np.arange(S - T, S)[:, None]


# wrong: masked after the softmax
# scores[:, future] = -np.inf\n -> \n
# P /= P.sum(axis=-1, keepdims=True) -> P /= P.sum(axis=-1, keepdims=True)\n    P[:, future] = 0


# wrong: masked with 0
# = -np.inf -> = 0


# wrong: masked with -1e3, too little for large scores
# = -np.inf -> = -1e3


# wrong: masked with -1e4
# = -np.inf -> = -1e4


# wrong: masked with -9
# = -np.inf -> = -9


# wrong: not scaled
#  / np.sqrt(D) ->


# wrong: scaled by D
# np.sqrt(D) -> D


# wrong: scaled by the root of T
# np.sqrt(D) -> np.sqrt(T)


# wrong: scaled by all heads
# np.sqrt(D) -> np.sqrt(D * H)


# wrong: scaled by the heads of keys
# np.sqrt(D) -> np.sqrt(D * K)


# wrong: exp without the maximum
# scores - scores.max(axis=-1, keepdims=True) -> scores


# wrong: the maximum of all heads
# scores.max(axis=-1, keepdims=True) -> scores.max()


# wrong: scores clipped
# P = np.exp( -> scores = np.clip(scores, -50, 50)\n    scores[:, future] = -np.inf\n    P = np.exp(


# wrong: softmax over the queries
# P /= P.sum(axis=-1, keepdims=True) -> P /= P.sum(axis=1, keepdims=True)


# wrong: softmax over the heads
# P /= P.sum(axis=-1, keepdims=True) -> P /= P.sum(axis=0, keepdims=True)


# wrong: not normalised
# P /= P.sum(axis=-1, keepdims=True) -> pass


# wrong: linear attention
# P = np.exp(scores - scores.max(axis=-1, keepdims=True)) -> P = np.where(future, 0, scores)


# wrong: keys in place of values
# return P @ v -> return P @ k


# wrong: only the last query's row for all
# return P @ v -> return np.repeat((P @ v)[:, -1:], T, axis=1)


# wrong: heads last
# return P @ v -> return (P @ v).transpose(1, 2, 0)


# wrong: heads joined
# return P @ v -> return (P @ v).transpose(1, 0, 2).reshape(T, H * D)


# wrong: q scaled in place
# scores = q @ k.transpose(0, 2, 1) / np.sqrt(D) -> q /= np.sqrt(D).astype(q.dtype)\n    scores = q @ k.transpose(0, 2, 1)


# wrong: half precision
# return P @ v -> return P.astype("f2").astype(v.dtype) @ v


# wrong: dk is a mean
# .sum(axis=1) -> .mean(axis=1)


# wrong: dk of the first head
# .sum(axis=1) -> [:, 0]


# wrong: dk of the last head
# .sum(axis=1) -> [:, -1]


# wrong: dk by dealt heads
# reshape(K, H // K, S, D).sum(axis=1) -> reshape(H // K, K, S, D).sum(axis=0)


# wrong: dk summed over positions too
# .sum(axis=1) -> .sum(axis=(1, 2))[:, None] * np.ones((1, S, 1))


# wrong: every k gets all heads
# return dkeys.reshape(K, H // K, S, D).sum(axis=1) -> return np.repeat(dkeys.sum(axis=0, keepdims=True), K, axis=0)


# wrong: divided by the root of the group
# .sum(axis=1) -> .sum(axis=1) / np.sqrt(H // K)


# wrong: keeps the heads
# return dkeys.reshape(K, H // K, S, D).sum(axis=1) -> return np.repeat(dkeys.reshape(K, H // K, S, D).sum(axis=1), H // K, axis=0)


# wrong: heads in memory order
# return dkeys.reshape(K, H // K, S, D) -> return dkeys.ravel(order="K").reshape(K, H // K, S, D)


# wrong: K is always 1 or H
# return dkeys.reshape(K, H // K, S, D).sum(axis=1) -> return dkeys if K > 1 else dkeys.sum(axis=0, keepdims=True)


# wrong: groups of two
# return dkeys.reshape(K, H // K, S, D).sum(axis=1) -> return dkeys.reshape(K, -1, S, D)[:, :2].sum(axis=1)


# wrong: summed in place
# return dkeys.reshape(K, H // K, S, D).sum(axis=1) -> G = H // K\n    for h in range(H):\n        if h % G:\n            dkeys[h - h % G] += dkeys[h]\n    return dkeys[::G].copy()


# wrong: a cache of keys that grows from call to call
cache = []


def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    cache.append(k) if not cache or cache[-1].shape != k.shape else None
    k = cache[-1]
    k, v = np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(D)
    scores[:, np.arange(S)[None, :] > np.arange(S - T, S)[:, None]] = -np.inf
    P = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return P @ v / P.sum(axis=-1, keepdims=True)


def shared_backward(dkeys, K):
    H, S, D = dkeys.shape
    return dkeys.reshape(K, H // K, S, D).sum(axis=1)


# wrong: a mask kept by T
masks = {}


def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    seen = masks.setdefault(T, np.tril(np.ones((T, 999), bool), k=S - T))[:, :S]
    k, v = np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0)
    scores = np.where(seen, q @ k.transpose(0, 2, 1) / np.sqrt(D), -np.inf)
    P = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return P @ v / P.sum(axis=-1, keepdims=True)


def shared_backward(dkeys, K):
    H, S, D = dkeys.shape
    return dkeys.reshape(K, H // K, S, D).sum(axis=1)


# wrong: the group size of the last forward
size = [1]


def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    size[0] = H // K
    k, v = np.repeat(k, H // K, axis=0), np.repeat(v, H // K, axis=0)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(D)
    scores[:, np.arange(S)[None, :] > np.arange(S - T, S)[:, None]] = -np.inf
    P = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return P @ v / P.sum(axis=-1, keepdims=True)


def shared_backward(dkeys, K):
    return dkeys.reshape(-1, size[0], *dkeys.shape[1:]).sum(axis=1)
