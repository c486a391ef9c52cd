"""Exercise 9: what training keeps in memory."""

from minilora.exercises.spec import Exercise, OneOf


def _table(weights, gradients, adam):
    return lambda parameters, trainable, bytes_per_number: {
        "weights": weights(parameters, trainable) * bytes_per_number,
        "gradients": gradients(parameters, trainable) * bytes_per_number,
        "adam": adam(parameters, trainable) * bytes_per_number,
    }


def _all(parameters, trainable):
    return parameters


def _trainable(parameters, trainable):
    return trainable


def _moments(parameters, trainable):
    return 2 * trainable


_right = _table(_all, _trainable, _moments)

EXERCISE = Exercise(
    title="the memory of Adam",
    lesson=4,
    minutes=5,
    functions={"training_bytes": _right},
    inputs={
        "parameters": OneOf((10, 1000, 175_000_000_000)),
        "trainable": OneOf((1, 10, 4)),
        "bytes_per_number": OneOf((4, 2, 8)),
    },
    outputs=("the result = bytes of weights, of gradients, and of Adam's m and v",),
    hints=(
        "Count numbers first: how many weights, how many gradients, how many moments? Then multiply by the bytes.",
        "Adam keeps two numbers, m and v, for each number that trains, and none for a frozen one.",
        '{"weights": parameters * b, "gradients": trainable * b, "adam": 2 * trainable * b}',
    ),
    wrong={
        "Adam keeps two moments, m and v: one is counted": _table(_all, _trainable, _trainable),
        "moments are counted for frozen numbers too": _table(_all, _trainable, lambda p, t: 2 * p),
        "gradients are counted for frozen numbers too": _table(_all, _all, _moments),
        "only the trainable weights are counted: the frozen ones are in memory too": _table(
            _trainable, _trainable, _moments
        ),
        "the frozen weights alone are counted": _table(lambda p, t: p - t, _trainable, _moments),
        "numbers, not bytes: multiply by bytes_per_number": lambda p, t, b: _right(p, t, 1),
        "always 4 bytes a number: use bytes_per_number": lambda p, t, b: _right(p, t, 4),
    },
)
