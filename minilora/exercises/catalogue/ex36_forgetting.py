"""Exercise 36: forgetting, compared at equal loss."""

import numpy as np

from minilora.exercises.findings import equal, wide
from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def forgetting_at(new_loss, old_loss, level):
    for i in range(len(new_loss)):
        if new_loss[i] <= level:
            now = old_loss[i]
            if i > 0:
                part = (new_loss[i - 1] - level) / (new_loss[i - 1] - new_loss[i])
                now = old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1])
            return float(now - old_loss[0])
    return None


def compare_forgetting(runs):
    level = max(min(new_loss) for new_loss, _ in runs.values())
    return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()}


def magnitude(new_loss, old_loss, level):
    """The part of the way is out by a rounding of the losses over their difference."""
    i = next((i for i, loss in enumerate(new_loss) if loss <= level), 0)
    if i == 0:
        return 2 * abs(old_loss[0])
    a, b, step = abs(new_loss[i - 1]) + abs(level), abs(new_loss[i]), abs(old_loss[i]) + abs(old_loss[i - 1])
    return step * (2 + (a + b) / (new_loss[i - 1] - new_loss[i])) + abs(old_loss[0])


def arguments(case: Case):
    """Three runs, of different lengths in some cases.  The level is a loss of the first, or lies between two of them,
    or below or above all.  An old loss may be 0."""
    runs = {}
    for i, name in enumerate(case["names"]):
        n = max(1, case.sizes["n"] - case["shorter"][i])
        runs[name] = 2 + np.abs(case.values["new"][i, :n]), np.abs(case.values["old"][i, :n])
    if case["shorter"] == (2, 0, 1) and len(runs) > 1:  # the longest run is the last to learn, at its very end
        long, _ = runs[case["names"][1]]
        long += 2 * max(new.max() for new, _ in runs.values())
        long[-1] = 0.75 * long.min()
    new, old = runs[case["names"][0]]
    level = {"last": new[-1], "between": new[0] / 2 + new[-1] / 2, "3": 3, "below": 1, "above": 1e6}[case["level"]]
    if case["shorter"] == (0, 0, 0) and (new <= level).any():
        old[max(0, (new <= level).argmax() - 1)] = 0  # a loss like any other, just before the level
    return case.laid_out({"new_loss": new, "old_loss": old, "level": float(case.dtype(level)), "runs": runs})


def judge(case, call):
    given = EXERCISE.named_arguments(case)
    at = {name: given[name] for name in ("new_loss", "old_loss", "level")}
    expected, got = forgetting_at(**wide(at)), call("forgetting_at", **at)
    note = "the level is never reached: return None" if expected is None else ""
    claim = "old_loss where new_loss first reaches the level, less old_loss at the start"
    yield equal(claim, expected, got, case.rounding(magnitude(**wide(at))), note)
    runs = wide(given["runs"])
    level = max(new.min() for new, _ in runs.values())
    sizes = {name: magnitude(new, old, level) for name, (new, old) in runs.items()}
    got = call("compare_forgetting", runs=given["runs"])
    yield equal("each run at the lowest level that all reach", compare_forgetting(runs), got, case.rounding(sizes))


EXERCISE = Exercise(
    title="forgetting, compared at equal loss",
    lesson=14,
    minutes=20,
    functions={"forgetting_at": forgetting_at, "compare_forgetting": compare_forgetting},
    inputs={
        "new": Floats("three n"),
        "old": Floats("three n"),
        "shorter": OneOf(((0, 0, 0), (0, 1, 2), (2, 0, 1))),
        "level": OneOf(("between", "last", "3", "below", "above")),
        "names": OneOf((("full", "lora"), ("r=1", "r=16", "full"), ("b", "a", "c"), ("full",))),
    },
    sizes={"three": (3, 3), "n": (1, 6)},
    arguments=arguments,
    judge=judge,
    hints=(
        "Go through the checkpoints until new_loss[i] <= level. What if that is checkpoint 0? What if it never comes?",
        "Between i - 1 and i both losses are straight lines. (new[i-1] - level) / (new[i-1] - new[i]) is the part of "
        "the way to i at which the level is reached. Every run reaches a level if the one that ends highest does.",
        "part = (new[i-1] - level) / (new[i-1] - new[i]); return old[i-1] + part * (old[i] - old[i-1]) - old[0]; "
        "level = max(min(new) for new, old in runs.values())",
    ),
    slips={
        "the last checkpoint is taken: that compares at equal steps, not at equal loss": "            return "
        "float(now - old_loss[0]) ->             return float(old_loss[-1] - old_loss[0])",
        "the checkpoint with the lowest new_loss is taken": "            return float(now - old_loss[0]) -> "
        "            return float(old_loss[np.argmin(new_loss)] - old_loss[0])",
        "the next checkpoint is taken: the level is reached before it": "if i > 0: -> if i < 0:",
        "the checkpoint before is taken: the level is reached after it": "part * (old_loss[i] -> 0 * (old_loss[i]",
        "the part of the way is measured from the wrong end": "(new_loss[i - 1] - level) / -> (level - new_loss[i]) /",
        "halfway is taken, wherever the level lies": "part = (new_loss[i - 1] - level) / (new_loss[i - 1] - "
        "new_loss[i]) -> part = 0.5",
        "the loss at the start is not subtracted: forgetting is the rise": "float(now - old_loss[0]) -> float(now)",
        "the sign is wrong: a higher old_loss is forgetting": "float(now - old_loss[0]) -> float(old_loss[0] - now)",
        "the rise is given as a part of the loss: it is a difference": "float(now - old_loss[0]) -> "
        "float((now - old_loss[0]) / old_loss[0])",
        "forgetting below 0 is cut off: a run may get better at the old task": "float(now - old_loss[0]) -> "
        "max(0.0, float(now - old_loss[0]))",
        "new_loss and old_loss are mixed up": "def forgetting_at(new_loss, old_loss, level): -> "
        "def forgetting_at(old_loss, new_loss, level):",
        "a level that is met exactly is reached: <=, not <": "new_loss[i] <= level -> new_loss[i] < level",
        "the last time the level is crossed is taken: it is the first": "for i in range(len(new_loss)) -> "
        "for i in reversed(range(len(new_loss)))",
        "a run that never reaches the level has no forgetting there: return None": "    return None -> "
        "    return float(old_loss[-1] - old_loss[0])",
        "the level is the best run's, which others never reach": "level = max(min(new_loss) -> "
        "level = min(min(new_loss)",
        "the level is where the runs end: some were lower before": "level = max(min(new_loss) -> "
        "level = max(new_loss[-1]",
        "the level is the first run's lowest: others may not reach it": "level = max(min(new_loss) for new_loss, _ in "
        "runs.values()) -> level = min(next(iter(runs.values()))[0])",
        "every run has a level of its own, its lowest: compare at one level": "forgetting_at(new, old, level) for name "
        "-> forgetting_at(new, old, min(new)) for name",
        "all runs are compared after equally many steps": "forgetting_at(new, old, level) for name -> "
        "float(old[min(len(n) for n, _ in runs.values()) - 1] - old[0]) for name",
    },
)
