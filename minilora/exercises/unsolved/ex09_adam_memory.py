"""Exercise 9 (lesson 4): what training keeps in memory (LoRA paper, section 4.2)."""


def training_bytes(parameters: int, trainable: int, bytes_per_number: int) -> dict[str, int]:
    """The bytes that training with Adam keeps from step to step.

    parameters        how many numbers the model has, frozen ones included
    trainable         how many of them train
    bytes_per_number  2, 4 or 8; weights, gradients and Adam's moments all use it

    Returns {"weights": ..., "gradients": ..., "adam": ...}. A frozen number has no gradient and no moments.
    """
    raise NotImplementedError
