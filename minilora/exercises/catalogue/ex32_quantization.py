"""Exercise 32: a block in four bits, and how far off it may be."""

import numpy as np

from minilora.exercises.findings import compare, equal, of_dtype, shapes, true, wide
from minilora.exercises.spec import Case, Exercise, Floats, Indices, OneOf


def quantize(w, levels):
    c = np.abs(w).max(axis=1)
    x = w / np.where(c == 0, 1, c)[:, None]
    distance = np.abs(x[..., None] - levels)
    codes = distance.argmin(axis=-1)
    return codes.astype(np.uint8), c


def dequantize(codes, stored, levels):
    return stored[:, None] * levels[codes]


def error_bound(c, stored, levels):
    gap = np.diff(levels).max()
    return c * gap / 2 + np.abs(c - stored)


NF4 = "-1000 -696 -525 -395 -284 -185 -91 0 80 161 246 338 441 563 723 1000"


def sixteen_levels(case: Case, inner: str):
    """Evenly spaced ones, NF4's, or any from -1 to 1: the widest gap may be anywhere, and 0 may be missing."""
    drawn = np.array([-1, *np.sort(case.values[inner]) / 2, 1])
    kinds = {"even": np.arange(-15, 16, 2) / 15, "NF4": np.array(NF4.split(), float) / 1000, "drawn": drawn}
    return kinds[case["levels"]].astype(case.dtype)


def arguments(case: Case):
    """The arguments of each function.  Those of one tell nothing about those of another."""
    w, codes = case.values["w"].copy(), case.values["codes"].astype(np.uint8)
    w[:1] *= not case["zero"]
    c, stored = np.abs(case.values["c"]), np.abs(case.values["stored"])
    levels, others = sixteen_levels(case, "inner"), sixteen_levels(case, "others")
    given = {
        "quantize": {"w": w, "levels": levels},
        "dequantize": {"codes": codes, "stored": stored, "levels": others},
        "error_bound": {"c": c, "stored": stored, "levels": others},
    }
    return case.laid_out(given)


def judge(case, call):
    given = EXERCISE.named_arguments(case)
    w, levels = given["quantize"].values()
    c = np.abs(w).max(axis=1)
    codes, largest = found = call("quantize", w=w, levels=levels)
    yield shapes("codes (n, m) and c (n,)", found, codes=w.shape, c=c.shape)
    yield equal("c = max |w| of each block", c, largest)
    yield of_dtype("codes are uint8", np.uint8, codes)
    yield of_dtype("c has the dtype of w", case.dtype, largest)
    yield true("codes are from 0 to 15", codes.max() < len(levels), "there are 16 levels", got=codes)
    yield nearest(case, w, codes, c, levels)
    c, stored, _ = given["error_bound"].values()
    for function, size in (("dequantize", stored[:, None]), ("error_bound", 2 * (c + stored))):
        arguments = given[function]
        expected, got = EXERCISE.functions[function](**wide(arguments)), call(function, **arguments)
        yield from compare(EXERCISE.outputs[function], expected, got, case.rounding(size))
        yield of_dtype(f"{function} keeps the dtype of the stored c", case.dtype, got)


def nearest(case, w, codes, c, levels):
    """Is every number at its nearest level?  Halfway between two, up to rounding, either is."""
    w, c, levels = wide((w, c[:, None], levels))
    distance = np.abs(w[..., None] - c[..., None] * levels)
    chosen = np.take_along_axis(distance, codes[..., None].astype(int), axis=-1)[..., 0]
    near = (chosen <= distance.min(axis=-1) + case.rounding(c)).all()
    return true("every number gets the nearest level times c", near, "", distance.argmin(axis=-1), codes)


EXERCISE = Exercise(
    title="a block in four bits",
    lesson=18,
    minutes=25,
    functions={"quantize": quantize, "dequantize": dequantize, "error_bound": error_bound},
    inputs={
        "w": Floats("n m", decades=(-12, 4)),
        "zero": OneOf((False, False, True)),
        "levels": OneOf(("NF4", "drawn", "even", "drawn")),
        **{name: Floats("i", decades=(0,)) for name in ("inner", "others")},
        "codes": Indices("n m", of="L"),
        "c": Floats("n"),
        "stored": Floats("n"),
    },
    sizes={"m": (1, 6), "L": (16, 16), "i": (14, 14)},
    arguments=arguments,
    judge=judge,
    outputs={
        "dequantize": ("w = the level of each code, times the block's c",),
        "error_bound": ("|error| <= c * widest gap / 2 + |c - stored|",),
    },
    hints=(
        "Each row is a block. Divide it by its largest magnitude, so that it lies in [-1, 1], where the levels are.",
        "The nearest level: np.abs(x[..., None] - levels).argmin(axis=-1). A block of zeros: divide by 1 instead. For "
        "the bound: how far can w / c be from its level? And what does stored in place of c add?",
        "c = np.abs(w).max(axis=1); dequantize: stored[:, None] * levels[codes]; error_bound: "
        "c * np.diff(levels).max() / 2 + np.abs(c - stored)",
    ),
    slips={
        "c is the largest number, not the largest magnitude: -3 is larger than 2": "np.abs(w).max(axis=1) -> "
        "w.max(axis=1)",
        "one c for the whole array: each block has its own": "np.abs(w).max(axis=1) -> "
        "np.full(len(w), np.abs(w).max())",
        "c is the mean magnitude, so that some numbers are beyond the levels": "np.abs(w).max(axis=1) -> "
        "np.abs(w).mean(axis=1)",
        "c is the standard deviation: it is the largest magnitude": "np.abs(w).max(axis=1) -> w.std(axis=1)",
        "w is not divided by c": "x = w / np.where(c == 0, 1, c)[:, None] -> x = w",
        "an epsilon is added to c: treat a block of zeros by itself": "np.where(c == 0, 1, c)[:, None] -> "
        "(c + 1e-8)[:, None]",
        "the level below is taken, not the nearest": "distance = np.abs(x[..., None] - levels) -> distance = "
        "np.where(x[..., None] >= levels, x[..., None] - levels, 9)",
        "the nearest evenly spaced level is taken: use the levels given": "distance = np.abs(x[..., None] - levels) -> "
        "distance = np.abs(x[..., None] - np.linspace(-1, 1, 16))",
        "magnitudes are compared: the sign is lost": "np.abs(x[..., None] - levels) -> "
        "np.abs(np.abs(x[..., None]) - np.abs(levels))",
        "codes are int64: four bits fit in a uint8": "codes.astype(np.uint8) -> codes",
        "dequantize leaves c out": "stored[:, None] * levels[codes] -> levels[codes]",
        "dequantize treats codes as numbers: they are places in levels": "levels[codes] -> codes.astype(stored.dtype)",
        "dequantize multiplies by the wrong block's c": "stored[:, None] -> stored[::-1, None]",
        "the bound takes the whole gap: half is enough": "gap / 2 -> gap",
        "the bound takes the mean gap: a number may lie in the widest": "np.diff(levels).max() -> "
        "np.diff(levels).mean()",
        "the bound takes the narrowest gap: a number may lie in the widest": "np.diff(levels).max() -> "
        "np.diff(levels).min()",
        "the bound is not scaled by c": "c * gap -> 0 * c + gap",
        "the bound forgets that stored differs from c": " + np.abs(c - stored) -> ",
        "c - stored has a sign: the error may go either way": "np.abs(c - stored) -> (c - stored)",
    },
)
