import numpy as np


# right: adapter by adapter
def mixed_forward(x, which, W0, adapters):
    y = x @ W0.T
    for i, (A, B, alpha) in enumerate(adapters):
        rows = which == i
        s = alpha / len(A)
        y[rows] += s * (x[rows] @ A.T) @ B.T
    return y


# right: row by row
def mixed_forward(x, which, W0, adapters):
    rows = []
    for row, i in zip(x, which):
        y = W0 @ row
        if i != -1:
            A, B, alpha = adapters[i]
            y = y + alpha / A.shape[0] * (B @ (A @ row))
        rows.append(y)
    return np.array(rows)


# right: masked sums
def mixed_forward(x, which, W0, adapters):
    result = np.einsum("nk,dk->nd", x, W0)
    for i, adapter in enumerate(adapters):
        A, B, alpha = adapter
        mask = np.where(np.asarray(which) == i, alpha / B.shape[1], 0.0)[:, None]
        result = result + mask * np.dot(np.dot(x, A.T), B.T)
    return result


# right: merged weights, the base's first
def mixed_forward(x, which, W0, adapters):
    weights = np.stack([W0] + [W0 + alpha / len(A) * B @ A for A, B, alpha in adapters])
    return np.matmul(weights[which + 1], x[:, :, None])[:, :, 0]


# wrong: -1 is the last adapter
# rows = which == i -> rows = which % len(adapters) == i


# wrong: -1 is the first adapter
# rows = which == i -> rows = np.maximum(which, 0) == i


# wrong: numbers from 1
# rows = which == i -> rows = which == i + 1


# wrong: the first row's adapter for all
# rows = which == i -> rows = np.full(len(x), which[0] == i)


# wrong: the last row's adapter for all
# rows = which == i -> rows = np.full(len(x), which[-1] == i)


# wrong: all adapters for all rows
# rows = which == i -> rows = which == which


# wrong: all adapters for adapted rows
# rows = which == i -> rows = which >= 0


# wrong: up to the row's own number
# rows = which == i -> rows = which >= i


# wrong: sorted
# return y -> return y[np.argsort(which, kind="stable")]


# wrong: base rows are zero
# return y -> y[which == -1] = 0; return y


# wrong: base rows come back as they were, when square
# return y -> y = np.where((which == -1)[:, None], x, y) if x.shape == y.shape else y; return y


# wrong: adapted rows lack the base
# y[rows] += -> y[rows] = 


# wrong: no scale
# s = alpha / len(A) -> s = 1.0


# wrong: alpha
# s = alpha / len(A) -> s = alpha


# wrong: the first rank for all
# s = alpha / len(A) -> s = alpha / len(adapters[0][0])


# wrong: the first alpha for all
# s = alpha -> s = adapters[0][2]


# wrong: the last alpha for all
# s = alpha -> s = adapters[-1][2]


# wrong: the largest rank for all
# s = alpha / len(A) -> s = alpha / max(len(A) for A, _, _ in adapters)


# wrong: k for r
# len(A) -> A.shape[1]


# wrong: whole-number division
# alpha / len(A) -> alpha // len(A)


# wrong: int(alpha)
# s = alpha -> s = int(alpha)


# wrong: the first row of each adapter only
# y[rows] += s * (x[rows] @ A.T) @ B.T -> first = np.flatnonzero(rows)[:1]; y[first] += s * (x[first] @ A.T) @ B.T


# wrong: the average of an adapter's rows
# x[rows] @ A.T -> x[rows].mean(axis=0, keepdims=True) @ A.T if rows.any() else x[rows] @ A.T


# wrong: two adapters at most
# in enumerate(adapters) -> in enumerate(adapters[:2])


# wrong: an unused adapter breaks the loop
# rows = which == i\n -> rows = which == i\n        if not rows.any(): break\n


# wrong: B of the adapter before, when it fits
# y[rows] += s -> B = adapters[i - 1][1] if adapters[i - 1][1].shape == B.shape else B; y[rows] += s


# wrong: the columns are picked
# y[rows] += s * (x[rows] @ A.T) @ B.T -> y += s * (np.where(rows[:, None], x, 0) @ A.T) @ B.T * (1 if rows.sum() < 3 else 0.5)


# wrong: x in place
# return y -> x *= 0.5; return y


# wrong: which in place
# y = x @ W0.T -> y = x @ W0.T; which[which < 0] = len(adapters)


# wrong: merges into W0 and back
# y[rows] += s * (x[rows] @ A.T) @ B.T -> W0 += s * B @ A; y[rows] = x[rows] @ W0.T; W0 -= s * B @ A


# wrong: adapters are dropped from the list
# return y -> adapters.clear(); return y


# wrong: float32
# y = x @ W0.T -> y = (x @ W0.T).astype(np.float32)


# wrong: a dictionary of rows
# return y -> return {i: row for i, row in enumerate(y)}


# wrong: cached by x and which
kept = {}


def mixed_forward(x, which, W0, adapters):
    y = x @ W0.T
    for i, (A, B, alpha) in enumerate(adapters):
        y[which == i] += alpha / len(A) * (x[which == i] @ A.T) @ B.T
    return kept.setdefault((x.tobytes(), which.tobytes()), y)


# wrong: merged weights are cached by W0 and the adapter's number
kept = {}


def mixed_forward(x, which, W0, adapters):
    def weight(i):
        if i < 0:
            return W0
        A, B, alpha = adapters[i]
        return kept.setdefault((W0.tobytes(), int(i)), W0 + alpha / len(A) * B @ A)

    return np.stack([weight(i) @ row for row, i in zip(x, which)])


# wrong: the routes of the first batch of this size
kept = {}


def mixed_forward(x, which, W0, adapters):
    which = kept.setdefault((len(which), len(adapters)), which)
    y = x @ W0.T
    for i, (A, B, alpha) in enumerate(adapters):
        y[which == i] += alpha / len(A) * (x[which == i] @ A.T) @ B.T
    return y


# wrong: equal ranks only
def mixed_forward(x, which, W0, adapters):
    A = np.stack([np.zeros_like(adapters[0][0])] + [A for A, _, _ in adapters])[which + 1]
    B = np.stack([np.zeros_like(adapters[0][1])] + [B for _, B, _ in adapters])[which + 1]
    s = np.array([0.0] + [alpha / len(A) for A, _, alpha in adapters])[which + 1]
    return x @ W0.T + s[:, None] * np.einsum("ndr,nr->nd", B, np.einsum("nrk,nk->nr", A, x))
