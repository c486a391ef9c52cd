import numpy as np


# right: a copy of W0
def merge(W0, A, B, alpha):
    return W0 + alpha / len(A) * (B @ A), W0.copy()


def unmerge(W, kept):
    return kept.copy()


# right: the bits in which W and W0 differ
def merge(W0, A, B, alpha):
    W = np.ascontiguousarray(W0 + alpha / len(A) * (B @ A), dtype=W0.dtype)
    bits = np.dtype(f"u{W0.itemsize}")
    return W, {"difference": W.view(bits) ^ np.ascontiguousarray(W0).view(bits)}


def unmerge(W, kept):
    bits = kept["difference"].dtype
    return (np.ascontiguousarray(W).view(bits) ^ kept["difference"]).view(W.dtype)


# right: the bytes and the shape, as arrays
def merge(W0, A, B, alpha):
    kept = (np.frombuffer(W0.tobytes(), dtype=np.uint8), np.array(W0.shape))
    return np.add(W0, (alpha / B.shape[1]) * np.dot(B, A)), kept


def unmerge(W, kept):
    return np.frombuffer(kept[0].tobytes(), dtype=W.dtype).reshape(tuple(kept[1])).copy()


# right: a tuple of rows
def merge(W0, A, B, alpha):
    r, k = A.shape
    return W0 + B @ A * (alpha / r), tuple(row.copy() for row in W0)


def unmerge(W, kept):
    return np.stack(kept)


# wrong: subtracts the update
def merge(W0, A, B, alpha):
    update = alpha / len(A) * (B @ A)
    return W0 + update, update


def unmerge(W, kept):
    return W - kept


# wrong: subtracts the factors' product
def merge(W0, A, B, alpha):
    return W0 + alpha / len(A) * (B @ A), (A, B, np.array(alpha))


def unmerge(W, kept):
    A, B, alpha = kept
    return W - alpha / len(A) * (B @ A)


# wrong: subtracts the difference
def merge(W0, A, B, alpha):
    W = W0 + alpha / len(A) * (B @ A)
    return W, W - W0


def unmerge(W, kept):
    return W - kept


# wrong: subtracts and mends the rounding, which loses the sign of 0
def merge(W0, A, B, alpha):
    update = alpha / len(A) * (B @ A)
    W = W0 + update
    return W, (update, W0 - (W - update))


def unmerge(W, kept):
    return (W - kept[0]) + kept[1]


# wrong: adds 0, which loses the sign of 0
# W0.copy() -> W0 + 0.0


# wrong: single precision is kept
# W0.copy() -> W0.astype(np.float32)


# wrong: digits are kept
# W0.copy() -> np.round(W0, 12)


# wrong: W0 is kept by the module, the last one only
# def merge -> LAST = []\n\n\ndef merge
# return W0 + alpha / len(A) * (B @ A), W0.copy() -> LAST[:] = [W0.copy()]\n    return W0 + alpha / len(A) * (B @ A), W0.copy() * 0
# return kept.copy() -> return LAST[0].copy()


# wrong: W0 is kept on a stack
# def merge -> STACK = []\n\n\ndef merge
# return W0 + alpha / len(A) * (B @ A), W0.copy() -> STACK.append(W0.copy())\n    return W0 + alpha / len(A) * (B @ A), np.zeros(1)
# return kept.copy() -> return STACK.pop() if len(STACK) > 1 else STACK[0].copy()


# wrong: W0 is kept by the module under its shape
# def merge -> BASE = {}\n\n\ndef merge
# W0.copy() -> BASE.setdefault(W0.shape, W0.copy())


# wrong: W0 is kept by the module under a number
# def merge -> BASE = []\n\n\ndef merge
# return W0 + alpha / len(A) * (B @ A), W0.copy() -> BASE.append(W0.copy())\n    return W0 + alpha / len(A) * (B @ A), len(BASE) - 1
# return kept.copy() -> return BASE[kept].copy()


# wrong: W0 is kept by the module under a number in an array
# def merge -> BASE = []\n\n\ndef merge
# return W0 + alpha / len(A) * (B @ A), W0.copy() -> BASE[:] = [*BASE[-1:], W0.copy()]\n    return W0 + alpha / len(A) * (B @ A), np.array(len(BASE) - 1)
# return kept.copy() -> return BASE[int(kept)].copy()


# wrong: merges into W0
# return W0 + alpha / len(A) * (B @ A), W0.copy() -> kept = W0.copy()\n    W0 += alpha / len(A) * (B @ A)\n    return W0, kept


# wrong: one buffer for all that is kept
# def merge -> BUFFER = {}\n\n\ndef merge
# return W0 + alpha / len(A) * (B @ A), W0.copy() -> kept = BUFFER.setdefault(W0.shape, np.empty(W0.shape))\n    kept[...] = W0\n    return W0 + alpha / len(A) * (B @ A), kept


# wrong: unmerges a first time only
# W0.copy() -> [W0.copy()][0:1] and {"W0": W0.copy()}
# return kept.copy() -> return kept.pop("W0")


# wrong: spoils what is kept
# return kept.copy() -> result = kept.copy()\n    kept *= 0\n    return result


# wrong: the shape is lost
# W0.copy() -> W0.ravel()
# return kept.copy() -> return kept


# wrong: rows and columns by memory
# W0.copy() -> W0.ravel(order="K").reshape(W0.shape).copy()


# wrong: whole-number division
# alpha / len(A) -> alpha // len(A)


# wrong: by the smaller side
# alpha / len(A) -> alpha / min(A.shape)


# wrong: no update
# W0 + alpha / len(A) * (B @ A) -> W0.copy()


# wrong: alpha 0 as r
# alpha / len(A) -> (alpha or len(A)) / len(A)


# wrong: no scale
# alpha / len(A) * (B @ A) -> (B @ A)


# wrong: a function is kept
# W0.copy() -> (lambda kept=W0.copy(): kept)
# return kept.copy() -> return kept()


# wrong: text is kept
# W0.copy() -> repr(W0.tolist())
# return kept.copy() -> return np.array(eval(kept))


# wrong: the numbers below 1e-8 are lost
# W0.copy() -> np.where(np.abs(W0) < 1e-8, 0.0, W0)
