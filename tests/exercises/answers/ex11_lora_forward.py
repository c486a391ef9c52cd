import numpy as np


# right: equation 3
def lora_forward(x, W0, A, B, alpha):
    base = x @ W0.T
    s = alpha / A.shape[0]
    return base + s * (x @ A.T @ B.T)


# right: merged first
def lora_forward(x, W0, A, B, alpha):
    W = W0 + (alpha / B.shape[1]) * np.dot(B, A)
    return np.einsum("nk,dk->nd", x, W)


# right: a sum over rank-one terms
def lora_forward(x, W0, A, B, alpha):
    h = np.matmul(W0, x.T).T
    for a, b in zip(A, B.T):
        h = h + np.outer(x @ a, alpha * b / len(A))
    return h


# right: stacked matrices
def lora_forward(x, W0, A, B, alpha):
    r = len(A)
    z = np.hstack([x, x @ A.T * (alpha / r)])
    return z @ np.hstack([W0, B]).T


# wrong: no scale
# s * (x -> 1 * (x


# wrong: scale twice
# base + s * -> base + s**2 *


# wrong: alpha
# alpha / A.shape[0] -> alpha


# wrong: 1 / r
# alpha / A.shape[0] -> 1 / A.shape[0]


# wrong: r / alpha
# alpha / A.shape[0] -> A.shape[0] / alpha


# wrong: rsLoRA
# alpha / A.shape[0] -> alpha / A.shape[0] ** 0.5


# wrong: whole-number division
# alpha / A.shape[0] -> alpha // A.shape[0]


# wrong: k for r
# A.shape[0] -> A.shape[1]


# wrong: d for r
# A.shape[0] -> B.shape[0]


# wrong: min(r, k) for r
# A.shape[0] -> min(A.shape)


# wrong: at least 1
# alpha / A.shape[0] -> max(1.0, alpha / A.shape[0])


# wrong: |alpha|
# alpha / A.shape[0] -> abs(alpha) / A.shape[0]


# wrong: alpha 0 is "not given"
# alpha / A.shape[0] -> (alpha or A.shape[0]) / A.shape[0]


# wrong: int(alpha)
# alpha / A.shape[0] -> int(alpha) / A.shape[0]


# wrong: no base
# base + -> 0 * base +


# wrong: base scaled too
# base + s * (x @ A.T @ B.T) -> s * (base + x @ A.T @ B.T)


# wrong: W0 not transposed
# W0.T -> W0


# wrong: only the first direction
# A.T @ B.T -> A[:1].T @ B[:, :1].T


# wrong: minus
# base + -> base -


# wrong: applied to the base's output if it fits
# base + s * (x @ A.T @ B.T) -> base + s * ((base if W0.shape[0] == W0.shape[1] else x) @ A.T @ B.T)


# wrong: a single row comes back as a vector
# return base + s * (x @ A.T @ B.T) -> h = base + s * (x @ A.T @ B.T); return h[0] if len(h) == 1 else h


# wrong: float32
# base = -> x, A, B = (a.astype(np.float32) for a in (x, A, B)); base =


# wrong: transposed result
# return base + s * (x @ A.T @ B.T) -> return (base + s * (x @ A.T @ B.T)).T


# wrong: merges into W0
def lora_forward(x, W0, A, B, alpha):
    W0 += alpha / len(A) * B @ A
    return x @ W0.T


# wrong: merges into W0 and takes it off again
def lora_forward(x, W0, A, B, alpha):
    W0 += alpha / len(A) * B @ A
    h = x @ W0.T
    W0 -= alpha / len(A) * B @ A
    return h


# wrong: the merged weight is cached by W0
merged = {}


def lora_forward(x, W0, A, B, alpha):
    return x @ merged.setdefault(W0.tobytes(), W0 + alpha / len(A) * B @ A).T


# wrong: the update is cached by A and B, not alpha
updates = {}


def lora_forward(x, W0, A, B, alpha):
    return x @ (W0 + updates.setdefault((A.tobytes(), B.tobytes()), alpha / len(A) * B @ A)).T


# wrong: one output buffer
out = {}


def lora_forward(x, W0, A, B, alpha):
    h = out.setdefault((len(x), len(W0)), np.zeros((len(x), len(W0))))
    np.add(x @ W0.T, alpha / len(A) * (x @ A.T) @ B.T, out=h)
    return h


# wrong: dropout that nobody asked for
def lora_forward(x, W0, A, B, alpha):
    keep = np.random.random(x.shape) > 0.1
    return x @ W0.T + alpha / len(A) * ((x * keep / 0.9) @ A.T) @ B.T
