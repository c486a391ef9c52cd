import numpy as np


# right: the last name
def bitfit_step(parameters, gradients, lr):
    return {n: w - lr * gradients[n] if n.split(".")[-1] == "bias" else w for n, w in parameters.items()}


# right: copies, then the biases
def bitfit_step(parameters, gradients, lr):
    new = {name: value.copy() for name, value in parameters.items()}
    for name in new:
        if name == "bias" or name.endswith(".bias"):
            new[name] -= lr * gradients[name]
    return new


# right: rpartition and a mask of 0 and 1
def bitfit_step(parameters, gradients, lr):
    result = {}
    for name in sorted(parameters):
        if name.rpartition(".")[2] != "bias":
            result[name] = parameters[name]
            continue
        result[name] = np.add(parameters[name], np.multiply(-lr, gradients[name]))
    return result


# right: a pattern
def bitfit_step(parameters, gradients, lr):
    import re

    biases = [n for n in parameters if re.fullmatch(r"(.*\.)?bias", n, re.DOTALL)]
    return parameters | {n: parameters[n] - gradients[n] * lr for n in biases}


# wrong: "bias" anywhere
# n.split(".")[-1] == "bias" -> "bias" in n


# wrong: "bias" at the end
# n.split(".")[-1] == "bias" -> n.endswith("bias")


# wrong: ".bias" at the end, so not at the root
# n.split(".")[-1] == "bias" -> n.endswith(".bias")


# wrong: ".bias" anywhere
# n.split(".")[-1] == "bias" -> ".bias" in "." + n


# wrong: one of the names
# n.split(".")[-1] == "bias" -> "bias" in n.split(".")


# wrong: the last name starts with it
# n.split(".")[-1] == "bias" -> n.split(".")[-1].startswith("bias")


# wrong: capitals do not matter
# n.split(".")[-1] -> n.split(".")[-1].lower()


# wrong: vectors
# n.split(".")[-1] == "bias" -> w.ndim == 1


# wrong: only vectors
# n.split(".")[-1] == "bias" -> n.split(".")[-1] == "bias" and w.ndim == 1


# wrong: everything but weights
# n.split(".")[-1] == "bias" -> n.split(".")[-1] != "weight"


# wrong: not the LayerNorms
# n.split(".")[-1] == "bias" -> n.split(".")[-1] == "bias" and ".ln_" not in n


# wrong: only layers with a weight
# n.split(".")[-1] == "bias" -> n.split(".")[-1] == "bias" and n[:-4] + "weight" in parameters


# wrong: the second name from the end
# n.split(".")[-1] == "bias" -> n.split(".")[1:][-1:] == ["bias"]


# wrong: the third name
# n.split(".")[-1] == "bias" -> n.split(".")[2:3] == ["bias"] or n.split(".")[3:4] == ["bias"]


# wrong: "_bias" too
# n.split(".")[-1] == "bias" -> n.replace("_", ".").split(".")[-1] == "bias"


# wrong: everything trains
# n.split(".")[-1] == "bias" -> True


# wrong: uphill
# w - lr -> w + lr


# wrong: the learning rate is at most 1
# lr * -> min(lr, 1.0) *


# wrong: the learning rate 0 is taken for 0.1
# lr * -> (lr or 0.1) *


# wrong: only the biases come back
# parameters.items()} -> parameters.items() if n.split(".")[-1] == "bias"}


# wrong: the arrays are changed
# return {n: w - lr * gradients[n] if n.split(".")[-1] == "bias" else w for n, w in parameters.items()} -> for n, w in parameters.items():\n        if n.split(".")[-1] == "bias":\n            w -= lr * gradients[n]\n    return dict(parameters)


# wrong: the dictionary is changed
# return {n: w - lr * gradients[n] if n.split(".")[-1] == "bias" else w for n, w in parameters.items()} -> for n, w in list(parameters.items()):\n        if n.split(".")[-1] == "bias":\n            parameters[n] = w - lr * gradients[n]\n    return parameters


# wrong: gradients paired by order
# return { -> gradients = dict(zip(parameters, gradients.values()))\n    return {


# wrong: the bias's gradient summed
# lr * gradients[n] -> lr * np.sum(gradients[n])


# wrong: biases of the first call
# w - lr -> SEEN.setdefault((n, w.shape), w) - lr
# def bit -> SEEN = {}\n\n\ndef bit


# wrong: zero biases stay
# if n.split(".")[-1] == "bias" -> if n.split(".")[-1] == "bias" and w.any()


# wrong: single precision
# w - lr * gradients[n] -> (w - lr * gradients[n]).astype(np.float32)


# wrong: scalars become vectors
# w - lr * gradients[n] -> np.atleast_1d(w - lr * gradients[n])
