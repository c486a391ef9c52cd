import numpy as np


# right: inject, step, merge
def tune(weights, A, alpha, lr, steps, gradient):
    A = {name: a.copy() for name, a in A.items()}
    B = {name: np.zeros((weights[name].shape[0], len(a)), a.dtype) for name, a in A.items()}

    def model():
        now = dict(weights)
        for name in A:
            now[name] = weights[name] + alpha / len(A[name]) * (B[name] @ A[name])
        return now

    for _ in range(steps):
        dW = gradient(model())
        for name in A:
            s = alpha / len(A[name])
            dA, dB = s * B[name].T @ dW[name], s * dW[name] @ A[name].T
            A[name], B[name] = A[name] - lr * dA, B[name] - lr * dB
    return model()


# right: a class for a layer
class Layer:
    def __init__(self, W, A, alpha):
        self.W, self.A, self.s = W, np.array(A), alpha / A.shape[0]
        self.B = np.zeros_like(W, shape=(len(W), len(A)))

    def weight(self):
        return self.W + self.s * np.matmul(self.B, self.A)

    def step(self, dW, lr):
        dA, dB = self.s * np.matmul(self.B.T, dW), self.s * np.matmul(dW, self.A.T)
        self.A -= lr * dA
        self.B -= lr * dB


def tune(weights, A, alpha, lr, steps, gradient):
    layers = {name: Layer(weights[name], A[name], alpha) for name in weights if name in A}
    while steps:
        g = gradient({name: layers[name].weight() if name in layers else weights[name] for name in weights})
        for name, layer in layers.items():
            layer.step(g[name], lr)
        steps -= 1
    return {name: layers[name].weight() if name in layers else W for name, W in weights.items()}


# right: recursive, pairs, copies of the frozen weights
def tune(weights, A, alpha, lr, steps, gradient):
    def merged(state):
        result = {name: np.array(W) for name, W in weights.items()}
        for name, (a, b) in state.items():
            result[name] += (alpha / len(a)) * (b @ a)
        return result

    def stepped(state):
        g = gradient(merged(state))
        return {
            name: (a - lr * (alpha / len(a)) * b.T @ g[name], b - lr * (alpha / len(a)) * g[name] @ a.T)
            for name, (a, b) in state.items()
        }

    state = {name: (a, np.zeros((len(weights[name]), len(a)), a.dtype)) for name, a in A.items()}
    for _ in range(steps):
        state = stepped(state)
    return merged(state)


# right: float64 inside, einsum, cast in the end
def tune(weights, A, alpha, lr, steps, gradient):
    names = list(A)
    As = [np.asarray(A[name], np.float64) for name in names]
    Bs = [np.zeros((len(weights[name]), len(A[name]))) for name in names]

    def current():
        now = {**weights}
        for name, a, b in zip(names, As, Bs):
            update = np.einsum("dr,rk->dk", b, a) * alpha / len(a)
            now[name] = (weights[name] + update).astype(weights[name].dtype)
        return now

    for _ in range(steps):
        g = gradient(current())
        moves = [(np.einsum("dr,dk->rk", b, g[n]), np.einsum("dk,rk->dr", g[n], a)) for n, a, b in zip(names, As, Bs)]
        for i, (dA, dB) in enumerate(moves):
            As[i] = As[i] - lr * alpha / len(As[i]) * dA
            Bs[i] = Bs[i] - lr * alpha / len(As[i]) * dB
    return current()


# wrong: layers of one shape share their B
# A = {name: a.copy() for name, a in A.items()} -> A = {name: a.copy() for name, a in A.items()}\n    shared = {}
# np.zeros((weights[name].shape[0], len(a)), a.dtype) -> shared.setdefault((weights[name].shape[0], len(a)), np.zeros((weights[name].shape[0], len(a)), a.dtype))
# A[name], B[name] = A[name] - lr * dA, B[name] - lr * dB -> A[name] = A[name] - lr * dA\n            B[name] -= lr * dB


# wrong: the gradients in the order of the names
#         dW = gradient(model()) ->         found = gradient(model())\n        dW = dict(zip(A, [found[name] for name in found if name in A]))


# wrong: stops when the gradients are small
# s = alpha / len(A[name])\n -> s = alpha / len(A[name])\n            if np.abs(dW[name]).max() < 0.5:\n                break\n


# wrong: the factors trained by Adam's first step
# A[name] - lr * dA, B[name] - lr * dB -> A[name] - lr * np.sign(dA), B[name] - lr * np.sign(dB)


