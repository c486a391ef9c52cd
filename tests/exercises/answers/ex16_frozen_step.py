import numpy as np


# right: a new dictionary
def train_step(parameters, gradients, trainable, lr):
    result = {}
    for name, w in parameters.items():
        if name in trainable and name in gradients:
            w = w - lr * gradients[name]
        result[name] = w
    return result


# right: copies that move
def train_step(parameters, gradients, trainable, lr):
    moved = {name: w.copy() for name, w in parameters.items()}
    for name in set(trainable).intersection(gradients):
        moved[name] -= lr * gradients[name]
    return moved


# right: a comprehension with None
def train_step(parameters, gradients, trainable, lr):
    steps = {name: gradients.get(name) for name in trainable}
    return {n: w if steps.get(n) is None else np.subtract(w, np.multiply(lr, steps[n])) for n, w in parameters.items()}


# right: updates over a copy of the dictionary
def train_step(parameters, gradients, trainable, lr):
    result = dict(parameters)
    result.update({n: parameters[n] + (-lr) * gradients[n] for n in gradients if n in trainable})
    return result


# wrong: frozen ones with a gradient move
# name in trainable and name in gradients -> name in gradients


# wrong: a gradient is needed
#  and name in gradients ->


# wrong: without a gradient it is dropped
# result[name] = w -> result.update({name: w} if name not in trainable or name in gradients else {})


# wrong: without a gradient it becomes zero
# result[name] = w -> result[name] = w if name not in trainable or name in gradients else 0 * w


# wrong: frozen ones are missing
# result[name] = w -> result.update({name: w} if name in trainable else {})


# wrong: frozen ones are zero
# result[name] = w -> result[name] = w if name in trainable else np.zeros_like(w)


# wrong: frozen ones are None
# result[name] = w -> result[name] = w if name in trainable else None


# wrong: frozen ones in float32
# result[name] = w -> result[name] = w if name in trainable else w.astype(np.float32)


# wrong: frozen ones decay a little
# result[name] = w -> result[name] = w if name in trainable else w * (1 - 1e-9)


# wrong: trained ones decay
# w = w - lr -> w = 0.99 * w - lr


# wrong: up
# w - lr -> w + lr


# wrong: no rate
# lr * gradients -> gradients


# wrong: the rate divided by the number that train
# lr * gradients -> lr / len(trainable) * gradients


# wrong: the sign of the gradient
# lr * gradients[name] -> lr * np.sign(gradients[name])


# wrong: clipped
# lr * gradients[name] -> lr * np.clip(gradients[name], -1, 1)


# wrong: normalised
# lr * gradients[name] -> lr * gradients[name] / (np.linalg.norm(gradients[name]) + 1e-12)


# wrong: names that contain a trainable one
# name in trainable and -> any(t in name for t in trainable) and


# wrong: names contained in a trainable one
# name in trainable and -> any(name in t for t in trainable) and


# wrong: names in the joined list
# name in trainable and -> name in " ".join(trainable) and


# wrong: endings
# name in trainable and -> name.endswith(tuple(trainable)) and


# wrong: beginnings
# name in trainable and -> name.startswith(tuple(trainable)) and


# wrong: names with lora in them, whatever trains
# name in trainable and -> "lora" in name and


# wrong: everything but "weight"
# name in trainable and -> not name.endswith("weight") and


# wrong: an empty list means all
# name in trainable and -> (name in trainable or not trainable) and


# wrong: the first trainable only
# name in trainable and -> name in trainable[:1] and


# wrong: gradients by position
# gradients[name] -> list(gradients.values())[min(list(parameters).index(name), len(gradients) - 1)].reshape(-1)[: w.size].reshape(w.shape)


# wrong: 2-D only
# name in trainable and -> w.ndim == 2 and name in trainable and


# wrong: in place
# w = w - lr * -> w -= lr *


# wrong: the dictionary in place
# result = {} -> result = parameters


# wrong: only the steps
# w = w - lr * gradients[name]\n -> w = -lr * gradients[name]\n


# wrong: the gradients are scaled in place
# w = w - lr * gradients[name] -> gradients[name] *= lr; w = w - gradients[name]


# wrong: gradients are removed
# w - lr * gradients[name] -> w - lr * gradients.pop(name)


# wrong: lr 0 means 0.01
# lr * gradients -> (lr or 0.01) * gradients


# wrong: float32 on the way
# w = w - lr * gradients[name] -> w = w - np.float32(lr) * gradients[name]


# wrong: momentum from call to call
velocity = {}


def train_step(parameters, gradients, trainable, lr):
    result = dict(parameters)
    for name in trainable:
        if name in gradients:
            old = velocity.get((name, gradients[name].shape), 0.0)
            velocity[name, gradients[name].shape] = 0.9 * old + gradients[name]
            result[name] = parameters[name] - lr * velocity[name, gradients[name].shape]
    return result


# wrong: the trainable names of the first call
first = []


def train_step(parameters, gradients, trainable, lr):
    first.extend(trainable if not first else [])
    return {n: w - lr * gradients[n] if n in first and n in gradients else w for n, w in parameters.items()}


# wrong: one dictionary for all calls
result = {}


def train_step(parameters, gradients, trainable, lr):
    for n, w in parameters.items():
        result[n] = w - lr * gradients[n] if n in trainable and n in gradients else w
    return result


# wrong: frozen ones are kept from the first call, by name and shape
frozen = {}


def train_step(parameters, gradients, trainable, lr):
    result = {}
    for n, w in parameters.items():
        moves = n in trainable and n in gradients
        result[n] = w - lr * gradients[n] if moves else frozen.setdefault((n, w.shape), w)
    return result
