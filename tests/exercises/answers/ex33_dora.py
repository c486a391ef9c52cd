import numpy as np


# right: as the text
def dora_forward(x, W0, A, B, m, alpha):
    s = alpha / len(A)
    V = W0 + s * (B @ A)
    n = np.linalg.norm(V, axis=1, keepdims=True)
    W = m[:, None] * V / n
    return x @ W.T


def dora_backward(dy, x, W0, A, B, m, alpha):
    scale = alpha / len(A)
    V = W0 + scale * (B @ A)
    n = np.linalg.norm(V, axis=1, keepdims=True)
    dW = dy.T @ x
    dV = m[:, None] * dW / n
    dx = dy @ (m[:, None] * V / n)
    dm = (dW * V / n).sum(axis=1)
    return dx, scale * B.T @ dV, scale * dV @ A.T, dm


# right: as PEFT, on the outputs
def dora_forward(x, W0, A, B, m, alpha):
    s = alpha / A.shape[0]
    size = np.sqrt(np.einsum("dk,dk->d", W0 + s * B @ A, W0 + s * B @ A))
    return (m / size) * (x @ W0.T + s * (x @ A.T) @ B.T)


def dora_backward(dy, x, W0, A, B, m, alpha):
    s = alpha / A.shape[0]
    V = W0 + s * B @ A
    size = np.sqrt(np.einsum("dk,dk->d", V, V))
    g = dy * (m / size)
    z = x @ A.T
    dx = g @ W0 + s * (g @ B) @ A
    return [dx, s * (g @ B).T @ x, s * g.T @ z, np.sum(dy * (x @ V.T), axis=0) / size]


# right: row by row
def dora_forward(x, W0, A, B, m, alpha):
    rows = []
    for i in range(len(W0)):
        v = W0[i] + alpha / len(A) * sum(B[i, j] * A[j] for j in range(len(A)))
        rows.append(x @ v * (m[i] / np.sqrt(v @ v)))
    return np.stack(rows, axis=1)


def dora_backward(dy, x, W0, A, B, m, alpha):
    s = alpha / len(A)
    dx, dA, dB, dm = (np.zeros(a.shape) for a in (x, A, B, m))
    for i in range(len(W0)):
        v = W0[i] + s * B[i] @ A
        length = np.sqrt(v @ v)
        dw = dy[:, i] @ x
        dx += np.outer(dy[:, i], v) * m[i] / length
        dv = dw * m[i] / length
        dA += s * np.outer(B[i], dv)
        dB[i] = s * A @ dv
        dm[i] = dw @ v / length
    return dx, dA, dB, dm


# right: diagonal matrices
def dora_forward(x, W0, A, B, m, alpha):
    V = W0 + (alpha / B.shape[1]) * B.dot(A)
    return x @ V.T @ np.diag(m / np.linalg.norm(V, 2, axis=1))


def dora_backward(dy, x, W0, A, B, m, alpha):
    s = alpha / B.shape[1]
    V = W0 + s * B.dot(A)
    inverse = np.diag((V * V).sum(1) ** -0.5)
    M = np.diag(m) @ inverse
    dV = M @ dy.T @ x
    return dy @ M @ V, s * np.dot(B.T, dV), s * np.dot(dV, A.T), np.diag(inverse @ dy.T @ x @ V.T).copy()


# wrong: dm from y / m, where m may be 0
# dm = (dW * V / n).sum(axis=1) -> dm = (dy * (x @ (m[:, None] * V / n).T)).sum(axis=0) / m


# wrong: lengths to three digits
# W = m[:, None] * V / n -> W = m[:, None] * V / np.round(n, 3)


# wrong: m by its first row's sign
# W = m[:, None] * V / n -> W = np.abs(m)[:, None] * np.sign(m[0]) * V / n


# wrong: lengths over the rank
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, axis=1, keepdims=True) -> V = W0 + s * (B @ A)\n    n = np.sqrt((W0**2).sum(axis=1, keepdims=True) + ((s * B @ A) ** 2).sum(axis=1, keepdims=True))


# wrong: dA without the negative scale
# scale * B.T @ dV -> abs(scale) * B.T @ dV


# wrong: lengths of columns
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, axis=1, keepdims=True) -> V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, axis=0, keepdims=True)


# wrong: m along the columns, where it fits
# W = m[:, None] * V / n -> W = (m[None] if V.shape[0] == V.shape[1] else m[:, None]) * V / n


