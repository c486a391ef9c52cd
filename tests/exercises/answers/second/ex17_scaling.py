import math


# right: formulas
def lora_scaling(alpha, r, use_rslora):
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def same_scaling(alpha, r, new_r, use_rslora):
    return alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r


# right: by powers
def lora_scaling(alpha, r, use_rslora):
    return alpha * r ** (-0.5 if use_rslora else -1.0)


def same_scaling(alpha, r, new_r, use_rslora):
    return alpha * (new_r / r) ** (0.5 if use_rslora else 1)


# right: the second by the first
def lora_scaling(alpha, r, use_rslora):
    divisor = r
    if use_rslora:
        divisor = r**0.5
    return float(alpha) / divisor


def same_scaling(alpha, r, new_r, use_rslora):
    return lora_scaling(alpha, r, use_rslora) / lora_scaling(1.0, new_r, use_rslora)


# right: logarithms' worth of rank
def lora_scaling(alpha, r, use_rslora):
    return alpha * math.exp(-math.log(r) / (2 if use_rslora else 1))


def same_scaling(alpha, r, new_r, use_rslora):
    rank = {True: math.sqrt, False: float}[bool(use_rslora)]
    return lora_scaling(alpha, r, use_rslora) * rank(new_r)


# wrong: whole-number division
# alpha / r -> alpha // r


# wrong: whole-number division of the ranks
# alpha * new_r / r -> alpha * (new_r // r)


# wrong: a whole alpha
# alpha * new_r / r -> round(alpha * new_r / r)


# wrong: a whole root
# math.sqrt(r) -> math.isqrt(r)


# wrong: the root of alpha too
# alpha / math.sqrt(r) -> math.sqrt(abs(alpha) / r)


# wrong: the root in both cases
# alpha / r -> alpha / math.sqrt(r)


# wrong: rsLoRA is not known
# alpha / math.sqrt(r) -> alpha / r


# wrong: the new alpha by the ratio in both cases
# alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r -> alpha * new_r / r


# wrong: alpha stays with rsLoRA
# alpha * math.sqrt(new_r / r) -> alpha


# wrong: the ratio upside down
# alpha * new_r / r -> alpha * r / new_r


# wrong: the root's ratio upside down
# math.sqrt(new_r / r) -> math.sqrt(r / new_r)


# wrong: the whole ratio's root
# math.sqrt(new_r / r) -> math.sqrt(max(new_r // r, 1))


# wrong: the other way about
# if use_rslora -> if not use_rslora


# wrong: the alpha 0 counts as r
# alpha / r -> (alpha or r) / r


# wrong: negative alphas are not known
# alpha / r -> max(alpha, 0) / r


# wrong: an absolute value
# alpha * new_r / r -> abs(alpha) * new_r / r


# wrong: rank 1 needs no factor
# return alpha / math.sqrt(r) if -> return (1.0 if r == 1 else alpha / math.sqrt(r)) if


# wrong: alpha never falls
# alpha * new_r / r -> alpha * max(new_r, r) / r


# wrong: new_r is at most r
# alpha * new_r / r -> alpha * min(new_r, r) / r


# wrong: the factor, not the alpha
# alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r -> lora_scaling(alpha, r, use_rslora)


# wrong: the factor is remembered by the rank
# alpha / r -> SEEN.setdefault(r, alpha / r)
# def lora -> SEEN = {}\n\n\ndef lora


# wrong: two decimals
# alpha / r -> round(alpha / r, 2)


# wrong: six decimals
# alpha / math.sqrt(r) -> round(alpha / math.sqrt(r), 6)


# wrong: 2 alpha as in the first code
# alpha / r -> 2 * alpha / r


# wrong: the last use_rslora is remembered
# return alpha * math.sqrt(new_r / r) if use_rslora -> use_rslora = LAST[0] if LAST else use_rslora\n    return alpha * math.sqrt(new_r / r) if use_rslora
# return alpha / math -> LAST[:] = [use_rslora]\n    return alpha / math
# def lora -> LAST = []\n\n\ndef lora
