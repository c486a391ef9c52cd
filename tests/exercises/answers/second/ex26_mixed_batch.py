import numpy as np


# right: row by row
def mixed_forward(x, which, W0, adapters):
    y = x @ W0.T
    for n, number in enumerate(which):
        if number >= 0:
            A, B, alpha = adapters[number]
            y[n] += alpha / len(A) * (B @ (A @ x[n]))
    return y


# right: adapter by adapter, by a mask
def mixed_forward(x, which, W0, adapters):
    y = np.einsum("nk,dk->nd", x, W0)
    for number, (A, B, alpha) in enumerate(adapters):
        mine = (np.asarray(which) == number)[:, None]
        y = y + mine * (x @ A.T @ B.T) * (alpha / A.shape[0])
    return y


# right: sorted by adapter and put back
def mixed_forward(x, which, W0, adapters):
    order = np.argsort(which, kind="stable")
    rows = []
    for n in order:
        W = W0
        if which[n] != -1:
            A, B, alpha = adapters[int(which[n])]
            W = W0 + np.dot(B, A) * alpha / B.shape[1]
        rows.append(W @ x[n])
    result = np.empty((len(x), len(W0)))
    result[order] = np.array(rows).reshape(len(x), len(W0))
    return result


# right: padded to one rank
def mixed_forward(x, which, W0, adapters):
    R = max(len(A) for A, _, _ in adapters)
    (d, k), count = W0.shape, len(adapters)
    As, Bs = np.zeros((count + 1, R, k)), np.zeros((count + 1, d, R))
    for i, (A, B, alpha) in enumerate(adapters):
        As[i, : len(A)] = A
        Bs[i, :, : len(A)] = B * (alpha / len(A))
    return x @ W0.T + np.einsum("ndr,nrk,nk->nd", Bs[which], As[which], x)


# wrong: -1 is the last adapter
# if number >= 0: -> if True:


# wrong: 0 is none
# if number >= 0: -> if number > 0:


# wrong: any number but 0
# if number >= 0: -> if number:


# wrong: counted from 1
# adapters[number] -> adapters[number - 1]


# wrong: stops at the first row without one
# if number >= 0: -> if number < 0:\n            break\n        if True:


# wrong: skips what comes after the first row without one
# for n, number in enumerate(which): -> cut = list(which).index(-1) if -1 in which else len(which)\n    for n, number in enumerate(which[:cut]):


# wrong: the first row's adapter for all
# adapters[number] -> adapters[max(which[0], 0)]


# wrong: the most frequent adapter for all
# adapters[number] -> adapters[np.bincount(which[which >= 0]).argmax()]


# wrong: each adapter for its first row only
def mixed_forward(x, which, W0, adapters):
    y = x @ W0.T
    for number, n in zip(*np.unique(which, return_index=True)):
        if number >= 0:
            A, B, alpha = adapters[number]
            y[n] += alpha / len(A) * (B @ (A @ x[n]))
    return y


# wrong: the rows come grouped
def mixed_forward(x, which, W0, adapters):
    parts = [x[which == -1] @ W0.T]
    for number, (A, B, alpha) in enumerate(adapters):
        rows = x[which == number]
        parts.append(rows @ W0.T + alpha / len(A) * (rows @ A.T @ B.T))
    return np.concatenate(parts)


# wrong: ordered back the wrong way
def mixed_forward(x, which, W0, adapters):
    order = np.argsort(which, kind="stable")
    rows = []
    for n in order:
        W = W0
        if which[n] >= 0:
            A, B, alpha = adapters[which[n]]
            W = W0 + alpha / len(A) * (B @ A)
        rows.append(W @ x[n])
    return np.array(rows)[order]


# wrong: the first adapter's alpha
# A, B, alpha = adapters[number] -> A, B, _ = adapters[number]\n            alpha = adapters[0][2]


# wrong: the first adapter's rank
# alpha / len(A) -> alpha / len(adapters[0][0])


# wrong: the largest rank
# alpha / len(A) -> alpha / max(len(A) for A, _, _ in adapters)


# wrong: whole-number division
# alpha / len(A) -> alpha // len(A)


# wrong: no scale
# alpha / len(A) * -> 1.0 *


# wrong: the smaller side is the rank
# alpha / len(A) -> alpha / min(A.shape)


# wrong: ranks cut to the smallest
# (B @ (A @ x[n])) -> (B[:, : min(len(a) for a, _, _ in adapters)] @ (A[: min(len(a) for a, _, _ in adapters)] @ x[n]))


# wrong: no base for rows with an adapter
# y[n] += -> y[n] =


# wrong: no base for rows without one
# if number >= 0: -> if number < 0:\n            y[n] = 0\n        else:


# wrong: W0 takes the update and keeps it
def mixed_forward(x, which, W0, adapters):
    W0 = W0.copy()
    y = np.zeros((len(x), len(W0)))
    for n, number in enumerate(which):
        if number >= 0:
            A, B, alpha = adapters[number]
            W0 += alpha / len(A) * (B @ A)
        y[n] = W0 @ x[n]
    return y


# wrong: W0 takes the update and gives it back, in place
def mixed_forward(x, which, W0, adapters):
    y = np.zeros((len(x), len(W0)))
    for n, number in enumerate(which):
        update = 0.0
        if number >= 0:
            A, B, alpha = adapters[number]
            update = alpha / len(A) * (B @ A)
        W0 += update
        y[n] = W0 @ x[n]
        W0 -= update
    return y


# wrong: which is sorted in place
# y = x @ W0.T -> y = x @ W0.T\n    which.sort()


# wrong: -1 is written over with 0
# y = x @ W0.T -> y = x @ W0.T\n    which[which < 0] = 0


# wrong: at most eight rows
# enumerate(which) -> enumerate(which[:8])


# wrong: the result is as wide as x
# return y -> return np.resize(y, x.shape)


# wrong: adapters remembered by number
# A, B, alpha = adapters[number] -> A, B, alpha = SEEN.setdefault((int(number), A_shape(adapters, number)), adapters[number])
# def mixed -> SEEN = {}\n\n\ndef A_shape(adapters, number):\n    return W_shape(adapters[number][1]), W_shape(adapters[number][0])\n\n\ndef W_shape(M):\n    return M.shape\n\n\ndef mixed


# wrong: one buffer for all results
# y = x @ W0.T -> y = np.matmul(x, W0.T, out=SEEN.setdefault((len(x), len(W0)), np.empty((len(x), len(W0)))))
# def mixed -> SEEN = {}\n\n\ndef mixed


# wrong: alpha 0 counts as r
# alpha / len(A) -> (alpha or len(A)) / len(A)


# wrong: absolute alphas
# alpha / len(A) -> abs(alpha) / len(A)


# wrong: a list of rows
# return y -> return list(y)
