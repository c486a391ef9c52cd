"""Exercise 27 (lesson 13): 350 GB become 35 MB (Hu et al. 2021, section 4.2)."""


def lora_checkpoint_bytes(n_layer: int, matrices: int, d_model: int, r: int, bytes_per_number: int) -> int:
    """The size of a LoRA checkpoint, which holds the factors A and B of every adapted matrix and nothing else.

    n_layer            layers of the transformer (GPT-3: 96)
    matrices           adapted matrices in each layer, all d_model x d_model (W_q and W_v: 2)
    d_model            (GPT-3: 12288)
    r                  the rank (4 in the paper's example)
    bytes_per_number   (2 for 16 bits)

    Returns bytes, a whole number. For GPT-3 it is the paper's "35 MB", or 36 MiB to be exact.
    """
    raise NotImplementedError
