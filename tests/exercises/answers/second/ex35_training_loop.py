import numpy as np


# right: step by step
def tune(weights, A, alpha, lr, steps, gradient):
    A = {n: a.copy() for n, a in A.items()}
    B = {n: np.zeros((len(weights[n]), len(a)), weights[n].dtype) for n, a in A.items()}

    def model():
        return {n: w + w.dtype.type(alpha / len(A[n])) * (B[n] @ A[n]) if n in A else w.copy() for n, w in weights.items()}

    for _ in range(steps):
        dW = gradient(model())
        for n in A:
            s = alpha / len(A[n])
            dA, dB = s * B[n].T @ dW[n], s * dW[n] @ A[n].T
            A[n] = (A[n] - lr * dA).astype(A[n].dtype)
            B[n] = (B[n] - lr * dB).astype(B[n].dtype)
    return model()


# right: pairs in a list, while
def tune(weights, A, alpha, lr, steps, gradient):
    state = {n: (a.astype(float), np.zeros((weights[n].shape[0], a.shape[0]))) for n, a in A.items()}
    while True:
        now = dict(weights)
        for n, (a, b) in state.items():
            now[n] = (weights[n] + alpha / a.shape[0] * np.dot(b, a)).astype(weights[n].dtype)
        if steps <= 0:
            return now
        g = gradient(now)
        state = {n: (a - lr * alpha / a.shape[0] * b.T @ g[n], b - lr * alpha / a.shape[0] * g[n] @ a.T) for n, (a, b) in state.items()}
        steps -= 1


# right: B A as one update, factors side by side
def tune(weights, A, alpha, lr, steps, gradient):
    names = [n for n in weights if n in A]
    As = [np.array(A[n]) for n in names]
    Bs = [np.zeros((weights[n].shape[0], len(a)), dtype=a.dtype) for n, a in zip(names, As)]
    scales = [alpha / len(a) for a in As]

    def merged():
        updates = {n: s * (b @ a) for n, s, a, b in zip(names, scales, As, Bs)}
        return {n: (np.add(w, updates[n]) if n in updates else w).astype(w.dtype) for n, w in weights.items()}

    for _ in range(steps):
        grads = gradient(merged())
        moves = [(s * b.T @ grads[n], s * grads[n] @ a.T) for n, s, a, b in zip(names, scales, As, Bs)]
        for i, (dA, dB) in enumerate(moves):
            As[i] = As[i] - lr * dA
            Bs[i] = Bs[i] - lr * dB
    return merged()


# right: a generator of models, the last of which counts
def tune(weights, A, alpha, lr, steps, gradient):
    def models(A, B):
        while True:
            now = {n: w.astype(w.dtype) for n, w in weights.items()}
            for n in A:
                now[n] += (alpha / A[n].shape[0] * B[n] @ A[n]).astype(now[n].dtype)
            yield now
            dW = gradient({n: w.copy() for n, w in now.items()})
            G = {n: alpha / A[n].shape[0] * dW[n] for n in A}
            A, B = {n: A[n] - lr * B[n].T @ G[n] for n in A}, {n: B[n] - lr * G[n] @ A[n].T for n in A}

    loop = models(dict(A), {n: np.zeros((weights[n].shape[0], a.shape[0])) for n, a in A.items()})
    for _ in range(steps):
        next(loop)
    return next(loop)


# wrong: gradients once, at the start
# for _ in range(steps):\n        dW = gradient(model()) -> dW = gradient(model()) if steps else None\n    for _ in range(steps):


# wrong: gradients at the base
# gradient(model()) -> gradient({n: w.copy() for n, w in weights.items()})


# wrong: only the adapted weights go to gradient
# gradient(model()) -> gradient({n: w for n, w in model().items() if n in A})


# wrong: one step at least
# range(steps) -> range(max(steps, 1))


# wrong: three steps at most
# range(steps) -> range(min(steps, 3))


# wrong: B first, then A by the new B
# dA, dB = s * B[n].T @ dW[n], s * dW[n] @ A[n].T -> dB = s * dW[n] @ A[n].T\n            dA = s * (B[n] - lr * dB).T @ dW[n]


# wrong: A first, then B by the new A
# dA, dB = s * B[n].T @ dW[n], s * dW[n] @ A[n].T -> dA = s * B[n].T @ dW[n]\n            dB = s * dW[n] @ (A[n] - lr * dA).T


# wrong: A stays
# A[n] = (A[n] - lr * dA).astype(A[n].dtype) -> pass


# wrong: dB without the scale
# s * dW[n] @ A[n].T -> dW[n] @ A[n].T


# wrong: the scale of the first A for all
# alpha / len(A[n]) -> alpha / len(next(iter(A.values())))


# wrong: the scale by the smaller side
# alpha / len(A[n]) -> alpha / min(A[n].shape)


# wrong: whole-number scale
# alpha / len(A[n]) -> alpha // len(A[n])


# wrong: A in place
# A = {n: a.copy() for n, a in A.items()} -> pass
# A[n] = (A[n] - lr * dA).astype(A[n].dtype) -> A[n] -= (lr * dA).astype(A[n].dtype)


# wrong: A's dictionary is changed
# A = {n: a.copy() for n, a in A.items()} -> pass


# wrong: weights in place
# return model() -> tuned = model()\n    for n in A:\n        weights[n][...] = tuned[n]\n    return tuned
# return {n: -> return {n:


# wrong: only the adapted weights come back
# return model() -> tuned = model()\n    return {n: tuned[n] for n in A}
# def model(): -> def model():


# wrong: adapted by the last name
# if n in A else w.copy() -> if n in A else (w - lr * 0.1 * w if n.split(".")[-1] in {m.split(".")[-1] for m in A} and steps else w.copy())


# wrong: momentum of a tenth
# B[n] = (B[n] - lr * dB).astype(B[n].dtype) -> B[n] = (B[n] * (1 if _ == 0 else 1.1) - lr * dB).astype(B[n].dtype)


# wrong: float64 comes back
# w.dtype.type(alpha / len(A[n])) -> np.float64(alpha / len(A[n]))
# , weights[n].dtype) for -> ) for
# .astype(A[n].dtype) -> .astype(float)
# .astype(B[n].dtype) -> .astype(float)


# wrong: a decaying rate
# (B[n] - lr * dB) -> (B[n] - lr / (1 + _) * dB)


# wrong: B is kept between calls
# B = {n: np.zeros((len(weights[n]), len(a)), weights[n].dtype) for n, a in A.items()} -> B = {n: KEPT.get((n, weights[n].shape, a.shape, a.dtype), np.zeros((len(weights[n]), len(a)), weights[n].dtype)) for n, a in A.items()}
# return model() -> KEPT.update({(n, weights[n].shape, A[n].shape, A[n].dtype): B[n] for n in A})\n    return model()
# def tune -> KEPT = {}\n\n\ndef tune