# wrong: lengths of W0
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V -> V = W0 + s * (B @ A)\n    n = np.linalg.norm(W0


# wrong: lengths of the update
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, -> V = W0 + s * (B @ A)\n    n = 1e-9 + np.linalg.norm(B @ A,


# wrong: lengths without s
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V -> V = W0 + s * (B @ A)\n    n = np.linalg.norm(W0 + B @ A


# wrong: the whole length
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, axis=1, keepdims=True) -> V = W0 + s * (B @ A)\n    n = np.linalg.norm(V)


# wrong: the sum of magnitudes
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, -> V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, 1,


# wrong: the largest magnitude
# V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, -> V = W0 + s * (B @ A)\n    n = np.linalg.norm(V, np.inf,


# wrong: squared
# W = m[:, None] * V / n -> W = m[:, None] * V / n**2


# wrong: root mean square
# W = m[:, None] * V / n -> W = m[:, None] * V / n * np.sqrt(V.shape[1])


# wrong: an epsilon
# W = m[:, None] * V / n -> W = m[:, None] * V / (n + 1e-3)


# wrong: not normalised
# W = m[:, None] * V / n -> W = m[:, None] * V


# wrong: m is left out
# W = m[:, None] * V / n -> W = V / n


# wrong: the magnitude of m
# W = m[:, None] * V / n -> W = np.abs(m)[:, None] * V / n


# wrong: m added
# W = m[:, None] * V / n -> W = V / n + m[:, None]


# wrong: W0 and a normalised update
# W = m[:, None] * V / n -> W = W0 + m[:, None] * (s * B @ A) / n


# wrong: only the update scaled by m
# return x @ W.T -> return x @ W0.T + x @ (W - m[:, None] * W0 / n).T


# wrong: no scale
# s = alpha / len(A)\n -> s = 1\n


# wrong: alpha
# s = alpha / len(A)\n -> s = alpha\n


# wrong: the root of the rank
# s = alpha / len(A)\n -> s = alpha / np.sqrt(len(A))\n


# wrong: a whole scale
# s = alpha / len(A)\n -> s = alpha // len(A)\n


# wrong: alpha / d
# s = alpha / len(A)\n -> s = alpha / len(B)\n


# wrong: backward without a scale
# scale = alpha / len(A) -> scale = 1.0


# wrong: the scale only in V
# scale * B.T @ dV, scale * dV @ A.T -> B.T @ dV, dV @ A.T


# wrong: the scale twice
# scale * B.T @ dV, scale * dV @ A.T -> scale**2 * B.T @ dV, scale**2 * dV @ A.T


# wrong: the full gradient, through the length
# dV = m[:, None] * dW / n -> dV = m[:, None] * (dW - (dW * V).sum(axis=1, keepdims=True) * V / n**2) / n


# wrong: the length held constant for B only
# scale * B.T @ dV -> scale * B.T @ (dV - (dV * V).sum(axis=1, keepdims=True) * V / n**2)


# wrong: dm through the length as well
# dm = (dW * V / n).sum(axis=1) -> dm = (dW * V / n).sum(axis=1) * (1 - 1 / n[:, 0])


# wrong: dV without m
# dV = m[:, None] * dW / n -> dV = dW / n


# wrong: dV without the length
# dV = m[:, None] * dW / n -> dV = m[:, None] * dW


# wrong: plain LoRA's gradients
# dV = m[:, None] * dW / n -> dV = dW


# wrong: dm without the length
# dm = (dW * V / n) -> dm = (dW * V)


# wrong: dm with m
# dm = (dW * V / n).sum(axis=1) -> dm = m * (dW * V / n).sum(axis=1)


# wrong: dm with W0
# dm = (dW * V / n) -> dm = (dW * W0 / n)


# wrong: dm is a mean
# dm = (dW * V / n).sum(axis=1) -> dm = (dW * V / n).mean(axis=1)


# wrong: dm of the whole
# dm = (dW * V / n).sum(axis=1) -> dm = np.full(m.shape, (dW * V / n).sum())


# wrong: dm keeps an axis
# .sum(axis=1)\n    return -> .sum(axis=1, keepdims=True)\n    return


# wrong: dx by V
# dx = dy @ (m[:, None] * V / n) -> dx = dy @ V


# wrong: dx by W0
# dx = dy @ (m[:, None] * V / n) -> dx = dy @ (m[:, None] * W0 / n)


# wrong: dx without m
# dx = dy @ (m[:, None] * V / n) -> dx = dy @ (V / n)


# wrong: means over the rows
# dW = dy.T @ x -> dW = dy.T @ x / len(x)


# wrong: the first row only
# dW = dy.T @ x -> dW = dy[:1].T @ x[:1]


# wrong: dA and dB swapped
# return dx, scale * B.T @ dV, scale * dV @ A.T, dm -> return dx, scale * dV @ A.T, scale * B.T @ dV, dm


# wrong: dm before dA
# return dx, scale * B.T @ dV, scale * dV @ A.T, dm -> return dx, dm, scale * B.T @ dV, scale * dV @ A.T


# wrong: half precision
# x @ W.T -> (x.astype("f2") @ W.T.astype("f2")).astype(x.dtype)


# wrong: W0 becomes V
# V = W0 + s * (B @ A)\n -> V = W0\n    V += s * (B @ A)\n


# wrong: m is normalised in place
# dV = m[:, None] * dW / n -> m /= n[:, 0]\n    dV = m[:, None] * dW\n    n, m = np.ones_like(n), m


# wrong: the lengths of the first V of a shape
kept = {}


def dora_forward(x, W0, A, B, m, alpha):
    V = W0 + alpha / len(A) * (B @ A)
    n = kept.setdefault(W0.tobytes(), np.linalg.norm(V, axis=1, keepdims=True))
    return x @ (m[:, None] * V / n).T


def dora_backward(dy, x, W0, A, B, m, alpha):
    s = alpha / len(A)
    V = W0 + s * (B @ A)
    n = np.linalg.norm(V, axis=1, keepdims=True)
    dW = dy.T @ x
    dV = m[:, None] * dW / n
    return dy @ (m[:, None] * V / n), s * B.T @ dV, s * dV @ A.T, (dW * V / n).sum(axis=1)


# wrong: V of the last forward
kept = {}


def dora_forward(x, W0, A, B, m, alpha):
    kept["V"] = V = W0 + alpha / len(A) * (B @ A)
    return x @ (m[:, None] * V / np.linalg.norm(V, axis=1, keepdims=True)).T


def dora_backward(dy, x, W0, A, B, m, alpha):
    s, V = alpha / len(A), kept["V"]
    n = np.linalg.norm(V, axis=1, keepdims=True)
    dW = dy.T @ x
    dV = m[:, None] * dW / n
    return dy @ (m[:, None] * V / n), s * B.T @ dV, s * dV @ A.T, (dW * V / n).sum(axis=1)
