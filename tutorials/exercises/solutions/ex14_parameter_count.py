"""Exercise 14: A has r k numbers, B has d r."""


def lora_parameters(shapes, r):
    return sum(r * (d + k) for d, k in shapes)
