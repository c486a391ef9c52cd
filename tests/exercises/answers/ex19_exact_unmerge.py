import numpy as np


# right: a copy of W0
def merge(W0, A, B, alpha):
    update = alpha / A.shape[0] * (B @ A)
    W = W0 + update
    kept = W0.copy()
    return W, kept


def unmerge(W, kept):
    return kept


# right: the difference of the bits
def merge(W0, A, B, alpha):
    W = (W0 + alpha / len(A) * (B @ A)).astype(W0.dtype)
    bits = np.uint32 if W0.dtype == np.float32 else np.uint64
    return W, {"difference": np.ascontiguousarray(W).view(bits) ^ np.ascontiguousarray(W0).view(bits)}


def unmerge(W, kept):
    difference = kept["difference"]
    return (np.ascontiguousarray(W).view(difference.dtype) ^ difference).view(W.dtype)


# right: the bytes as whole numbers, and the shape
def merge(W0, A, B, alpha):
    numbers = np.frombuffer(W0.tobytes(), np.uint8)
    return W0 + (alpha / B.shape[1]) * np.einsum("dr,rk->dk", B, A), (numbers, np.array(W0.shape), np.zeros(1, W0.dtype))


def unmerge(W, kept):
    numbers, shape, sample = kept
    return np.frombuffer(numbers.tobytes(), sample.dtype).reshape(shape)


# right: subtraction, and what it gets wrong is kept
def merge(W0, A, B, alpha):
    return W0 + alpha / len(A) * B @ A, [np.array(row) for row in W0]


def unmerge(W, kept):
    W0 = np.empty((len(kept), len(kept[0])), kept[0].dtype)
    for i, row in enumerate(kept):
        W0[i] = row
    return W0


# wrong: subtracts the update
# kept = W0.copy() -> kept = update
# return kept\n -> return W - kept\n


# wrong: subtracts it in float64
# kept = W0.copy() -> kept = update.astype(np.float64)
# return kept\n -> return (W.astype(np.float64) - kept).astype(W.dtype)\n


# wrong: computes it anew
# kept = W0.copy() -> kept = (A, B, np.array(alpha))
# return kept\n -> return W - kept[2] / len(kept[0]) * (kept[1] @ kept[0])\n


# wrong: keeps W - W0
# kept = W0.copy() -> kept = W - W0
# return kept\n -> return W - kept\n


# wrong: keeps W0 in float32
# W0.copy() -> W0.astype(np.float32)
# return kept\n -> return kept.astype(W.dtype)\n


# wrong: keeps W0 in float16
# W0.copy() -> W0.astype(np.float16)
# return kept\n -> return kept.astype(W.dtype)\n


# wrong: rounds to 12 digits
# W0.copy() -> np.round(W0, 12)


# wrong: adds 0.0, which makes -0.0 positive
# W0.copy() -> W0 + 0.0


# wrong: through absolute values and signs, which loses -0.0
# kept = W0.copy() -> kept = (abs(W0), np.sign(W0))
# return kept\n -> return kept[0] * kept[1]\n


# wrong: always float64
# W0.copy() -> W0.astype(np.float64)


# wrong: keeps W
# W0.copy() -> W


# wrong: adds again
# kept = W0.copy() -> kept = update
# return kept\n -> return W + kept\n


# wrong: transposed
# W0.copy() -> W0.T.copy()


# wrong: flat
# W0.copy() -> W0.ravel()


# wrong: no scale
# alpha / A.shape[0] * (B @ A) -> B @ A


# wrong: alpha
# alpha / A.shape[0] -> alpha


# wrong: whole-number division
# alpha / A.shape[0] -> alpha // A.shape[0]


# wrong: does not merge
# W = W0 + update -> W = W0.copy()


# wrong: W0 in place
# W = W0 + update\n    kept = W0.copy() -> kept = W0.copy()\n    W0 += update\n    W = W0


# wrong: W0 in place, and kept is the same array
# W = W0 + update\n    kept = W0.copy() -> kept = W0\n    W0 += update\n    W = W0


# wrong: W0 is the mean of two candidates
# kept = W0.copy() -> kept = (W, update)
# return kept\n -> return ((kept[0] - kept[1]) + (W - kept[1])) / 2\n


# wrong: three values
# return W, kept -> return W, kept, update


# wrong: returns a tuple
# return kept\n -> return (kept,)\n


# wrong: the order of memory is lost
# W0.copy() -> np.ravel(W0, order="K").reshape(W0.shape)


# wrong: the last bits of large weights
# return kept\n -> return np.where(abs(kept) > 1e6, kept.astype(np.float32), kept)\n


# wrong: tiny weights become 0
# W0.copy() -> np.where(abs(W0) < 1e-12, 0, W0).astype(W0.dtype)


# wrong: W0 in a global
state = {}


def merge(W0, A, B, alpha):
    state["W0"] = W0.copy()
    return W0 + alpha / len(A) * (B @ A), np.zeros(1)


def unmerge(W, kept):
    return state["W0"]


# wrong: W0 in a global by shape
state = {}


def merge(W0, A, B, alpha):
    state[W0.shape] = W0.copy()
    return W0 + alpha / len(A) * (B @ A), np.zeros(1)


def unmerge(W, kept):
    return state[W.shape]


# wrong: W0 in a stack
stack = []


def merge(W0, A, B, alpha):
    stack.append(W0.copy())
    return W0 + alpha / len(A) * (B @ A), np.zeros(1)


def unmerge(W, kept):
    return stack.pop()


# wrong: W0 in a list whose length is kept, but cut to the last
stack = []


def merge(W0, A, B, alpha):
    stack[:] = [W0.copy()]
    return W0 + alpha / len(A) * (B @ A), np.array(len(stack))


def unmerge(W, kept):
    return stack[int(kept) - 1]


# wrong: cached by the adapter
cache = {}


def merge(W0, A, B, alpha):
    key = A.tobytes(), B.tobytes(), alpha
    return cache.setdefault(key, (W0 + alpha / len(A) * (B @ A), W0.copy()))


def unmerge(W, kept):
    return kept
