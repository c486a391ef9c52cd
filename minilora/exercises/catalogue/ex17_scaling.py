"""Exercise 17: what alpha means."""

import math

from minilora.exercises.spec import Exercise, OneOf


def lora_scaling(alpha, r, use_rslora):
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def same_scaling(alpha, r, new_r, use_rslora):
    return alpha * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r


EXERCISE = Exercise(
    title="what alpha means",
    lesson=6,
    minutes=5,
    functions={"lora_scaling": lora_scaling, "same_scaling": same_scaling},
    inputs={
        "alpha": OneOf((1.0, 2.0, 16, 0.0, -3.0, 1 / 3)),
        "r": OneOf((1, 2, 3, 8, 64)),
        "new_r": OneOf((1, 3, 16, 64, 5)),
        "use_rslora": OneOf((False, True)),
    },
    outputs={
        "lora_scaling": ("s = alpha / r, or alpha / sqrt(r) with use_rslora",),
        "same_scaling": ("rank new_r gets the s of rank r",),
    },
    hints=(
        "The first function is the formula. For the second, write the formula for both ranks and set them equal.",
        "alpha / r = new_alpha / new_r. Solve for new_alpha, then do it again with the square roots.",
        "alpha * new_r / r, and alpha * math.sqrt(new_r / r) with use_rslora",
    ),
    slips={
        "alpha / r is upside down": "else alpha / r -> else r / alpha",
        "alpha is returned without the rank": "alpha / math.sqrt(r) if use_rslora else alpha / r -> alpha",
        "use_rslora is ignored": "alpha / math.sqrt(r) if use_rslora else alpha / r -> alpha / r",
        "always the square root: that is only rsLoRA's rule": "else alpha / r -> else alpha / math.sqrt(r)",
        "the root is over alpha too: it is alpha / sqrt(r)": "alpha / math.sqrt(r) -> math.sqrt(alpha / r)",
        "whole-number division: // drops the fraction": "else alpha / r -> else alpha // r",
        "alpha stays when the rank changes": " * math.sqrt(new_r / r) if use_rslora else alpha * new_r / r -> ",
        "the ratio of the ranks is upside down": ("new_r / r) -> r / new_r)", "alpha * new_r / r -> alpha * r / new_r"),
        "the second function ignores use_rslora": "alpha * math.sqrt(new_r / r) if use_rslora else -> ",
    },
)
