"""Exercise 23: the last part of the name decides."""


def bitfit_step(parameters, gradients, lr):
    return {name: w - lr * gradients[name] if name.split(".")[-1] == "bias" else w for name, w in parameters.items()}
