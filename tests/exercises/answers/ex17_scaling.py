import math


# right: two formulas
def lora_scaling(alpha, r, use_rslora):
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def same_scaling(alpha, r, new_r, use_rslora):
    return alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r


# right: powers, and the second through the first
def lora_scaling(alpha, r, use_rslora):
    return alpha * r ** (-0.5 if use_rslora else -1)


def same_scaling(alpha, r, new_r, use_rslora):
    return lora_scaling(alpha, r, use_rslora) / lora_scaling(1.0, new_r, use_rslora)


# right: a denominator
def denominator(r, use_rslora):
    if use_rslora:
        return r**0.5
    return r


def lora_scaling(alpha, r, use_rslora):
    return alpha / denominator(r, use_rslora)


def same_scaling(alpha, r, new_r, use_rslora):
    s = lora_scaling(alpha, r, use_rslora)
    return s * denominator(new_r, use_rslora)


# right: exponentials
def lora_scaling(alpha, r, use_rslora):
    power = 1 - use_rslora / 2
    return alpha * math.exp(-power * math.log(r))


def same_scaling(alpha, r, new_r, use_rslora):
    return alpha * (new_r / r) ** (1 - use_rslora / 2)


# wrong: upside down
# else alpha / r -> else r / alpha if alpha else 0.0


# wrong: without the rank
# alpha / math.sqrt(r) if use_rslora else alpha / r -> alpha


# wrong: never rsLoRA
# alpha / math.sqrt(r) if use_rslora else alpha / r -> alpha / r


# wrong: always rsLoRA
# else alpha / r -> else alpha / math.sqrt(r)


# wrong: the two rules swapped
# if use_rslora else alpha / r -> if not use_rslora else alpha / r


# wrong: the root over all
# alpha / math.sqrt(r) if -> math.sqrt(abs(alpha) / r) if


# wrong: the root of alpha
# alpha / math.sqrt(r) if -> math.sqrt(abs(alpha)) / r if


# wrong: whole-number division
# else alpha / r -> else alpha // r


# wrong: rounded to two digits
# else alpha / r\n -> else round(alpha / r, 2)\n


# wrong: the whole root
# alpha / math.sqrt(r) if -> alpha / math.isqrt(r) if


# wrong: int(alpha)
# alpha / math.sqrt(r) if use_rslora else alpha / r -> int(alpha) / (math.sqrt(r) if use_rslora else r)


# wrong: |alpha|
# alpha / math.sqrt(r) if use_rslora else alpha / r -> abs(alpha) / (math.sqrt(r) if use_rslora else r)


# wrong: alpha 0 means 1
# alpha / math.sqrt(r) if use_rslora else alpha / r -> (alpha or 1) / (math.sqrt(r) if use_rslora else r)


# wrong: alpha / (r + 1)
# else alpha / r -> else alpha / (r + 1)


# wrong: alpha stays
# alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r -> alpha


# wrong: ratio upside down
# alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r -> alpha * (math.sqrt(r / new_r) if use_rslora else r / new_r)


# wrong: upside down for rsLoRA only
# math.sqrt(new_r / r) -> math.sqrt(r / new_r)


# wrong: the second ignores rsLoRA
# alpha * math.sqrt(new_r / r) if use_rslora else alpha -> alpha


# wrong: the second always takes the root
# else alpha * new_r / r -> else alpha * math.sqrt(new_r / r)


# wrong: the second gives the new s
# alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r -> lora_scaling(alpha, new_r, use_rslora)


# wrong: the second gives s itself
# alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r -> lora_scaling(alpha, r, use_rslora)


# wrong: the second rounds to a whole number
# else alpha * new_r / r -> else round(alpha * new_r / r)


# wrong: the ratio by whole-number division
# else alpha * new_r / r -> else alpha * (new_r // r)


# wrong: only for growing ranks
# else alpha * new_r / r -> else alpha * max(1, new_r / r)


# wrong: the second is what was asked first, kept
last = []


def lora_scaling(alpha, r, use_rslora):
    last[:] = [alpha / math.sqrt(r) if use_rslora else alpha / r]
    return last[0]


def same_scaling(alpha, r, new_r, use_rslora):
    return last[0] * (math.sqrt(new_r) if use_rslora else new_r)


# wrong: the flag of the first function's last call
flag = [False]


def lora_scaling(alpha, r, use_rslora):
    flag[0] = use_rslora
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def same_scaling(alpha, r, new_r, use_rslora):
    return alpha * math.sqrt(new_r / r) if flag[0] else alpha * new_r / r


# wrong: cached without the flag
kept = {}


def lora_scaling(alpha, r, use_rslora):
    return kept.setdefault((alpha, r), alpha / math.sqrt(r) if use_rslora else alpha / r)


def same_scaling(alpha, r, new_r, use_rslora):
    return alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r


# wrong: cached by r
kept = {}


def lora_scaling(alpha, r, use_rslora):
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def same_scaling(alpha, r, new_r, use_rslora):
    return kept.setdefault((r, new_r, use_rslora), alpha * (math.sqrt(new_r / r) if use_rslora else new_r / r))
