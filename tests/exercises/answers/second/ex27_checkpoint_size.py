# right: two factors of d_model x r
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    return n_layer * matrices * 2 * d_model * r * bytes_per_number


# right: numbers in A, numbers in B
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    in_A, in_B = r * d_model, d_model * r
    total = 0
    for _ in range(matrices):
        total += (in_A + in_B) * n_layer
    return int(bytes_per_number) * total


# right: a product over a list
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    import math

    return math.prod([n_layer, matrices, d_model + d_model, r, bytes_per_number])


# right: bits, then bytes, in whole numbers
def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    bits = 8 * bytes_per_number
    return (n_layer * matrices * r * d_model * bits << 1) // 8


# wrong: one factor
# matrices * 2 * d_model -> matrices * d_model


# wrong: the whole matrix
# 2 * d_model * r -> d_model * d_model


# wrong: the whole matrix as well
# return -> return n_layer * matrices * d_model * d_model * bytes_per_number +


# wrong: two matrices in each layer
# matrices * 2 -> 2 * 2


# wrong: two bytes
# * bytes_per_number -> * 2


# wrong: bits
# * bytes_per_number -> * bytes_per_number * 8


# wrong: Adam's moments too
# * bytes_per_number -> * bytes_per_number * 3


# wrong: a header
# * bytes_per_number -> * bytes_per_number + 8


# wrong: an alpha per matrix
# * bytes_per_number -> * bytes_per_number + n_layer * matrices * bytes_per_number


# wrong: a bias per matrix
# 2 * d_model * r -> (2 * d_model * r + d_model)


# wrong: the rank is at most d_model
# d_model * r -> d_model * min(r, d_model)


# wrong: mebibytes
# * bytes_per_number -> * bytes_per_number // 2**20


# wrong: whole megabytes, in bytes
# * bytes_per_number -> * bytes_per_number // 10**6 * 10**6


# wrong: padded to 64 bytes
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> return -(-(n_layer * matrices * 2 * d_model * r * bytes_per_number) // 64) * 64


# wrong: floating point
# * bytes_per_number -> * float(bytes_per_number)


# wrong: single precision and back
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> import numpy as np\n    return int(np.prod(np.array([n_layer, matrices, 2, d_model, r], np.float32))) * bytes_per_number


# wrong: 32 bits
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> size = n_layer * matrices * 2 * d_model * r * bytes_per_number & 0xFFFFFFFF\n    return size


# wrong: 31 bits and a sign
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> size = n_layer * matrices * 2 * d_model * r * bytes_per_number\n    return (size + 2**31) % 2**32 - 2**31


# wrong: at most 2^31 - 1
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> return min(n_layer * matrices * 2 * d_model * r * bytes_per_number, 2**31 - 1)


# wrong: a square root of the rank
# d_model * r -> d_model * int(r**0.5)


# wrong: the embedding layer counts
# n_layer * matrices -> (n_layer + 1) * matrices


# wrong: GPT-3 always
# return n_layer -> d_model = 12288 if d_model > 1000 else d_model\n    return n_layer


# wrong: remembered by the layers
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> return SEEN.setdefault((n_layer, matrices), n_layer * matrices * 2 * d_model * r * bytes_per_number)
# def lora -> SEEN = {}\n\n\ndef lora


# wrong: remembered but for the bytes
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> return SEEN.setdefault((n_layer, matrices, d_model, r), n_layer * matrices * 2 * d_model * r * bytes_per_number)
# def lora -> SEEN = {}\n\n\ndef lora


# wrong: half a byte is none
# * bytes_per_number -> * (bytes_per_number // 2 * 2)


# wrong: text
# return n_layer * matrices * 2 * d_model * r * bytes_per_number -> return f"{n_layer * matrices * 2 * d_model * r * bytes_per_number} bytes"
