"""Exercise 6: softmax and cross-entropy, forward and backward."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, Indices, OneOf


def _parts(logits, targets):
    """log P (n, v) and the one-hot targets (n, v)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_p, np.eye(logits.shape[1])[targets]


def _right(logits, targets):
    log_p, onehot = _parts(logits, targets)
    return float(-(log_p * onehot).sum() / len(targets)), (np.exp(log_p) - onehot) / len(targets)


def _with_loss(loss):
    return lambda logits, targets: (loss(*_parts(logits, targets)), _right(logits, targets)[1])


def _with_gradient(gradient):
    return lambda logits, targets: (_right(logits, targets)[0], gradient(*_parts(logits, targets)))


def _all_columns(logits, targets):
    P = np.exp(_parts(logits, targets)[0])
    P[:, targets] -= 1
    return _right(logits, targets)[0], P / len(targets)


def _overflows(logits, targets):
    P = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    onehot = np.eye(logits.shape[1])[targets]
    return float(-np.log((P * onehot).sum(axis=-1)).mean()), (P - onehot) / len(targets)


def _arguments(case: Case):
    return {"logits": case["logits"] * case.dtype(case["size"]), "targets": case["targets"]}


EXERCISE = Exercise(
    title="softmax and cross-entropy, backward",
    lesson=2,
    minutes=20,
    functions={"cross_entropy": _right},
    inputs={"logits": Floats("n v"), "targets": Indices("n", of="v"), "size": OneOf((1, 30, 1000))},
    sizes={"v": (2, 5)},
    arguments=_arguments,
    magnitude=lambda logits, targets: 2 + 3 * np.abs(logits).max(),
    outputs=("L = mean over the rows of -log softmax(logits)[target]", "dlogits = (softmax(logits) - onehot) / n"),
    hints=(
        "-log softmax(z)[t] = log(sum exp z) - z[t]. Take each row's maximum off first, as in exercise 5.",
        "The derivative of log(sum exp z) is softmax(z), and that of -z[t] is -1 at t alone. L is a mean: 1/n.",
        "P = softmax(logits); P[np.arange(n), targets] -= 1; dlogits = P / n",
    ),
    wrong={
        "the loss is the sum over the rows: it must be the mean": _with_loss(lambda p, hot: float(-(p * hot).sum())),
        "dlogits is not divided by n: the loss is a mean": _with_gradient(lambda p, hot: np.exp(p) - hot),
        "the target's -1 is missing in dlogits": _with_gradient(lambda p, hot: np.exp(p) / len(p)),
        "dlogits has the wrong sign": _with_gradient(lambda p, hot: (hot - np.exp(p)) / len(p)),
        "P[:, targets] -= 1 reaches every row: use P[np.arange(n), targets]": _all_columns,
        "the loss is in bits: take the natural logarithm": _with_loss(
            lambda p, hot: float(-(p * hot).sum() / len(p) / np.log(2))
        ),
        "an epsilon inside the log: log(P + 1e-8) hides every loss above 18 nats": _with_loss(
            lambda p, hot: float(-(np.log(np.exp(p) + 1e-8) * hot).sum() / len(p))
        ),
        "exp overflows: subtract each row's maximum first": _overflows,
    },
)
