"""Exercise 23: copy all, then move the biases."""


def bitfit_step(parameters, gradients, lr):
    moved = {name: w.copy() for name, w in parameters.items()}
    for name in moved:
        if name == "bias" or name.endswith(".bias"):
            moved[name] -= lr * gradients[name]
    return moved
