import numpy as np


# right: formulas
def adapter_forward(h, D, b, U, c):
    return h + np.maximum(h @ D.T + b, 0) @ U.T + c


def adapter_backward(dy, h, D, b, U):
    return dy + (dy @ U * (h @ D.T + b > 0)) @ D


# right: columns as vectors, relu as a mean
def adapter_forward(h, D, b, U, c):
    z = D @ h.T + b[:, None]
    return (h.T + U @ ((z + np.abs(z)) / 2) + c[:, None]).T


def adapter_backward(dy, h, D, b, U):
    open_ = np.sign(np.maximum(D @ h.T + b[:, None], 0))
    return (dy.T + D.T @ (open_ * (U.T @ dy.T))).T


# right: the Jacobian of each row
def adapter_forward(h, D, b, U, c):
    z = np.einsum("nk,mk->nm", h, D) + b
    return h + c + np.einsum("nm,km->nk", np.where(z > 0, z, 0.0), U)


def adapter_backward(dy, h, D, b, U):
    rows = []
    for g, x in zip(dy, h):
        J = np.eye(len(x)) + (U * np.heaviside(D @ x + b, 0.0)) @ D
        rows.append(J.T @ g)
    return np.array(rows).reshape(h.shape)


# right: unit by unit
def adapter_forward(h, D, b, U, c):
    y = np.tile(c, (len(h), 1)) + h
    for down, bias, up in zip(D, b, U.T):
        y += np.outer((h @ down + bias).clip(min=0), up)
    return y


def adapter_backward(dy, h, D, b, U):
    dh = np.array(dy, dtype=float)
    for down, bias, up in zip(D, b, U.T):
        dh += np.outer(np.where(h @ down + bias > 0, dy @ up, 0), down)
    return dh


# wrong: no skip in the forward
# return h + np -> return np


# wrong: no skip in the backward
# return dy + ( -> return (


# wrong: no c
# @ U.T + c -> @ U.T


# wrong: no b in the forward
# np.maximum(h @ D.T + b, 0) -> np.maximum(h @ D.T, 0)


# wrong: no b in the backward
# (h @ D.T + b > 0) -> (h @ D.T > 0)


# wrong: b after the nonlinearity
# np.maximum(h @ D.T + b, 0) -> (np.maximum(h @ D.T, 0) + b)


# wrong: no nonlinearity
# np.maximum(h @ D.T + b, 0) -> (h @ D.T + b)


# wrong: the absolute value
# np.maximum(h @ D.T + b, 0) -> np.abs(h @ D.T + b)


# wrong: a leak
# np.maximum(h @ D.T + b, 0) -> np.maximum(h @ D.T + b, 0.01 * (h @ D.T + b))


# wrong: at most 6
# np.maximum(h @ D.T + b, 0) -> np.clip(h @ D.T + b, 0, 6)


# wrong: the nonlinearity around everything
# return h + np.maximum(h @ D.T + b, 0) @ U.T + c -> return np.maximum(h + (h @ D.T + b) @ U.T + c, 0)


# wrong: a slope everywhere
# * (h @ D.T + b > 0) -> 


# wrong: the slope is the value
# (h @ D.T + b > 0) -> np.maximum(h @ D.T + b, 0)


# wrong: the slope by the gradient's sign
# (h @ D.T + b > 0) -> (dy @ U > 0)


# wrong: the slope's sign turned
# (h @ D.T + b > 0) -> (h @ D.T + b < 0)


# wrong: open only from 0.01 on
# (h @ D.T + b > 0) -> (h @ D.T + b > 0.01)


# wrong: units that are open for every row
# (h @ D.T + b > 0) -> (h @ D.T + b > 0).all(0)


# wrong: the mask of the last forward
# return h + np.maximum -> LAST[(len(h), len(b))] = h @ D.T + b\n    return h + np.maximum
# (h @ D.T + b > 0) -> (LAST.get((len(h), len(b)), h @ D.T + b) > 0)
# def adapter_forward -> LAST = {}\n\n\ndef adapter_forward


# wrong: square factors the wrong way round
# @ U.T -> @ (U if len(D) == len(U) else U.T)


# wrong: square factors the wrong way round in the backward
# dy @ U * -> dy @ (U.T if len(D) == len(U) else U) *


# wrong: square D the wrong way round at the end
# ) @ D -> ) @ (D.T if len(D) == len(U) else D)


# wrong: writes into dy
# return dy + ( -> dy += (
# ) @ D -> ) @ D\n    return dy


# wrong: writes into h
# return h + np.maximum(h @ D.T + b, 0) @ U.T + c -> h += np.maximum(h @ D.T + b, 0) @ U.T + c\n    return h


# wrong: one row becomes a vector
# return h + np.maximum(h @ D.T + b, 0) @ U.T + c -> return np.squeeze(h + np.maximum(h @ D.T + b, 0) @ U.T + c)


# wrong: the gradient of h is averaged
# return dy + ( -> return dy + 1 / len(h) * (


# wrong: b is added along the rows when there are as many
# np.maximum(h @ D.T + b, 0) -> np.maximum(h @ D.T + (b[:, None] if len(b) == len(h) else b), 0)


# wrong: the forward is remembered by h
# return h + np.maximum(h @ D.T + b, 0) @ U.T + c -> return SEEN.setdefault(h.tobytes(), h + np.maximum(h @ D.T + b, 0) @ U.T + c).copy()
# def adapter_forward -> SEEN = {}\n\n\ndef adapter_forward


# wrong: single precision
# np.maximum(h @ D.T + b, 0) -> np.maximum(h @ D.T + b, 0).astype(np.float32)
