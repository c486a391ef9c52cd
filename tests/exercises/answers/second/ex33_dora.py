import numpy as np


# right: the scaled direction
def dora_forward(x, W0, A, B, m, alpha):
    V = W0 + alpha / len(A) * (B @ A)
    return x @ (V * (m / np.sqrt((V**2).sum(axis=1)))[:, None]).T


def dora_backward(dy, x, W0, A, B, m, alpha):
    s = alpha / len(A)
    V = W0 + s * (B @ A)
    length = np.sqrt((V**2).sum(axis=1))
    dz = dy * (m / length)
    dV = dz.T @ x
    return dz @ V, s * B.T @ dV, s * dV @ A.T, (dy * (x @ V.T)).sum(axis=0) / length


# right: outputs scaled, not weights
def dora_forward(x, W0, A, B, m, alpha):
    h = x @ W0.T + (x @ A.T) @ B.T * (alpha / B.shape[1])
    return h * m / np.linalg.norm(W0 + np.dot(B, A) * (alpha / B.shape[1]), axis=1)


def dora_backward(dy, x, W0, A, B, m, alpha):
    s = alpha / B.shape[1]
    lengths = np.linalg.norm(W0 + np.dot(B, A) * s, axis=1)
    h = x @ W0.T + s * (x @ A.T) @ B.T
    g = dy * m / lengths
    dm = np.einsum("nd,nd->d", dy, h / lengths)
    return g @ W0 + s * (g @ B) @ A, s * (g @ B).T @ x, s * g.T @ (x @ A.T), dm


# right: row after row of the weight
def dora_forward(x, W0, A, B, m, alpha):
    columns = []
    for w, b, size in zip(W0, B, m):
        v = w + alpha * (b @ A) / len(A)
        columns.append(x @ v * size / np.hypot.reduce(v))
    return np.stack(columns, axis=1)


def dora_backward(dy, x, W0, A, B, m, alpha):
    dx, dA, dB, dm = np.zeros(x.shape), np.zeros(A.shape), np.zeros(B.shape), np.zeros(m.shape)
    for i in range(len(W0)):
        v = W0[i] + alpha * (B[i] @ A) / len(A)
        unit = v / np.hypot.reduce(v)
        dm[i] = dy[:, i] @ (x @ unit)
        dx += np.outer(dy[:, i], m[i] * unit)
        dv = m[i] / np.hypot.reduce(v) * (dy[:, i] @ x)
        dA += alpha / len(A) * np.outer(B[i], dv)
        dB[i] = alpha / len(A) * A @ dv
    return dx, dA, dB, dm


# right: a diagonal matrix
def dora_forward(x, W0, A, B, m, alpha):
    V = np.add(W0, np.einsum("dr,rk->dk", B, A) * alpha / A.shape[0])
    return x @ V.T @ np.diag(m / np.sqrt(np.diag(V @ V.T)))


def dora_backward(dy, x, W0, A, B, m, alpha):
    V = np.add(W0, np.einsum("dr,rk->dk", B, A) * alpha / A.shape[0])
    inverse = np.diag(1 / np.sqrt(np.diag(V @ V.T)))
    scale = np.diag(m) @ inverse
    dV = scale @ dy.T @ x * (alpha / A.shape[0])
    return dy @ scale @ V, B.T @ dV, dV @ A.T, np.diag(dy.T @ x @ V.T @ inverse).copy()


# wrong: the columns' lengths
# return x @ (V * (m / np.sqrt((V**2).sum(axis=1)))[:, None]).T -> return x @ (m[:, None] * V / np.sqrt((V**2).sum(axis=0))).T


# wrong: the length of the whole
# np.sqrt((V**2).sum(axis=1)) -> np.sqrt((V**2).sum() + 0 * V[:, 0])


# wrong: the lengths of W0
# np.sqrt((V**2).sum(axis=1)) -> np.sqrt((W0**2).sum(axis=1))


# wrong: lengths without the root
# np.sqrt((V**2).sum(axis=1)) -> (V**2).sum(axis=1)


# wrong: the sum of magnitudes
# np.sqrt((V**2).sum(axis=1)) -> np.abs(V).sum(axis=1)


# wrong: a little below the line
# np.sqrt((V**2).sum(axis=1)) -> (np.sqrt((V**2).sum(axis=1)) + 1e-6)


# wrong: m without its sign
# m / -> np.abs(m) /


# wrong: the gradient flows through the lengths
# dV = dz.T @ x -> dV = dz.T @ x\n    dV = dV - (dV * V).sum(axis=1, keepdims=True) * V / (length**2)[:, None]


# wrong: dm without the length
# .sum(axis=0) / length -> .sum(axis=0)


# wrong: dm by W0
# (x @ V.T) -> (x @ W0.T)


# wrong: dm by y
# (x @ V.T) -> (x @ V.T * (m / length))


# wrong: dm a mean
# .sum(axis=0) / length -> .mean(axis=0) / length


# wrong: dx by V without m
# return dz @ V -> return dy / length @ V


# wrong: dx by W0
# return dz @ V -> return dz @ W0


# wrong: dA without m over the length
# s * B.T @ dV -> s * B.T @ dy.T @ x


# wrong: dB without the scale
# s * dV @ A.T -> dV @ A.T


# wrong: whole-number division
# alpha / len(A) -> alpha // len(A)


# wrong: the smaller side is the rank
# alpha / len(A) -> alpha / min(A.shape)


# wrong: nothing for A while B is zero, nor for B
# s * dV @ A.T -> s * dV @ A.T * bool(B.any())


# wrong: B's gradient transposed when square
# s * dV @ A.T, -> ((s * dV @ A.T).T if B.shape[0] == B.shape[1] else s * dV @ A.T),


# wrong: W0 in place
# return x @ (V * -> W0 += 0 * W0 + 1e-12\n    return x @ (V *


# wrong: the lengths of the first call of a shape
# dz = dy * (m / length) -> length = KEPT.setdefault(V.shape, length)\n    dz = dy * (m / length)
# def dora_forward -> KEPT = {}\n\n\ndef dora_forward
