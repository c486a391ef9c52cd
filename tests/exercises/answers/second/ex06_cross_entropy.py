import math

import numpy as np


# right: log-softmax, then its own exp
def cross_entropy(logits, targets):
    n = len(targets)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_p[np.arange(n), targets].mean()
    grad = np.exp(log_p)
    grad[np.arange(n), targets] -= 1
    return loss, grad / n


# right: rows and Python numbers
def cross_entropy(logits, targets):
    n, v = logits.shape
    total, grad = 0.0, np.zeros((n, v))
    for i, row in enumerate(logits.tolist()):
        top, t = max(row), int(targets[i])
        weights = [math.exp(s - top) for s in row]
        z = sum(weights)
        total += math.log(z) + top - row[t]
        for j in range(v):
            grad[i, j] = (weights[j] / z - (j == t)) / n
    return total / n, grad


# right: one-hot targets, logaddexp
def cross_entropy(logits, targets):
    one_hot = (np.arange(logits.shape[1]) == np.asarray(targets)[:, None]).astype(float)
    log_z = np.logaddexp.reduce(logits, axis=1)
    loss = np.average(log_z - np.sum(logits * one_hot, axis=1))
    return float(loss), (np.exp(logits - log_z[:, None]) - one_hot) / len(logits)


# right: distances to the target's logit
def cross_entropy(logits, targets):
    own = np.take_along_axis(logits, targets[:, None], axis=1)
    margin = logits - own
    top = margin.max(axis=1, keepdims=True)
    e = np.exp(margin - top)
    loss = np.mean(top[:, 0] + np.log(e.sum(axis=1)))
    p = e / e.sum(axis=1, keepdims=True)
    np.put_along_axis(p, targets[:, None], np.take_along_axis(p, targets[:, None], 1) - 1, axis=1)
    return loss, p / p.shape[0]


# wrong: every row loses 1 at every target
# grad[np.arange(n), targets] -= 1 -> grad[:, targets] -= 1


# wrong: the target is a row
# grad[np.arange(n), targets] -= 1 -> grad[targets % n] -= 1


# wrong: classes are those that occur
def cross_entropy(logits, targets):
    n = len(targets)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    places = np.searchsorted(np.unique(targets), targets)
    grad = np.exp(log_p)
    grad[np.arange(n), places] -= 1
    return -log_p[np.arange(n), places].mean(), grad / n


# wrong: the log of a probability that has become 0 is bounded
# loss = -log_p[np.arange(n), targets].mean() -> loss = -np.log(np.exp(log_p[np.arange(n), targets]) + 1e-12).mean()


# wrong: the log of a probability that has become 0 is infinite
# loss = -log_p[np.arange(n), targets].mean() -> loss = -np.log(np.exp(log_p[np.arange(n), targets])).mean()


# wrong: 0 log 0
# loss = -log_p[np.arange(n), targets].mean() -> loss = -(np.eye(logits.shape[1])[targets] * np.log(np.exp(log_p))).sum() / n


# wrong: one maximum for the whole batch
# logits.max(axis=1, keepdims=True) -> logits.max()


# wrong: the gradient is of the sum
# return loss, grad / n -> return loss, grad


# wrong: the gradient is divided by all entries
# return loss, grad / n -> return loss, grad / grad.size


# wrong: the loss is the sum
# .mean() -> .sum()


# wrong: bits
# loss = -log_p[np.arange(n), targets].mean() -> loss = -log_p[np.arange(n), targets].mean() / np.log(2)


# wrong: an array of one number
# return loss, -> return np.array([loss]),


# wrong: rows whose loss is tiny do not count
# loss = -log_p[np.arange(n), targets].mean() -> nll = -log_p[np.arange(n), targets]\n    loss = nll[nll > 1e-6].sum() / max((nll > 1e-6).sum(), 1)


# wrong: shifts the logits in place
# shifted = logits - logits.max(axis=1, keepdims=True) -> logits -= logits.max(axis=1, keepdims=True)\n    shifted = logits


# wrong: repeated targets are counted once
# .mean() -> [np.unique(targets, return_index=True)[1]].mean()


# wrong: the gradient is remembered by shape
# return loss, grad / n -> return loss, GRADS.setdefault(grad.shape, grad / n)
# def cross -> GRADS = {}\n\n\ndef cross


# wrong: the target 0 is padding
# loss = -log_p[np.arange(n), targets].mean() -> keep = targets != 0\n    loss = -log_p[np.arange(n), targets][keep].sum() / max(keep.sum(), 1)


# wrong: the gradient is clipped
# return loss, grad / n -> return loss, np.clip(grad, -0.999, 0.999) / n


# wrong: the gradient of the targets' column only
# grad = np.exp(log_p) -> grad = np.exp(log_p)\n    grad[grad < 1e-4] = 0.0


# wrong: integer logits after rounding
# n = len(targets) -> n = len(targets)\n    logits = logits.round(5)


# wrong: the most likely class is taken for the target where they tie
# n = len(targets) -> n = len(targets)\n    targets = np.where(logits.max(1) == logits[np.arange(n), targets], logits.argmax(1), targets)