# wrong: gradients of the frozen weights
# dW = gradient(model()) -> dW = gradient(dict(weights))


# wrong: gradients once, at the start
#     for _ in range(steps):\n        dW = gradient(model())\n ->     dW = gradient(model())\n    for _ in range(steps):\n


# wrong: only the adapted weights are given
# dW = gradient(model()) -> dW = gradient({name: W for name, W in model().items() if name in A})


# wrong: the gradients are of the model without the scale
# dW = gradient(model()) -> dW = gradient({name: W + B[name] @ A[name] if name in A else W for name, W in weights.items()})


# wrong: not merged
#     return model() ->     return dict(weights)


# wrong: merged without the scale
#     return model() ->     return {name: W + B[name] @ A[name] if name in A else W for name, W in weights.items()}


# wrong: merged twice
#     return model() ->     return {name: 2 * W - weights[name] if name in A else W for name, W in model().items()}


# wrong: subtracted
#     return model() ->     return {name: 2 * weights[name] - W for name, W in model().items()}


# wrong: only the updates come back
#     return model() ->     return {name: W - weights[name] for name, W in model().items()}


# wrong: only adapted weights come back
#     return model() ->     return {name: W for name, W in model().items() if name in A}


# wrong: the factors come back too
#     return model() ->     return {**model(), **{name + ".lora_A": a for name, a in A.items()}}


# wrong: merged into the first only
#     return model() ->     return {name: W if name == next(iter(A), "") else weights[name] for name, W in model().items()}


# wrong: merged one step too early
#         dW = gradient(model()) ->         before = model()\n        dW = gradient(before)
#     return model() ->     return before if steps else model()


# wrong: B starts at random
# np.zeros((weights[name].shape[0], len(a)), a.dtype) -> np.random.default_rng(0).standard_normal((weights[name].shape[0], len(a))).astype(a.dtype)


# wrong: B starts small
# np.zeros((weights[name].shape[0], len(a)), a.dtype) -> np.full((weights[name].shape[0], len(a)), 1e-3, a.dtype)


# wrong: A starts at zero, B at one
# a.copy() -> 0 * a
# np.zeros((weights[name].shape[0], len(a)), a.dtype) -> np.ones((weights[name].shape[0], len(a)), a.dtype)


# wrong: no scale
# alpha / len(A[name]) -> 1.0


# wrong: alpha
# alpha / len(A[name]) -> alpha


# wrong: rsLoRA's scale
# alpha / len(A[name]) -> alpha / len(A[name]) ** 0.5


# wrong: a whole scale
# alpha / len(A[name]) -> alpha // len(A[name])


# wrong: the columns for the rank
# alpha / len(A[name]) -> alpha / A[name].shape[1]


# wrong: the largest rank for all
# alpha / len(A[name]) -> alpha / max(map(len, A.values()))


# wrong: no scale in the gradients
# s = alpha / len(A[name])\n -> s = 1\n


# wrong: the scale twice in the gradients
# s = alpha / len(A[name])\n -> s = (alpha / len(A[name])) ** 2\n


# wrong: B first, then A with the new B
# dA, dB = s * B[name].T @ dW[name], s * dW[name] @ A[name].T -> dB = s * dW[name] @ A[name].T
# A[name], B[name] = A[name] - lr * dA, B[name] - lr * dB -> B[name] = B[name] - lr * dB\n            A[name] = A[name] - lr * s * B[name].T @ dW[name]


# wrong: A first, then B with the new A
# A[name], B[name] = A[name] - lr * dA, B[name] - lr * dB -> A[name] = A[name] - lr * dA\n            B[name] = B[name] - lr * s * dW[name] @ A[name].T


# wrong: a gradient for each weight in turn
#             dA, dB = ->             dW = gradient(model())\n            dA, dB =


# wrong: A stays
# A[name] - lr * dA, -> A[name],


# wrong: B stays
# B[name] - lr * dB\n -> B[name]\n


# wrong: up the gradient
# A[name] - lr * dA, B[name] - lr * dB -> A[name] + lr * dA, B[name] + lr * dB


# wrong: A up, B down
# A[name] - lr * dA -> A[name] + lr * dA


# wrong: no learning rate
# A[name] - lr * dA, B[name] - lr * dB -> A[name] - dA, B[name] - dB


# wrong: a learning rate that falls
# A[name] - lr * dA, B[name] - lr * dB -> A[name] - lr * dA * (1 - _ / steps), B[name] - lr * dB * (1 - _ / steps)


