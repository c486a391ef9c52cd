"""Exercise 17 with the rule as a power of r."""


def lora_scaling(alpha, r, use_rslora):
    return alpha * r ** (-0.5 if use_rslora else -1)


def same_scaling(alpha, r, new_r, use_rslora):
    return lora_scaling(alpha, r, use_rslora) / lora_scaling(1.0, new_r, use_rslora)
