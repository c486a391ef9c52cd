import numpy as np


# right: the first checkpoint at the level
def forgetting_at(new_loss, old_loss, level):
    for i, loss in enumerate(new_loss):
        if loss <= level:
            if i == 0:
                return 0.0
            part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss)
            return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0])
    return None


def compare_forgetting(runs):
    level = max((new.min() for new, _ in runs.values()), default=0.0)
    return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()}


# right: by NumPy, argmax of what has reached it
def forgetting_at(new_loss, old_loss, level):
    reached = np.asarray(new_loss) <= level
    if not reached.any():
        return None
    i = int(reached.argmax())
    at = old_loss[0] if i == 0 else np.interp(level, [new_loss[i], new_loss[i - 1]], [old_loss[i], old_loss[i - 1]])
    return at - old_loss[0]


def compare_forgetting(runs):
    lowest = [np.min(new) for new, old in runs.values()]
    return {name: forgetting_at(*losses, np.max(lowest)) for name, losses in runs.items()}


# right: weights of both ends
def forgetting_at(new_loss, old_loss, level):
    places = np.flatnonzero(new_loss <= level)
    if len(places) == 0:
        return None
    i = places[0]
    if i == 0:
        return float(old_loss[0] - old_loss[0])
    above, below = new_loss[i - 1] - level, level - new_loss[i]
    return float((below * old_loss[i - 1] + above * old_loss[i]) / (above + below) - old_loss[0])


def compare_forgetting(runs):
    level = -np.inf
    for new, _ in runs.values():
        level = max(level, min(new))
    result = {}
    for name in sorted(runs):
        result[name] = forgetting_at(runs[name][0], runs[name][1], level)
    return result


# right: running minimum
def forgetting_at(new_loss, old_loss, level):
    best = np.minimum.accumulate(new_loss)
    if best[-1] > level:
        return None
    i = int(np.sum(best > level))
    if not i:
        return 0.0
    slope = (old_loss[i] - old_loss[i - 1]) / (new_loss[i] - new_loss[i - 1])
    return old_loss[i - 1] + slope * (level - new_loss[i - 1]) - old_loss[0]


def compare_forgetting(runs):
    level = max(float(np.minimum.reduce(new)) for new, _ in runs.values())
    return dict(zip(runs, (forgetting_at(new, old, level) for new, old in runs.values())))


# wrong: no line between checkpoints
# part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss) -> part = 1.0


# wrong: the checkpoint before
# part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss) -> part = 0.0


# wrong: half way
# part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss) -> part = 0.5


# wrong: strictly below
# if loss <= level: -> if loss < level:


# wrong: interpolation over the whole curve
def forgetting_at(new_loss, old_loss, level):
    if min(new_loss) > level:
        return None
    order = np.argsort(new_loss)
    return float(np.interp(level, new_loss[order], old_loss[order]) - old_loss[0])


def compare_forgetting(runs):
    level = max(new.min() for new, _ in runs.values())
    return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()}


# wrong: the lowest checkpoint
# for i, loss in enumerate(new_loss): -> for i, loss in [(int(np.argmin(new_loss)), min(new_loss))]:


# wrong: the last crossing
# for i, loss in enumerate(new_loss): -> for i, loss in reversed(list(enumerate(new_loss))):


# wrong: the last value
# return None -> return float(old_loss[-1] - old_loss[0])


# wrong: 0 if the level is not reached
# return None -> return 0.0


# wrong: not a number if the level is not reached
# return None -> return float("nan")


# wrong: the first checkpoint does not count
# if i == 0:\n                return 0.0 -> if i == 0:\n                continue


# wrong: the loss, not its rise
# - old_loss[0]) -> )


# wrong: never below 0
# return float( -> return max(0.0, 
# - old_loss[0]) -> - float(old_loss[0]))


# wrong: the rise since the checkpoint before
# - old_loss[0]) -> - old_loss[i - 1])


# wrong: the lowest level of all
# max((new.min() -> min((new.min()


# wrong: the level of the last checkpoints
# (new.min() -> (new[-1]


# wrong: the level of the first run
# level = max((new.min() for new, _ in runs.values()), default=0.0) -> level = next(iter(runs.values()))[0].min()


# wrong: cut to the shortest run
# return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()} -> n = min(len(new) for new, _ in runs.values())\n    level = max(new[:n].min() for new, _ in runs.values())\n    return {name: forgetting_at(new[:n], old[:n], level) for name, (new, old) in runs.items()}


# wrong: runs sorted by forgetting, as a list
# return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()} -> return sorted((forgetting_at(new, old, level), name) for name, (new, old) in runs.items())


# wrong: old and new swapped
# forgetting_at(new, old, level) for -> forgetting_at(old, new, level) for


# wrong: the best run only
# return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()} -> found = {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()}\n    return dict(list(found.items())[:1])


# wrong: new losses are made to fall in place
# for i, loss in enumerate(new_loss): -> np.minimum.accumulate(new_loss, out=new_loss)\n    for i, loss in enumerate(new_loss):


# wrong: an old loss of exactly 0 counts as none
def forgetting_at(new_loss, old_loss, level):
    for i, loss in enumerate(new_loss):
        if loss <= level:
            at = old_loss[i]
            if i and old_loss[i - 1]:
                part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss)
                at = old_loss[i - 1] + part * (at - old_loss[i - 1])
            return float(at - old_loss[0])
    return None


def compare_forgetting(runs):
    level = max(new.min() for new, _ in runs.values())
    return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()}


# wrong: a start of exactly 0 counts as nothing known
def forgetting_at(new_loss, old_loss, level):
    if not old_loss[0]:
        return None
    for i, loss in enumerate(new_loss):
        if loss <= level:
            if i == 0:
                return 0.0
            part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss)
            return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0])
    return None


def compare_forgetting(runs):
    level = max(new.min() for new, _ in runs.values())
    return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()}
