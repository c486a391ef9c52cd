# right: factors, then counts
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    A, B = r * d_model, d_model * r
    return (A + B) * n_layer * matrices * bytes_per_number


# right: a product
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    return 2 * n_layer * matrices * d_model * r * bytes_per_number


# right: sums
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    return sum(bytes_per_number * (r * d_model + d_model * r) for _ in range(n_layer) for _ in range(matrices))


# right: math.prod of a list
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    import math

    factors = ["A", "B"]
    return math.prod([len(factors), n_layer, matrices, d_model, r, bytes_per_number])


# wrong: A only
# (A + B) -> A


# wrong: A and B, and an r by r matrix
# (A + B) -> (A + B + r * r)


# wrong: no matrices
#  * matrices ->


# wrong: no layers
#  * n_layer ->


# wrong: layers + matrices
# n_layer * matrices -> (n_layer + matrices)


# wrong: numbers
#  * bytes_per_number\n -> \n


# wrong: bits
# * bytes_per_number\n -> * bytes_per_number * 8\n


# wrong: two bytes always
# * bytes_per_number\n -> * 2\n


# wrong: no rank
# r * d_model, d_model * r -> d_model, d_model


# wrong: rank squared
# r * d_model, d_model * r -> r * d_model * r, 0


# wrong: full matrices
# r * d_model, d_model * r -> d_model * d_model, 0


# wrong: full matrices in addition
# (A + B) -> (A + B + d_model * d_model)


# wrong: Adam's moments in addition
# (A + B) -> 3 * (A + B)


# wrong: the gradient in addition
# (A + B) -> 2 * (A + B)


# wrong: megabytes
# * bytes_per_number\n -> * bytes_per_number / 1e6\n


# wrong: mebibytes, whole
# * bytes_per_number\n -> * bytes_per_number // 2**20\n


# wrong: a header of 100 bytes
# * bytes_per_number\n -> * bytes_per_number + 100\n


# wrong: whole kilobytes
# return (A + B) * n_layer * matrices * bytes_per_number -> return -(-(A + B) * n_layer * matrices * bytes_per_number // 1024) * 1024


# wrong: 32 bits
# return (A + B) * n_layer * matrices * bytes_per_number -> return ((A + B) * n_layer * matrices * bytes_per_number + 2**31) % 2**32 - 2**31


# wrong: 32-bit floats
# return (A + B) * n_layer * matrices * bytes_per_number -> import numpy as np; return int(np.float32(A + B) * np.float32(n_layer * matrices * bytes_per_number))


# wrong: at most 35 MB
# return (A + B) * n_layer * matrices * bytes_per_number -> return min(37748736, (A + B) * n_layer * matrices * bytes_per_number)


# wrong: text
# return (A + B) * n_layer * matrices * bytes_per_number -> return f"{(A + B) * n_layer * matrices * bytes_per_number} bytes"


# wrong: two matrices always
# * matrices -> * 2


# wrong: the rank is cut at 64
# A, B = -> r = min(r, 64); A, B =


# wrong: cached by the layers and the width
kept = {}


def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    return kept.setdefault((n_layer, d_model, r), 2 * n_layer * matrices * d_model * r * bytes_per_number)


# wrong: cached without the bytes
kept = {}


def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    return kept.setdefault((n_layer, matrices, d_model, r), 2 * n_layer * matrices * d_model * r * bytes_per_number)


# wrong: a constant
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    return 37748736


# wrong: a running total
total = [0]


def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    total[0] += 2 * n_layer * matrices * d_model * r * bytes_per_number
    return total[0]
