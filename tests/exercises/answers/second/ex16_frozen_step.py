import numpy as np


# right: a comprehension
def train_step(parameters, gradients, trainable, lr):
    return {n: w - lr * gradients[n] if n in trainable and n in gradients else w for n, w in parameters.items()}


# right: copies, then the trainable ones replaced
def train_step(parameters, gradients, trainable, lr):
    result = {name: np.array(value) for name, value in parameters.items()}
    for name in set(trainable) & set(gradients):
        result[name] = np.subtract(parameters[name], np.multiply(lr, gradients[name]))
    return result


# right: over the gradients
def train_step(parameters, gradients, trainable, lr):
    new = dict(parameters)
    for name, gradient in gradients.items():
        if name not in trainable:
            continue
        new[name] = parameters[name] + (-lr) * gradient
    return new


# right: where there is no gradient it is 0
def train_step(parameters, gradients, trainable, lr):
    on = dict.fromkeys(trainable)
    result = {}
    for name in reversed(list(parameters)):
        w = parameters[name].copy()
        if name in on and gradients.get(name) is not None:
            w -= lr * gradients[name]
        result[name] = w
    return result


# wrong: everything with a gradient
# n in trainable and n in gradients -> n in gradients


# wrong: a trainable parameter must have a gradient
# n in trainable and n in gradients -> n in trainable


# wrong: names that contain a trainable one
# n in trainable -> any(t in n for t in trainable)


# wrong: names within a trainable one
# n in trainable -> n in " ".join(trainable)


# wrong: names that end like a trainable one
# n in trainable -> n.endswith(tuple(trainable))


# wrong: names that start like a trainable one
# n in trainable -> n.startswith(tuple(trainable))


# wrong: the last name decides
# n in trainable -> n.split(".")[-1] in [t.split(".")[-1] for t in trainable]


# wrong: the first of the trainable ones
# n in trainable -> n in trainable[:1]


# wrong: in the order of the gradients, paired with the trainable names
def train_step(parameters, gradients, trainable, lr):
    new = dict(parameters)
    for name, gradient in zip(trainable, gradients.values()):
        if np.shape(gradient) == np.shape(new[name]):
            new[name] = new[name] - lr * gradient
    return new


# wrong: nothing trainable means everything
# return { -> trainable = trainable or list(parameters)\n    return {


# wrong: the arrays are changed
# return {n: w - lr * gradients[n] if n in trainable and n in gradients else w for n, w in parameters.items()} -> for n in trainable:\n        if n in gradients:\n            parameters[n] -= lr * gradients[n]\n    return parameters


# wrong: the arrays are changed, and put back roughly
# return { -> for n in trainable:\n        if n in gradients:\n            parameters[n] -= lr * gradients[n]\n            parameters[n] += lr * gradients[n]\n    return {


# wrong: the gradients are scaled in place
# return { -> gradients = {n: np.multiply(g, lr, out=g) for n, g in gradients.items()}\n    return {
# lr * gradients[n] -> gradients[n]


# wrong: the step goes uphill
# w - lr -> w + lr


# wrong: a tenth of the learning rate
# lr * gradients -> 0.1 * lr * gradients


# wrong: the learning rate is at most 1
# lr * gradients -> min(lr, 1.0) * gradients


# wrong: the learning rate 0 is taken for the usual one
# lr * gradients -> (lr or 0.01) * gradients


# wrong: the gradients' signs
# lr * gradients[n] -> lr * np.sign(gradients[n])


# wrong: gradients of norm above 1 are shortened
# lr * gradients[n] -> lr * gradients[n] / max(1.0, float(np.linalg.norm(np.ravel(gradients[n]))))


# wrong: only the trained ones come back
# for n, w in parameters.items()} -> for n, w in parameters.items() if n in trainable}


# wrong: trainable ones without a gradient are lost
# for n, w in parameters.items()} -> for n, w in parameters.items() if n not in trainable or n in gradients}


# wrong: without a gradient a parameter fades
# else w for -> else w * (n not in trainable) for


# wrong: frozen ones come back as zeros
# else w for -> else (w if n in trainable else np.zeros_like(w)) for


# wrong: momentum
# lr * gradients[n] -> lr * SPEED.setdefault(n, gradients[n])
# def train -> SPEED = {}\n\n\ndef train


# wrong: frozen ones as they were in the first call
# else w for -> else FROZEN.setdefault((n, w.shape), w) for
# def train -> FROZEN = {}\n\n\ndef train


# wrong: single precision
# w - lr * gradients[n] -> (w - lr * gradients[n]).astype(np.float32)


# wrong: scalars become vectors
# w - lr * gradients[n] -> np.atleast_1d(w - lr * gradients[n])


# wrong: a list of arrays
# return { -> return list({
# parameters.items()} -> parameters.items()}.values())
