"""Exercise 14 (lesson 5): how many numbers LoRA trains (Hu et al. 2021, section 4.2)."""


def lora_parameters(shapes: list[tuple[int, int]], r: int) -> int:
    """The number of trainable parameters when every weight in a list gets factors B A of rank r.

    shapes   the (d, k) of each adapted weight
    r        the rank

    Returns a whole number.
    """
    raise NotImplementedError
