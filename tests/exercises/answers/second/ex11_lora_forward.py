import numpy as np


# right: two small products
def lora_forward(x, W0, A, B, alpha):
    return x @ W0.T + alpha / len(A) * (x @ A.T @ B.T)


# right: the merged weight, columns as vectors
def lora_forward(x, W0, A, B, alpha):
    r = B.shape[1]
    W = W0 + (alpha / r) * np.dot(B, A)
    return np.dot(W, x.T).T


# right: a sum over the ranks' outer products
def lora_forward(x, W0, A, B, alpha):
    h = np.einsum("nk,dk->nd", x, W0)
    for a, b in zip(A, B.T):
        h = h + np.outer(x @ a, b) * alpha / A.shape[0]
    return h


# right: one stacked product
def lora_forward(x, W0, A, B, alpha):
    r, k = A.shape
    inner = np.vstack([np.eye(k), np.sqrt(abs(alpha) / r) * A])
    outer = np.hstack([W0, np.sign(alpha) * np.sqrt(abs(alpha) / r) * B])
    return (outer @ (inner @ x.T)).T


# wrong: whole-number division
# alpha / len(A) -> alpha // len(A)


# wrong: whole alpha
# alpha / len(A) -> int(alpha) / len(A)


# wrong: the alpha 0 counts as not given
# alpha / len(A) -> (alpha or len(A)) / len(A)


# wrong: a negative alpha is turned round
# alpha / len(A) -> abs(alpha) / len(A)


# wrong: the factor is at most 1
# alpha / len(A) -> min(alpha / len(A), 1.0)


# wrong: the root of the rank
# alpha / len(A) -> alpha / len(A) ** 0.5


# wrong: alpha alone
# alpha / len(A) -> alpha


# wrong: divided by the input's width
# len(A) -> A.shape[1]


# wrong: divided by the output's width
# len(A) -> len(B)


# wrong: the smaller side of A is the rank
# len(A) -> min(A.shape)


# wrong: the rank that the product really has
# len(A) -> max(np.linalg.matrix_rank(B @ A), 1)


# wrong: the rank is at most d and k
# len(A) -> min(len(A), len(B), A.shape[1])


# wrong: transposes that a square A does not notice
# x @ A.T @ B.T -> x @ (A.T if len(A) != A.shape[1] else A) @ B.T


# wrong: transposes that a square B does not notice
# x @ A.T @ B.T -> x @ A.T @ (B.T if len(B) != B.shape[1] else B)


# wrong: W0 untransposed when square
# x @ W0.T -> x @ (W0.T if len(W0) != W0.shape[1] else W0)


# wrong: merges into W0
def lora_forward(x, W0, A, B, alpha):
    W0 += alpha / len(A) * (B @ A)
    return x @ W0.T


# wrong: W0 is kept from the first call of its shape
# return x @ W0.T -> W0 = BASE.setdefault(W0.shape, W0.copy())\n    return x @ W0.T
# def lora -> BASE = {}\n\n\ndef lora


# wrong: the merged weight is kept by W0's first number
# return x @ W0.T + alpha / len(A) * (x @ A.T @ B.T) -> W = MERGED.setdefault((W0.shape, float(W0[0, 0])), W0 + alpha / len(A) * (B @ A))\n    return x @ W.T
# def lora -> MERGED = {}\n\n\ndef lora


# wrong: adds into one buffer for all calls
# return x @ W0.T + alpha / len(A) * (x @ A.T @ B.T) -> h = OUT.setdefault((len(x), len(W0)), np.empty((len(x), len(W0))))\n    np.matmul(x, W0.T, out=h)\n    h += alpha / len(A) * (x @ A.T @ B.T)\n    return h
# def lora -> OUT = {}\n\n\ndef lora


# wrong: one row becomes a vector
# return x @ W0.T + alpha / len(A) * (x @ A.T @ B.T) -> h = x @ W0.T + alpha / len(A) * (x @ A.T @ B.T)\n    return h[0] if len(h) == 1 else h


# wrong: only the first row gets the update
# (x @ A.T @ B.T) -> (x @ A.T @ B.T) * (np.arange(len(x)) == 0)[:, None]


# wrong: the update is scaled by the batch
# alpha / len(A) -> alpha / len(A) / len(x)


# wrong: the base is scaled too
# return x @ W0.T + alpha / len(A) * (x @ A.T @ B.T) -> return alpha / len(A) * (x @ W0.T + x @ A.T @ B.T)


# wrong: single precision update
# (x @ A.T @ B.T) -> (x @ A.T @ B.T).astype(np.float32)
