import numpy as np


# right: keys repeated
def grouped_attention(q, k, v):
    H, T, D = q.shape
    S = k.shape[1]
    keys, values = (np.repeat(a, H // len(k), axis=0) for a in (k, v))
    scores = q @ keys.transpose(0, 2, 1) / np.sqrt(D)
    scores = np.where(np.arange(S) <= np.arange(S - T, S)[:, None], scores, -np.inf)
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True) @ values


def shared_backward(dkeys, K):
    H, S, D = dkeys.shape
    return dkeys.reshape(K, H // K, S, D).sum(axis=1)


# right: heads and queries in loops
def grouped_attention(q, k, v):
    H, T, D = q.shape
    K, S, _ = k.shape
    y = np.zeros((H, T, D))
    for h in range(H):
        g = h * K // H
        for t in range(T):
            seen = S - T + t + 1
            s = k[g, :seen] @ q[h, t] / D**0.5
            w = np.exp(s - max(s))
            y[h, t] = w @ v[g, :seen] / w.sum()
    return y


def shared_backward(dkeys, K):
    dk = np.zeros((K,) + dkeys.shape[1:])
    for h in range(len(dkeys)):
        dk[h // (len(dkeys) // K)] += dkeys[h]
    return dk


# right: an axis for the groups
def grouped_attention(q, k, v):
    (H, T, D), (K, S, _) = q.shape, k.shape
    scores = np.einsum("kgtd,ksd->kgts", q.reshape(K, H // K, T, D), k) * D**-0.5
    scores += np.triu(np.full((T, S), -np.inf), S - T + 1)
    log_p = scores - np.logaddexp.reduce(scores, axis=-1)[..., None]
    return np.einsum("kgts,ksd->kgtd", np.exp(log_p), v).reshape(H, T, D)


def shared_backward(dkeys, K):
    return np.add.reduceat(dkeys, np.arange(0, len(dkeys), len(dkeys) // K), axis=0)


# right: group by group
def grouped_attention(q, k, v):
    out = []
    for group, keys, values in zip(np.split(q, len(k)), k, v):
        late = len(keys) - q.shape[1]
        s = np.tensordot(group, keys, axes=(2, 1)) / np.sqrt(q.shape[2])
        s[:, ~np.tri(q.shape[1], len(keys), late, dtype=bool)] = -np.inf
        e = np.exp(s - s.max(-1)[..., None])
        out.append(np.matmul(e, values) / e.sum(-1)[..., None])
    return np.concatenate(out)


def shared_backward(dkeys, K):
    return np.stack([group.sum(axis=0) for group in np.split(dkeys, K)])


# wrong: heads take turns
# np.repeat(a, H // len(k), axis=0) -> np.tile(a, (H // len(k), 1, 1))


# wrong: heads take turns in the backward
# dkeys.reshape(K, H // K, S, D).sum(axis=1) -> dkeys.reshape(H // K, K, S, D).sum(axis=0)


# wrong: the mean over the group
# sum(axis=1) -> mean(axis=1)


# wrong: the group's first head
# .sum(axis=1) -> [:, 0].copy()


# wrong: the queries are the first of the positions
# np.arange(S - T, S)[:, None] -> np.arange(T)[:, None]


# wrong: not causal
# np.arange(S) <= np.arange(S - T, S)[:, None] -> np.arange(S) < S


# wrong: a query does not see itself
# np.arange(S) <= np.arange(S - T, S)[:, None] -> np.arange(S) <= np.maximum(np.arange(S - T, S)[:, None] - 1, 0)


# wrong: one key too many
# np.arange(S) <= np.arange(S - T, S)[:, None] -> np.arange(S) <= np.arange(S - T, S)[:, None] + 1


# wrong: hidden scores are -100
# scores, -np.inf) -> scores, -100.0)


# wrong: exp overflows
# np.exp(scores - scores.max(axis=-1, keepdims=True)) -> np.exp(scores)


# wrong: the largest score of all
# scores.max(axis=-1, keepdims=True) -> scores.max()


# wrong: no scale
# / np.sqrt(D) -> / 1


# wrong: scaled by the width of all heads
# np.sqrt(D) -> np.sqrt(H * D)


# wrong: the first group's values
# p / p.sum(axis=-1, keepdims=True) @ values -> p / p.sum(axis=-1, keepdims=True) @ np.repeat(v[:1], H, axis=0)


# wrong: whole groups only when there are two
# np.repeat(a, H // len(k), axis=0) -> a[np.minimum(np.arange(H) // 2 if len(k) > 1 else np.zeros(H, int), len(k) - 1)]


# wrong: normalised by hand to float32
# p / p.sum(axis=-1, keepdims=True) @ values -> (p / p.sum(axis=-1, keepdims=True)).astype(np.float32) @ values


# wrong: q is scaled in place
# scores = q @ keys.transpose(0, 2, 1) / np.sqrt(D) -> q /= np.sqrt(D)\n    scores = q @ keys.transpose(0, 2, 1)


# wrong: the mask of the first call of T queries
# scores = np.where(np.arange(S) <= np.arange(S - T, S)[:, None], -> past = PAST.setdefault(T, S - T)\n    scores = np.where(np.arange(S) <= np.arange(past, past + T)[:, None],
# def grouped -> PAST = {}\n\n\ndef grouped
