import numpy as np


# right: plain
def linear_backward(dy, x, W):
    dx = dy @ W
    dW = dy.T @ x
    db = dy.sum(axis=0)
    return dx, dW, db


# right: einsum
def linear_backward(dy, x, W):
    return np.einsum("nd,dk->nk", dy, W), np.einsum("nd,nk->dk", dy, x), np.einsum("nd->d", dy)


# right: loops over rows, with outer products
def linear_backward(dy, x, W):
    dx, dW, db = np.zeros_like(x), np.zeros_like(W), np.zeros(W.shape[0], W.dtype)
    for n in range(len(x)):
        dx[n] = W.T @ dy[n]
        dW += np.outer(dy[n], x[n])
        db += dy[n]
    return dx, dW, db


# right: one product for dW and db, with a column of ones
def linear_backward(dy, x, W):
    extended = np.concatenate([x, np.ones((x.shape[0], 1))], axis=1)
    both = np.tensordot(dy, extended, axes=(0, 0))
    return [np.dot(dy, W), both[:, :-1], both[:, -1]]


# wrong: dx with W^T
# dy @ W -> dy @ W.T


# wrong: dW transposed
# dy.T @ x -> x.T @ dy


# wrong: dW averaged
# dy.T @ x -> dy.T @ x / len(dy)


# wrong: db averaged
# dy.sum(axis=0) -> dy.mean(axis=0)


# wrong: everything divided by n
# dx, dW, db\n -> dx / len(x), dW / len(x), db / len(x)\n


# wrong: db over columns
# axis=0 -> axis=1


# wrong: db keeps its row axis
# dy.sum(axis=0) -> dy.sum(axis=0, keepdims=True)


# wrong: db is a number
# dy.sum(axis=0) -> dy.sum()


# wrong: order of the results
# return dx, dW, db -> return dW, dx, db


# wrong: the sign
# dy @ W -> -dy @ W


# wrong: dW from normalised rows
# dy.T @ x -> dy.T @ (x / np.linalg.norm(x, axis=1, keepdims=True))


# wrong: db misses the last row of a batch
# dy.sum(axis=0) -> dy[: max(1, len(dy) - 1)].sum(axis=0)


# wrong: float32 inside
# dy.T @ x -> (dy.astype(np.float32).T @ x.astype(np.float32)).astype(dy.dtype)


# wrong: dx rounded to 6 digits
# dy @ W -> np.round(dy @ W, 6)


# wrong: gradients clipped
# dy.T @ x -> np.clip(dy.T @ x, -5, 5)


# wrong: dy is scaled in place by the batch size and put back inexactly
# db = dy.sum(axis=0) -> db = dy.sum(axis=0); dy /= 3.0; dy *= 3.0


# wrong: x is transposed in place through its shape
# dW = dy.T @ x -> dW = dy.T @ x; x.shape = x.shape[::-1]


# wrong: memoised by x only
cache = {}


def linear_backward(dy, x, W):
    key = x.tobytes()
    if key not in cache:
        cache[key] = dy @ W, dy.T @ x, dy.sum(axis=0)
    return cache[key]


# wrong: memoised by the shapes
cache = {}


def linear_backward(dy, x, W):
    return cache.setdefault((dy.shape, x.shape), (dy @ W, dy.T @ x, dy.sum(axis=0)))


# wrong: the weight of the first call is kept for its shape
weights = {}


def linear_backward(dy, x, W):
    W = weights.setdefault(W.shape, W.copy())
    return dy @ W, dy.T @ x, dy.sum(axis=0)


# wrong: one buffer for all db
buffers = {}


def linear_backward(dy, x, W):
    db = buffers.setdefault(len(W), np.zeros(len(W)))
    db[:] = dy.sum(axis=0)
    return dy @ W, dy.T @ x, db


# wrong: gradients accumulate over calls
total = {}


def linear_backward(dy, x, W):
    total[W.shape] = total.get(W.shape, 0) + dy.T @ x
    return dy @ W, total[W.shape], dy.sum(axis=0)


# wrong: reads memory in C order whatever the layout
def linear_backward(dy, x, W):
    flat = np.ravel(dy, order="K").reshape(dy.shape)
    return flat @ W, flat.T @ x, flat.sum(axis=0)


# wrong: squeezed results
def linear_backward(dy, x, W):
    return np.squeeze(dy @ W), np.squeeze(dy.T @ x), np.squeeze(dy.sum(axis=0))
