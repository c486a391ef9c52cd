"""Exercise 16: copy all, then move some."""


def train_step(parameters, gradients, trainable, lr):
    moved = {name: w.copy() for name, w in parameters.items()}
    for name in trainable:
        if name in gradients:
            moved[name] -= lr * gradients[name]
    return moved
