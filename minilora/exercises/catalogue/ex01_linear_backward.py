"""Exercise 1: the backward of a linear layer."""

from minilora.exercises.spec import Exercise, Floats


def linear_backward(dy, x, W):
    dx = dy @ W
    dW = dy.T @ x
    db = dy.sum(axis=0)
    return dx, dW, db


EXERCISE = Exercise(
    title="linear layer, backward",
    lesson=1,
    minutes=10,
    functions={"linear_backward": linear_backward},
    inputs={"dy": Floats("n d"), "x": Floats("n k"), "W": Floats("d k")},
    outputs=("dx = dy W", "dW = dy^T x", "db = sum of dy over the rows"),
    hints=(
        "Write one entry with indices: y[n, i] = sum_j W[i, j] x[n, j] + b[i]. Which entries of y use W[i, j]?",
        "The shapes leave one choice: dx (n, k) from dy (n, d) and W (d, k); dW (d, k) from dy (n, d) and x (n, k).",
        "dx = dy @ W; dW = dy.T @ x; db sums dy over axis 0, because b is added to every row.",
    ),
    slips={
        "dx uses W transposed, which fits only if W is square": "dy @ W -> dy @ W.T",
        "dW is transposed: it must have W's shape (d, k)": "dy.T @ x -> x.T @ dy",
        "dW is the mean over the rows: it must be the sum": "dy.T @ x -> dy.T @ x / len(x)",
        "db is the mean over the rows: it must be the sum": "dy.sum( -> dy.mean(",
        "db sums over the wrong axis": "axis=0 -> axis=1",
        "db is one number: sum over the rows only, axis=0": "sum(axis=0) -> sum()",
        "dW uses only the first row": "dy.T @ x -> dy[:1].T @ x[:1]",
        "float16 is used on the way": "dy @ W -> (dy.astype('f2') @ W.astype('f2')).astype(dy.dtype)",
    },
)
