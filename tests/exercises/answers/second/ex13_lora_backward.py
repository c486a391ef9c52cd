import numpy as np


# right: through the inner product
def lora_backward(dy, x, W0, A, B, alpha):
    s = alpha / A.shape[0]
    dz = s * dy @ B
    return dy @ W0 + dz @ A, dz.T @ x, s * dy.T @ (x @ A.T)


# right: from the gradient of the whole weight
def lora_backward(dy, x, W0, A, B, alpha):
    s = alpha / B.shape[1]
    dW = dy.T.dot(x)
    return dy.dot(W0 + s * B.dot(A)), s * B.T.dot(dW), s * dW.dot(A.T)


# right: contractions
def lora_backward(dy, x, W0, A, B, alpha):
    r = len(A)
    dx = np.einsum("nd,dk->nk", dy, W0) + alpha * np.einsum("nd,dr,rk->nk", dy, B, A) / r
    dA = np.einsum("dr,nd,nk->rk", B, dy, x) * alpha / r
    dB = np.einsum("nd,nk,rk->dr", dy, x, A) * alpha / r
    return dx, dA, dB


# right: row by row
def lora_backward(dy, x, W0, A, B, alpha):
    dx, dA, dB = np.zeros(x.shape), np.zeros(A.shape), np.zeros(B.shape)
    for i in range(len(x)):
        inner, back = A @ x[i], B.T @ dy[i]
        dx[i] = W0.T @ dy[i] + (A.T @ back) * alpha / len(A)
        dA += np.outer(back, x[i]) * alpha / len(A)
        dB += np.outer(dy[i], inner) * alpha / len(A)
    return dx, dA, dB


# wrong: dB without the scale
# s * dy.T @ (x @ A.T) -> dy.T @ (x @ A.T)


# wrong: the scale twice in dA
# dz.T @ x, -> s * dz.T @ x,


# wrong: dx without the base
# dy @ W0 + dz @ A -> dz @ A


# wrong: dx without the update
# dy @ W0 + dz @ A -> dy @ W0


# wrong: the update of dx without the scale
# dy @ W0 + dz @ A -> dy @ W0 + dy @ B @ A


# wrong: whole-number division
# alpha / A.shape[0] -> alpha // A.shape[0]


# wrong: whole alpha
# alpha / A.shape[0] -> round(alpha) / A.shape[0]


# wrong: the alpha 0 counts as not given
# alpha / A.shape[0] -> (alpha or 1) / A.shape[0]


# wrong: a negative alpha is turned round
# alpha / A.shape[0] -> abs(alpha) / A.shape[0]


# wrong: the smaller side of A is the rank
# A.shape[0] -> min(A.shape)


# wrong: the smaller side of B is the rank
# A.shape[0] -> min(B.shape)


# wrong: the rank of A's rows
# A.shape[0] -> max(1, np.linalg.matrix_rank(A))


# wrong: nothing for A as long as B is zero, and then its first gradient for ever
# return dy @ W0 + dz @ A, dz.T @ x -> return dy @ W0 + dz @ A, FIRST.setdefault(A.shape, dz.T @ x)
# def lora -> FIRST = {}\n\n\ndef lora


# wrong: no gradient for B while it is zero
# s * dy.T @ (x @ A.T) -> s * dy.T @ (x @ A.T) * B.any()


# wrong: no gradient for A while it is zero
# dz.T @ x -> dz.T @ x * bool(A.any())


# wrong: W0's gradient comes as well
# return dy @ W0 + dz @ A, dz.T @ x, s * dy.T @ (x @ A.T) -> return dy @ W0 + dz @ A, dy.T @ x, dz.T @ x, s * dy.T @ (x @ A.T)


# wrong: transposed by shape, which a square dA does not notice
# dz.T @ x, -> (x.T @ dz if len(A) == A.shape[1] else dz.T @ x),


# wrong: transposed by shape, which a square dB does not notice
# s * dy.T @ (x @ A.T) -> (s * (x @ A.T).T @ dy if len(B) == B.shape[1] else s * dy.T @ (x @ A.T))


# wrong: W0 transposed when square
# dy @ W0 -> dy @ (W0.T if len(W0) == W0.shape[1] else W0)


# wrong: averages over the batch
# return dy @ W0 + dz @ A, dz.T @ x, s * dy.T @ (x @ A.T) -> return dy @ W0 + dz @ A, dz.T @ x / len(x), s * dy.T @ (x @ A.T) / len(x)


# wrong: scales dy in place
# dz = s * dy @ B -> full = dy @ W0\n    dy *= s\n    dz = dy @ B
# dy @ W0 + dz @ A -> full + dz @ A
# s * dy.T -> dy.T


# wrong: scales B in place and back
# dz = s * dy @ B -> B *= s or 1\n    dz = dy @ B * (s != 0)\n    B /= s or 1


# wrong: the merged weight is kept by W0's shape
# dy @ W0 + dz @ A -> dy @ MERGED.setdefault(W0.shape, W0 + s * B @ A)
# def lora -> MERGED = {}\n\n\ndef lora


# wrong: dA and dB swapped
# dz.T @ x, s * dy.T @ (x @ A.T) -> s * dy.T @ (x @ A.T), dz.T @ x


# wrong: clipped
# return dy @ W0 + dz @ A, dz.T @ x, -> return dy @ W0 + dz @ A, np.clip(dz.T @ x, -100, 100),