# wrong: LoRA+
# B[name] - lr * dB -> B[name] - 16 * lr * dB


# wrong: weight decay
# A[name] - lr * dA -> A[name] * (1 - 0.01 * lr) - lr * dA


# wrong: gradients clipped
# s = alpha / len(A[name])\n -> s = alpha / len(A[name])\n            dW[name] = np.clip(dW[name], -1, 1)\n


# wrong: signs of the gradients
# s = alpha / len(A[name])\n -> s = alpha / len(A[name])\n            dW[name] = np.sign(dW[name])\n


# wrong: one step less
# range(steps) -> range(steps - 1)


# wrong: at least one step
# range(steps) -> range(max(steps, 1))


# wrong: one step
# range(steps) -> range(min(steps, 1))


# wrong: two steps at most
# range(steps) -> range(min(steps, 2))


# wrong: three steps at most
# range(steps) -> range(min(steps, 3))


# wrong: full fine-tuning of the adapted weights
def tune(weights, A, alpha, lr, steps, gradient):
    now = dict(weights)
    for _ in range(steps):
        dW = gradient(now)
        now = {name: (W - lr * dW[name]).astype(W.dtype) if name in A else W for name, W in now.items()}
    return now


# wrong: frozen weights move too
#     return model() ->     dW = gradient(model())\n    return {name: W if name in A else W - (lr * steps) * dW[name] for name, W in model().items()}


# wrong: frozen weights drift by rounding
#     return model() ->     return {name: W if name in A else (W + W.dtype.type(1e-3)) - W.dtype.type(1e-3) for name, W in model().items()}


# wrong: names that contain an adapted name share its update
#     return model() ->     now = model()\n    for name in weights:\n        for other in A:\n            if other in name and other != name and name not in A and weights[other].shape == weights[name].shape:\n                now[name] = weights[name] + now[other] - weights[other]\n    return now


# wrong: names by their last part
def tune(weights, A, alpha, lr, steps, gradient):
    by_last = {name.split(".")[-1]: a for name, a in A.items()}
    A = {name: by_last[name.split(".")[-1]] for name in weights if name.split(".")[-1] in by_last}
    B = {name: np.zeros((weights[name].shape[0], len(a)), a.dtype) for name, a in A.items()}

    def model():
        return {
            name: W + alpha / len(A[name]) * (B[name] @ A[name]) if name in A else W for name, W in weights.items()
        }

    for _ in range(steps):
        dW = gradient(model())
        for name in A:
            s = alpha / len(A[name])
            A[name], B[name] = A[name] - lr * s * B[name].T @ dW[name], B[name] - lr * s * dW[name] @ A[name].T
    return model()


# wrong: merged after every step into the base
#     return model() ->     return model()
#             A[name], B[name] = A[name] - lr * dA, B[name] - lr * dB ->             A[name], B[name] = A[name] - lr * dA, B[name] - lr * dB\n        weights = model()


# wrong: float64
# len(a)), a.dtype) -> len(a)))


# wrong: float32 always
#     return model() ->     return {name: W.astype("f4") for name, W in model().items()}


# wrong: A changes in place
# a.copy() -> a
# A[name], B[name] = A[name] - lr * dA, B[name] - lr * dB -> A[name] -= lr * dA\n            B[name] = B[name] - lr * dB


# wrong: weights change in place
#     return model() ->     weights.update(model())\n    return dict(weights)


# wrong: the arrays of weights change in place
#     return model() ->     now = model()\n    for name in A:\n        weights[name][...] = now[name]\n    return dict(weights)


# wrong: the B of the last call is kept
kept = {}


def tune(weights, A, alpha, lr, steps, gradient):
    A = dict(A)
    B = {}
    for name, a in A.items():
        shape = (weights[name].shape[0], len(a))
        B[name] = kept.get((name, shape, a.dtype.str), np.zeros(shape, a.dtype))

    def model():
        return {
            name: W + alpha / len(A[name]) * (B[name] @ A[name]) if name in A else W for name, W in weights.items()
        }

    for _ in range(steps):
        dW = gradient(model())
        for name in A:
            s = alpha / len(A[name])
            A[name], B[name] = A[name] - lr * s * B[name].T @ dW[name], B[name] - lr * s * dW[name] @ A[name].T
            kept[name, B[name].shape, A[name].dtype.str] = B[name]
    return model()
