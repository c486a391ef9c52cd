import numpy as np


# right: three products
def lora_backward(dy, x, W0, A, B, alpha):
    s = alpha / A.shape[0]
    dx = dy @ W0 + s * dy @ B @ A
    dA = s * B.T @ dy.T @ x
    dB = s * dy.T @ x @ A.T
    return dx, dA, dB


# right: the middle by name
def lora_backward(dy, x, W0, A, B, alpha):
    s = alpha / len(A)
    z = np.dot(x, A.T)
    dz = s * np.dot(dy, B)
    return np.dot(dy, W0) + np.dot(dz, A), np.dot(dz.T, x), s * np.dot(dy.T, z)


# right: from the gradient of the merged weight
def lora_backward(dy, x, W0, A, B, alpha):
    s, dW = alpha / B.shape[1], np.einsum("nd,nk->dk", dy, x)
    return dy @ (W0 + s * B @ A), s * np.einsum("dr,dk->rk", B, dW), s * np.einsum("dk,rk->dr", dW, A)


# right: row by row
def lora_backward(dy, x, W0, A, B, alpha):
    s = alpha / len(A)
    dx, dA, dB = np.zeros(x.shape), np.zeros(A.shape), np.zeros(B.shape)
    for n in range(x.shape[0]):
        dz = s * (B.T @ dy[n])
        dx[n] = W0.T @ dy[n] + A.T @ dz
        dA += dz[:, None] * x[n]
        dB += s * dy[n][:, None] * (A @ x[n])
    return dx, dA, dB


# wrong: scale missing in all
# s = alpha / A.shape[0] -> s = 1.0


# wrong: scale missing in dx
# + s * dy @ B @ A -> + dy @ B @ A


# wrong: scale missing in dA
# dA = s * -> dA = 


# wrong: scale missing in dB
# dB = s * -> dB = 


# wrong: scale squared in dB
# dB = s * -> dB = s**2 * 


# wrong: alpha
# alpha / A.shape[0] -> alpha


# wrong: k for r
# A.shape[0] -> A.shape[1]


# wrong: alpha / sqrt(r)
# A.shape[0] -> A.shape[0] ** 0.5


# wrong: no base in dx
# dy @ W0 + ->


# wrong: base only in dx
#  + s * dy @ B @ A ->


# wrong: base scaled
# dy @ W0 + -> s * dy @ W0 +


# wrong: means
# return dx, dA, dB -> return dx, dA / len(x), dB / len(x)


# wrong: transposed
# return dx, dA, dB -> return dx, dA.T, dB.T


# wrong: dA and dB swapped
# return dx, dA, dB -> return dx, dB, dA


# wrong: dW0 returned too
# return dx, dA, dB -> return dx, dy.T @ x, dA, dB


# wrong: dB without A
# dy.T @ x @ A.T -> dy.T @ x @ np.ones_like(A.T)


# wrong: dA from the updated B
# dA = s * B.T -> dA = s * (B - s * dy.T @ x @ A.T).T


# wrong: scale int
# alpha / A.shape[0] -> float(int(alpha / A.shape[0]))


# wrong: the sign
# dB = s -> dB = -s


# wrong: dy in place
# dx = -> dy *= s; dy /= s or 1; dx =


# wrong: float32
# s = -> x = x.astype(np.float32); s =


# wrong: alpha 0 gives the base
# s = alpha / A.shape[0] -> s = alpha / A.shape[0] if alpha > 0 else 0


# wrong: only r up to k
# s = -> A = A[: A.shape[1]]; B = B[:, : A.shape[1]]; s =


# wrong: x of the last forward with this shape
saved = {}


def lora_backward(dy, x, W0, A, B, alpha):
    x = saved.setdefault(x.shape, x)
    s = alpha / len(A)
    return dy @ W0 + s * dy @ B @ A, s * B.T @ dy.T @ x, s * dy.T @ x @ A.T


# wrong: W0 of the first call
saved = {}


def lora_backward(dy, x, W0, A, B, alpha):
    W0 = saved.setdefault(W0.shape, W0)
    s = alpha / len(A)
    return dy @ W0 + s * dy @ B @ A, s * B.T @ dy.T @ x, s * dy.T @ x @ A.T


# wrong: s is cached by the rank
scales = {}


def lora_backward(dy, x, W0, A, B, alpha):
    s = scales.setdefault(len(A), alpha / len(A))
    return dy @ W0 + s * dy @ B @ A, s * B.T @ dy.T @ x, s * dy.T @ x @ A.T


# wrong: gradients accumulate
sums = {}


def lora_backward(dy, x, W0, A, B, alpha):
    s = alpha / len(A)
    key = A.shape, B.shape
    dA, dB = sums.get(key, (0, 0))
    sums[key] = dA + s * B.T @ dy.T @ x, dB + s * dy.T @ x @ A.T
    return dy @ W0 + s * dy @ B @ A, *sums[key]
