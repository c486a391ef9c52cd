"""Exercise 17 (lesson 6): what alpha means (Hu et al. 2021, section 4.1; Kalajdzievski 2023 for rsLoRA)."""


def lora_scaling(alpha: float, r: int, use_rslora: bool) -> float:
    """The factor s in h = W0 x + s B A x: alpha / r, or alpha / sqrt(r) with use_rslora."""
    raise NotImplementedError


def same_scaling(alpha: float, r: int, new_r: int, use_rslora: bool) -> float:
    """The alpha that gives rank new_r the same factor s that `alpha` gives rank r."""
    raise NotImplementedError
