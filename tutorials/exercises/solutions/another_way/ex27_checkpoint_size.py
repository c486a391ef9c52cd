"""Exercise 27 matrix by matrix."""


def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    A, B = r * d_model, d_model * r
    return sum(A + B for _ in range(n_layer) for _ in range(matrices)) * bytes_per_number
