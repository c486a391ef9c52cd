import numpy as np


# right: log-probabilities
def cross_entropy(logits, targets):
    n, rows = len(targets), np.arange(len(targets))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    loss = -log_p[rows, targets].sum() / n
    dlogits = np.exp(log_p)
    dlogits[rows, targets] -= 1
    return float(loss), dlogits / n


# right: one-hot targets
def cross_entropy(logits, targets):
    onehot = np.eye(logits.shape[1])[targets]
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return -np.mean((onehot * log_p).sum(axis=1)), (np.exp(log_p) - onehot) / len(logits)


# right: row by row
def cross_entropy(logits, targets):
    loss, gradient = 0.0, np.zeros_like(logits)
    for i, t in enumerate(targets):
        top = max(logits[i])
        z = sum(np.exp(logits[i] - top))
        loss += top + np.log(z) - logits[i, t]
        gradient[i] = np.exp(logits[i] - top) / z
        gradient[i, t] -= 1
    return loss / len(targets), gradient / len(targets)


# right: take_along_axis
def cross_entropy(logits, targets):
    n, v = logits.shape
    lse = np.logaddexp.reduce(logits, axis=-1)
    picked = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    P = np.exp(logits - lse[:, None])
    return (lse - picked).mean(), (P - (np.arange(v) == targets[:, None])) / n


# wrong: summed loss
# .sum() / n\n -> .sum()\n


# wrong: gradient not divided
# dlogits / n -> dlogits


# wrong: gradient divided by n twice
# dlogits / n -> dlogits / n**2


# wrong: gradient divided by the number of entries
# dlogits / n -> dlogits / dlogits.size


# wrong: no -1
# dlogits[rows, targets] -= 1\n -> pass\n


# wrong: the sign of the gradient
# float(loss), dlogits / n -> float(loss), -dlogits / n


# wrong: the sign of the loss
# loss = -log_p -> loss = log_p


# wrong: -1 in every row
# dlogits[rows, targets] -= 1 -> dlogits[:, targets] -= 1


# wrong: bits
# float(loss) -> float(loss / np.log(2))


# wrong: overflows
# logits - logits.max(axis=-1, keepdims=True)\n -> logits\n


# wrong: the maximum of all rows
# logits.max(axis=-1, keepdims=True) -> logits.max()


# wrong: the loss is capped by an epsilon
# -log_p[rows, targets].sum() -> -np.log(np.exp(log_p[rows, targets]) + 1e-12).sum()


# wrong: probabilities are clipped
# -log_p[rows, targets].sum() -> -np.log(np.clip(np.exp(log_p[rows, targets]), 1e-15, 1)).sum()


# wrong: the first n targets' columns, as if sorted
# log_p[rows, targets].sum() -> log_p[rows, np.sort(targets)].sum()


# wrong: softmax over the batch
# axis=-1 -> axis=0


# wrong: perplexity
# float(loss) -> float(np.exp(loss))


# wrong: label smoothing
# dlogits[rows, targets] -= 1\n -> dlogits[rows, targets] -= 0.9; dlogits -= 0.1 / logits.shape[1]\n


# wrong: the gradient also multiplied by the loss
# dlogits / n -> dlogits / n * loss


# wrong: the loss of each row
# float(loss) -> -log_p[rows, targets]


# wrong: in an array of one number
# float(loss) -> np.array([loss])


# wrong: targets counted from 1
# logits - logits.max -> logits - logits.max; targets = (targets + 1) % logits.shape[1]; shifted = logits - logits.max


# wrong: logits in place
# shifted = logits - logits.max(axis=-1, keepdims=True) -> logits -= logits.max(axis=-1, keepdims=True); shifted = logits


# wrong: order of the results
# return float(loss), dlogits / n -> return dlogits / n, float(loss)


# wrong: ignores targets of 0, as padding
# .sum() / n\n -> [targets != 0].sum() / n\n


# wrong: repeated targets are counted once
# -log_p[rows, targets].sum() -> -sum(log_p[list(targets).index(t), t] for t in targets)


# wrong: float32 inside
# shifted = logits - logits.max -> logits = logits.astype(np.float32); shifted = logits - logits.max


# wrong: cached by the logits
kept = {}


def cross_entropy(logits, targets):
    targets = kept.setdefault(logits.tobytes(), targets)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    onehot = np.eye(logits.shape[1])[targets]
    return -(onehot * log_p).sum() / len(targets), (np.exp(log_p) - onehot) / len(targets)


# wrong: cached by the targets
kept = {}


def cross_entropy(logits, targets):
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    onehot = np.eye(logits.shape[1])[targets]
    key = (targets.tobytes(), logits.shape)
    return kept.setdefault(key, (-(onehot * log_p).sum() / len(targets), (np.exp(log_p) - onehot) / len(targets)))


# wrong: a running mean of the loss over calls
history = []


def cross_entropy(logits, targets):
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    onehot = np.eye(logits.shape[1])[targets]
    history.append(-(onehot * log_p).sum() / len(targets))
    return float(np.mean(history)), (np.exp(log_p) - onehot) / len(targets)
