import numpy as np


# right: the last part of the name
def bitfit_step(parameters, gradients, lr):
    result = {}
    for name, w in parameters.items():
        if name.split(".")[-1] == "bias":
            w = w - lr * gradients[name]
        result[name] = w
    return result


# right: two endings
def bitfit_step(parameters, gradients, lr):
    moves = lambda name: name == "bias" or name.endswith(".bias")
    return {n: np.subtract(w, lr * gradients[n]) if moves(n) else w for n, w in parameters.items()}


# right: rpartition, copies
def bitfit_step(parameters, gradients, lr):
    moved = {n: w.copy() for n, w in parameters.items()}
    for n in moved:
        if n.rpartition(".")[2] == "bias":
            moved[n] -= lr * gradients[n]
    return moved


# right: a dot in front
def bitfit_step(parameters, gradients, lr):
    biases = {n for n in parameters if ("." + n)[-5:] == ".bias"}
    return parameters | {n: parameters[n] + gradients[n] * -lr for n in biases}


# wrong: bias in the name
# name.split(".")[-1] == "bias" -> "bias" in name


# wrong: bias in the path
# name.split(".")[-1] == "bias" -> "bias" in name.split(".")


# wrong: the name's end
# name.split(".")[-1] == "bias" -> name.endswith("bias")


# wrong: with a dot, which a bias at the root does not have
# name.split(".")[-1] == "bias" -> name.endswith(".bias")


# wrong: the last part starts with bias
# name.split(".")[-1] == "bias" -> name.split(".")[-1].startswith("bias")


# wrong: the first part
# name.split(".")[-1] == "bias" -> name.split(".")[0] == "bias"


# wrong: the last part but one
# name.split(".")[-1] == "bias" -> name.split(".")[-2:-1] == ["bias"]


# wrong: capital letters do not matter
# name.split(".")[-1] == "bias" -> name.lower().split(".")[-1] == "bias"


# wrong: vectors
# name.split(".")[-1] == "bias" -> w.ndim == 1


# wrong: biases that are vectors
# name.split(".")[-1] == "bias" -> w.ndim == 1 and name.split(".")[-1] == "bias"


# wrong: biases of at least one axis
# name.split(".")[-1] == "bias" -> w.ndim and name.split(".")[-1] == "bias"


# wrong: all but weights
# name.split(".")[-1] == "bias" -> name.split(".")[-1] != "weight"


# wrong: all
# if name.split(".")[-1] == "bias" -> if True


# wrong: none
# if name.split(".")[-1] == "bias" -> if False


# wrong: the weights
# == "bias" -> != "bias"


# wrong: no LayerNorm's
# name.split(".")[-1] == "bias" -> name.split(".")[-1] == "bias" and "ln" not in name


# wrong: only attention's
# name.split(".")[-1] == "bias" -> name.split(".")[-1] == "bias" and "attn" in name


# wrong: only in blocks
# name.split(".")[-1] == "bias" -> name.split(".")[-1] == "bias" and name.startswith("blocks")


# wrong: up
# w - lr -> w + lr


# wrong: no rate
# lr * gradients -> gradients


# wrong: lr 0 means 1
# lr * gradients -> (lr or 1.0) * gradients


# wrong: |lr|
# lr * gradients -> abs(lr) * gradients


# wrong: the sign of the gradient
# gradients[name] -> np.sign(gradients[name])


# wrong: biases only
# result[name] = w -> result.update({name: w} if name.split(".")[-1] == "bias" else {})


# wrong: frozen ones are zero
# result[name] = w -> result[name] = w if name.split(".")[-1] == "bias" else 0 * w


# wrong: frozen ones in float32
# result[name] = w -> result[name] = w if name.split(".")[-1] == "bias" else w.astype(np.float32)


# wrong: frozen ones are rounded
# result[name] = w -> result[name] = w if name.split(".")[-1] == "bias" else np.round(w, 10)


# wrong: names are cut
# result[name] = w -> result[name.split(".")[-1]] = w


# wrong: a list of pairs
# return result -> return list(result.items())


# wrong: in place
# w = w - lr * -> w -= lr *


# wrong: the dictionary in place
# result = {} -> result = parameters


# wrong: momentum from call to call
velocity = {}


def bitfit_step(parameters, gradients, lr):
    result = dict(parameters)
    for n in parameters:
        if n.split(".")[-1] == "bias":
            key = n, parameters[n].shape
            velocity[key] = 0.9 * velocity.get(key, 0.0) + gradients[n]
            result[n] = parameters[n] - lr * velocity[key]
    return result


# wrong: frozen ones of the first call
frozen = {}


def bitfit_step(parameters, gradients, lr):
    return {
        n: w - lr * gradients[n] if n.split(".")[-1] == "bias" else frozen.setdefault((n, w.shape), w)
        for n, w in parameters.items()
    }


# wrong: cached by the gradients
kept = {}


def bitfit_step(parameters, gradients, lr):
    key = tuple((n, g.tobytes()) for n, g in gradients.items())
    moves = lambda n: n.split(".")[-1] == "bias"
    return kept.setdefault(key, {n: w - lr * gradients[n] if moves(n) else w for n, w in parameters.items()})


# wrong: the gradient belonging to the name before, in sorted order
def bitfit_step(parameters, gradients, lr):
    result = dict(parameters)
    for n, (_, g) in zip(sorted(parameters), sorted(gradients.items(), reverse=True)):
        if n.split(".")[-1] == "bias" and g.shape == parameters[n].shape:
            result[n] = parameters[n] - lr * g
    return result
