import numpy as np


# right: sums over the rows written as contractions
def linear_backward(dy, x, W):
    dx = np.einsum("nd,dk->nk", dy, W)
    dW = np.einsum("nd,nk->dk", dy, x)
    db = np.einsum("nd->d", dy)
    return dx, dW, db


# right: plain Python numbers, summed one by one
def linear_backward(dy, x, W):
    n, d = len(dy), len(W)
    k = len(W[0])
    dx = [[sum(float(dy[i, o]) * float(W[o, j]) for o in range(d)) for j in range(k)] for i in range(n)]
    dW = [[sum(float(dy[i, o]) * float(x[i, j]) for i in range(n)) for j in range(k)] for o in range(d)]
    db = [sum(float(dy[i, o]) for i in range(n)) for o in range(d)]
    return np.array(dx).reshape(n, k), np.array(dW).reshape(d, k), np.array(db)


# right: the bias as one more column of ones, everything transposed
def linear_backward(dy, x, W):
    extended = np.hstack([x, np.ones((x.shape[0], 1))])
    both = np.dot(extended.T, dy)
    return np.dot(W.T, dy.T).T, both[:-1].T, both[-1]


# right: row after row, accumulated
def linear_backward(dy, x, W):
    dW, db, dx = np.zeros(W.shape), np.zeros(W.shape[0]), np.empty(x.shape)
    for row, (g, a) in enumerate(zip(dy, x)):
        dW += np.outer(g, a)
        db += g
        dx[row] = W.T.dot(g)
    return dx, dW, db


# wrong: turns dW round until the shape fits, which a square W does not notice
def linear_backward(dy, x, W):
    dW = x.T @ dy
    if dW.shape != W.shape:
        dW = dW.T
    return dy @ W, dW, dy.sum(0)


# wrong: tries W^T first, which fits when W is square
def linear_backward(dy, x, W):
    try:
        dx = dy @ W.T
    except ValueError:
        dx = dy @ W
    return dx, dy.T @ x, dy.sum(0)


# wrong: the sum over the rows is taken over the axis of length n, the last one when n = d
def linear_backward(dy, x, W):
    axis = 1 if dy.shape[1] == len(x) else 0
    return dy @ W, dy.T @ x, dy.sum(axis)


# wrong: the weight's gradient adds up from call to call
totals = {}


def linear_backward(dy, x, W):
    totals[W.shape] = totals.get(W.shape, 0) + dy.T @ x
    return dy @ W, totals[W.shape].copy(), dy.sum(0)


# wrong: a mutable default keeps the first bias gradient
def linear_backward(dy, x, W, seen={}):
    db = seen.setdefault(len(W), dy.sum(0))
    return dy @ W, dy.T @ x, db


# wrong: dx written into x
def linear_backward(dy, x, W):
    dW, db = dy.T @ x, dy.sum(0)
    x[...] = dy @ W
    return x, dW, db


# wrong: small gradients count as none
# dW = np.einsum("nd,nk->dk", dy, x) -> dW = np.einsum("nd,nk->dk", dy, x)\n    dW[np.abs(dW) < 1e-3] = 0.0


# wrong: rounded for display
# return dx, dW, db -> return np.round(dx, 6), np.round(dW, 6), np.round(db, 6)


# wrong: single precision for speed
# return dx, dW, db -> return tuple((g.astype(np.float32)).astype(float) for g in (dx, dW, db))


# wrong: db keeps the batch axis
# db = np.einsum("nd->d", dy) -> db = dy.sum(0, keepdims=True)


# wrong: squeezes a batch of one away
# return dx, dW, db -> return np.squeeze(dx), dW, db


# wrong: the gradient per example
# return dx, dW, db -> return dx, dW / len(x), db / len(x)


# wrong: the last row is left out of db
# db = np.einsum("nd->d", dy) -> db = np.add.reduceat(dy, [0, max(len(dy) - 1, 1)] if len(dy) > 1 else [0], axis=0)[0]


# wrong: the bias gradient without its sign
# db = np.einsum("nd->d", dy) -> db = np.abs(dy.sum(0))


# wrong: reads the memory of W as if it were row after row
# dx = np.einsum("nd,dk->nk", dy, W) -> dx = dy @ W.ravel(order="K").reshape(W.shape)


# wrong: a list, not three results
# return dx, dW, db -> return dx, dW, db, None
