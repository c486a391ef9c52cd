"""Exercise 17: what alpha means."""

import math

from minilora.exercises.spec import Call, Case, Exercise, OneOf, check_equal, rounding


def _scaling(alpha, r, use_rslora):
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def _same(alpha, r, new_r, use_rslora):
    return alpha * (math.sqrt(new_r / r) if use_rslora else new_r / r)


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    alpha, r, new_r, use_rslora = (case[name] for name in ("alpha", "r", "new_r", "use_rslora"))
    s = call("lora_scaling", alpha=alpha, r=r, use_rslora=use_rslora)
    rule = "s = alpha / sqrt(r) with use_rslora" if use_rslora else "s = alpha / r"
    expected = _scaling(alpha, r, use_rslora)
    check_equal(rule, expected, s, rounding(case, expected))
    new_alpha = call("same_scaling", alpha=alpha, r=r, new_r=new_r, use_rslora=use_rslora)
    expected = _same(alpha, r, new_r, use_rslora)
    rule = "rank new_r gets the s of rank r" + (" with use_rslora" if use_rslora else "")
    check_equal(rule, expected, new_alpha, rounding(case, expected))


EXERCISE = Exercise(
    title="what alpha means",
    lesson=6,
    minutes=5,
    functions={"lora_scaling": _scaling, "same_scaling": _same},
    inputs={
        "alpha": OneOf((1.0, 2.0, 16.0, 3.0)),
        "r": OneOf((1, 2, 4, 8)),
        "new_r": OneOf((1, 3, 16, 64)),
        "use_rslora": OneOf((False, True)),
    },
    judge=_judge,
    hints=(
        "The first function is the formula. For the second, write the formula for both ranks and set them equal.",
        "alpha / r = new_alpha / new_r. Solve for new_alpha, then do it again with the square roots.",
        "alpha * new_r / r, and alpha * math.sqrt(new_r / r) with use_rslora",
    ),
    wrong={
        "alpha / r is upside down": {"lora_scaling": lambda alpha, r, use: r / alpha},
        "alpha is returned without the rank": {"lora_scaling": lambda alpha, r, use: alpha},
        "use_rslora is ignored": {"lora_scaling": lambda alpha, r, use: alpha / r},
        "always the square root: that is rsLoRA alone": {"lora_scaling": lambda alpha, r, use: alpha / math.sqrt(r)},
        "the root is over alpha too: it is alpha / sqrt(r)": {
            "lora_scaling": lambda alpha, r, use: math.sqrt(alpha / r) if use else alpha / r
        },
        "whole-number division: // drops the fraction": {
            "lora_scaling": lambda alpha, r, use: alpha / math.sqrt(r) if use else alpha // r
        },
        "alpha stays when the rank changes": {"same_scaling": lambda alpha, r, new_r, use: alpha},
        "the ratio of the ranks is upside down": {
            "same_scaling": lambda alpha, r, new_r, use: alpha * (math.sqrt(r / new_r) if use else r / new_r)
        },
        "the second function ignores use_rslora": {"same_scaling": lambda alpha, r, new_r, use: alpha * new_r / r},
    },
)
