"""Exercise 27: 2 x L x d_model x r numbers with L the number of adapted matrices; the 2 is for B and A."""


def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    adapted = n_layer * matrices
    return 2 * adapted * d_model * r * bytes_per_number
