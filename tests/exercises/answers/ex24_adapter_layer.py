import numpy as np


# right: two lines each
def adapter_forward(h, D, b, U, c):
    z = h @ D.T + b
    return h + np.maximum(z, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    slope = h @ D.T + b > 0
    return dy + (dy @ U * slope) @ D


# right: einsum and where
def adapter_forward(h, D, b, U, c):
    z = np.einsum("nk,mk->nm", h, D) + b
    return np.einsum("nm,km->nk", np.where(z > 0, z, 0), U) + c + h


def adapter_backward(dy, h, D, b, U):
    z = np.einsum("nk,mk->nm", h, D) + b
    dz = np.where(z > 0, np.einsum("nk,km->nm", dy, U), 0)
    return np.einsum("nm,mk->nk", dz, D) + dy


# right: row by row, with a Jacobian
def adapter_forward(h, D, b, U, c):
    return np.stack([row + c + U @ (D @ row + b).clip(0) for row in h])


def adapter_backward(dy, h, D, b, U):
    rows = []
    for d, row in zip(dy, h):
        gates = np.diag((D @ row + b > 0).astype(float))
        rows.append((np.eye(len(row)) + U @ gates @ D).T @ d)
    return np.stack(rows)


# right: (z + |z|) / 2
def adapter_forward(h, D, b, U, c):
    z = b + np.dot(h, D.transpose())
    return np.dot((z + abs(z)) / 2, U.transpose()) + (h + c)


def adapter_backward(dy, h, D, b, U):
    z = b + np.dot(h, D.transpose())
    return dy + np.dot(np.dot(dy, U) * (np.sign(z) + 1) / 2, D)


# wrong: no skip
# return h + np.maximum -> return np.maximum


# wrong: no nonlinearity
# np.maximum(z, 0) -> z


# wrong: leaky
# np.maximum(z, 0) -> np.maximum(z, 0.01 * z)


# wrong: GELU
# np.maximum(z, 0) -> 0.5 * z * (1 + np.tanh(0.7978845608 * (z + 0.044715 * z**3)))


# wrong: |z|
# np.maximum(z, 0) -> abs(z)


# wrong: relu at the end
# return h + np.maximum(z, 0) @ U.T + c -> return np.maximum(h + z @ U.T + c, 0)


# wrong: relu twice
# return h + np.maximum(z, 0) @ U.T + c -> return h + np.maximum(np.maximum(z, 0) @ U.T + c, 0)


# wrong: no b
# z = h @ D.T + b -> z = h @ D.T


# wrong: b after relu
# z = h @ D.T + b\n    return h + np.maximum(z, 0) -> z = h @ D.T\n    return h + (np.maximum(z, 0) + b)


# wrong: minus b
# z = h @ D.T + b -> z = h @ D.T - b


# wrong: no c
# @ U.T + c -> @ U.T


# wrong: c inside the bottleneck's sum twice
# @ U.T + c -> @ U.T + 2 * c


# wrong: the skip twice
# return h + np.maximum -> return 2 * h + np.maximum


# wrong: relu6
# np.maximum(z, 0) -> np.clip(z, 0, 6)


# wrong: backward without the skip
# return dy + (dy @ U -> return (dy @ U


# wrong: backward without the slope
#  * slope) -> )


# wrong: slope without b
# slope = h @ D.T + b > 0 -> slope = h @ D.T > 0


# wrong: slope upside down
# + b > 0 -> + b < 0


# wrong: slope of the output gradient
# slope = h @ D.T + b > 0 -> slope = dy @ U > 0


# wrong: relu's value for its slope
# slope = h @ D.T + b > 0 -> slope = np.maximum(h @ D.T + b, 0)


# wrong: slope of a leaky relu
# slope = h @ D.T + b > 0 -> slope = np.where(h @ D.T + b > 0, 1, 0.01)


# wrong: slope of the first row for all
# slope = h @ D.T + b > 0 -> slope = h[:1] @ D.T + b > 0


# wrong: slope where all are open
# slope = h @ D.T + b > 0 -> slope = (h @ D.T + b > 0).all(axis=1, keepdims=True)


# wrong: U and D swapped when they fit
# (dy @ U * slope) @ D -> (dy @ (D.T if D.T.shape == U.shape else U) * slope) @ (U.T if D.T.shape == U.shape else D)


# wrong: dh of the output, not the input
# return dy + (dy @ U * slope) @ D -> return h + (dy @ U * slope) @ D


# wrong: mean over the rows
# return dy + (dy @ U * slope) @ D -> return (dy + (dy @ U * slope) @ D) / len(dy)


# wrong: h in place
# return h + np.maximum(z, 0) @ U.T + c -> h += np.maximum(z, 0) @ U.T + c; return h


# wrong: dy in place
# return dy + (dy @ U * slope) @ D -> dy += (dy @ U * slope) @ D; return dy


# wrong: only the forward
# return dy + (dy @ U * slope) @ D -> return np.zeros_like(dy)


# wrong: the mask of the last forward
saved = {}


def adapter_forward(h, D, b, U, c):
    z = h @ D.T + b
    saved["mask"] = z > 0
    return h + np.maximum(z, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    return dy + (dy @ U * saved["mask"]) @ D


# wrong: the mask of the last forward, where it fits
saved = {}


def adapter_forward(h, D, b, U, c):
    z = h @ D.T + b
    saved[z.shape] = z > 0
    return h + np.maximum(z, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    mask = saved.get((len(h), len(D)), h @ D.T + b > 0)
    return dy + (dy @ U * mask) @ D


# wrong: the mask is cached by h
saved = {}


def adapter_forward(h, D, b, U, c):
    return h + np.maximum(h @ D.T + b, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    mask = saved.setdefault((h.tobytes(), len(D)), h @ D.T + b > 0)
    return dy + (dy @ U * mask) @ D


# wrong: D of the first forward
saved = {}


def adapter_forward(h, D, b, U, c):
    D = saved.setdefault(D.shape, D)
    return h + np.maximum(h @ D.T + b, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    return dy + (dy @ U * (h @ D.T + b > 0)) @ D
