"""Exercise 9: everything has a weight; only what trains has a gradient, an m and a v."""


def training_bytes(parameters, trainable, bytes_per_number):
    return {
        "weights": parameters * bytes_per_number,
        "gradients": trainable * bytes_per_number,
        "adam": 2 * trainable * bytes_per_number,
    }
