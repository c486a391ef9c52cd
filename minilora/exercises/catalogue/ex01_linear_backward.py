"""Exercise 1: the backward of a linear layer."""

from minilora.exercises.spec import Exercise, Floats


def _right(dy, x, W):
    return dy @ W, dy.T @ x, dy.sum(axis=0)


EXERCISE = Exercise(
    title="linear layer, backward",
    lesson=1,
    minutes=10,
    functions={"linear_backward": _right},
    inputs={"dy": Floats("n d"), "x": Floats("n k"), "W": Floats("d k")},
    outputs=("dx = dy W", "dW = dy^T x", "db = sum of dy over the rows"),
    hints=(
        "Write one entry with indices: y[n, i] = sum_j W[i, j] x[n, j] + b[i]. Which y's does W[i, j] touch?",
        "Shapes leave one choice: dx (n, k) from dy (n, d) and W (d, k); dW (d, k) from dy (n, d) and x (n, k).",
        "dx = dy @ W; dW = dy.T @ x; db sums dy over axis 0, because every row received the same b.",
    ),
    wrong={
        "dx uses W transposed, which fits only if W is square": lambda dy, x, W: (dy @ W.T, dy.T @ x, dy.sum(0)),
        "dW is transposed: it must have W's shape (d, k)": lambda dy, x, W: (dy @ W, x.T @ dy, dy.sum(0)),
        "dW is the mean over the rows: it must be the sum": lambda dy, x, W: (dy @ W, dy.T @ x / len(x), dy.sum(0)),
        "db is the mean over the rows: it must be the sum": lambda dy, x, W: (dy @ W, dy.T @ x, dy.mean(0)),
        "db sums over the wrong axis": lambda dy, x, W: (dy @ W, dy.T @ x, dy.sum(1)),
        "db is one number: sum over the rows alone, axis=0": lambda dy, x, W: (dy @ W, dy.T @ x, dy.sum()),
        "dW takes the first row alone": lambda dy, x, W: (dy @ W, dy[:1].T @ x[:1], dy.sum(0)),
        "float16 is used on the way": lambda dy, x, W: (
            (dy.astype("f2") @ W.astype("f2")).astype(dy.dtype),
            dy.T @ x,
            dy.sum(0),
        ),
    },
)
