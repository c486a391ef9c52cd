"""Exercise 6: softmax and cross-entropy, forward and backward."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, Indices, OneOf


def cross_entropy(logits, targets):
    n, rows = len(targets), np.arange(len(targets))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    loss = -log_p[rows, targets].sum() / n
    dlogits = np.exp(log_p)
    dlogits[rows, targets] -= 1
    return float(loss), dlogits / n


def arguments(case: Case):
    logits = case["logits"] * case.dtype(case["size"]) + case.dtype(case["offset"])
    return {"logits": logits, "targets": case["targets"]}


EXERCISE = Exercise(
    title="softmax and cross-entropy, backward",
    lesson=2,
    minutes=20,
    functions={"cross_entropy": cross_entropy},
    inputs={
        "logits": Floats("n v"),
        "targets": Indices("n", of="v"),
        "size": OneOf((1, 10, 1000, 1e5)),
        "offset": OneOf((0, 1000, -1000)),
    },
    sizes={"v": (1, 5)},
    arguments=arguments,
    magnitude=lambda logits, targets: 2 + 3 * np.abs(logits).max(),
    outputs=("L = mean over the rows of -log softmax(logits)[target]", "dlogits = (softmax(logits) - onehot) / n"),
    hints=(
        "-log softmax(z)[t] = log(sum exp z) - z[t]. Subtract each row's maximum first, as in exercise 5.",
        "The derivative of log(sum exp z) is softmax(z); that of -z[t] is -1 at t and 0 elsewhere. L is a mean: 1/n.",
        "P = softmax(logits); P[np.arange(n), targets] -= 1; dlogits = P / n",
    ),
    slips={
        "the loss is the sum over the rows: it must be the mean": ".sum() / n -> .sum()",
        "dlogits is not divided by n: the loss is a mean": "dlogits / n -> dlogits",
        "the target's -1 is missing in dlogits": "dlogits[rows, targets] -= 1 -> pass",
        "dlogits has the wrong sign": "dlogits / n -> -dlogits / n",
        "P[:, targets] -= 1 reaches every row: use P[np.arange(n), targets]": "dlogits[rows, targets] -> "
        "dlogits[:, targets]",
        "the loss is in bits: take the natural logarithm": ".sum() / n -> .sum() / n / np.log(2)",
        "an epsilon inside the log: log(P + 1e-8) hides every loss above 18 nats": "-log_p[rows, targets] -> "
        "-np.log(np.exp(log_p[rows, targets]) + 1e-8)",
        "exp overflows: subtract each row's maximum first": (
            "log_p = shifted - np.log(np.exp(shifted) -> log_p = logits - np.log(np.exp(logits)"
        ),
    },
)
