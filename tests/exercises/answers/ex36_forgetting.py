import numpy as np


# right: a loop
def forgetting_at(new_loss, old_loss, level):
    for i, loss in enumerate(new_loss):
        if loss <= level:
            if i == 0:
                return 0.0
            part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss)
            return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0])
    return None


def compare_forgetting(runs):
    level = max(min(new) for new, old in runs.values())
    return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()}


# right: argmax and np.interp
def forgetting_at(new_loss, old_loss, level):
    reached = new_loss <= level
    if not reached.any():
        return None
    i = int(reached.argmax())
    if i == 0:
        return float(old_loss[0] - old_loss[0])
    there = np.interp(level, [new_loss[i], new_loss[i - 1]], [old_loss[i], old_loss[i - 1]])
    return there - old_loss[0]


def compare_forgetting(runs):
    level = -np.inf
    for new, _ in runs.values():
        level = max(level, np.min(new))
    return {name: forgetting_at(*run, level) for name, run in runs.items()}


# right: weights of both ends
def forgetting_at(new_loss, old_loss, level):
    new, old = [float(x) for x in new_loss], [float(x) for x in old_loss]
    if new[0] <= level:
        return 0
    for a, b, c, d in zip(new, new[1:], old, old[1:]):
        if b <= level:
            return (c * (level - b) + d * (a - level)) / (a - b) - old[0]


def compare_forgetting(runs):
    lowest = {name: float(min(run[0])) for name, run in runs.items()}
    level = sorted(lowest.values())[-1]
    result = {}
    for name in runs:
        result[name] = forgetting_at(runs[name][0], runs[name][1], level)
    return result


# right: nonzero, and the rise as a polynomial of the loss
def forgetting_at(new_loss, old_loss, level):
    where = np.flatnonzero(np.asarray(new_loss) <= level)
    if len(where) == 0:
        return None
    i = where[0]
    rise = old_loss - old_loss[0]
    if i > 0:
        slope = (rise[i] - rise[i - 1]) / (new_loss[i] - new_loss[i - 1])
        return rise[i - 1] + slope * (level - new_loss[i - 1])
    return rise[0]


def compare_forgetting(runs):
    level = np.max([new.min() for new, _ in runs.values()])
    return dict(zip(runs, (forgetting_at(new, old, level) for new, old in runs.values())))


# wrong: the level is reached within a hundredth
# if loss <= level -> if loss <= level + 0.01


# wrong: part of the way, rounded
# part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss) -> part = round(float((new_loss[i - 1] - level) / (new_loss[i - 1] - loss)), 2)


# wrong: the rise since the lowest so far
# (old_loss[i] - old_loss[i - 1]) - old_loss[0]) -> (old_loss[i] - old_loss[i - 1]) - old_loss[: i + 1].min())


# wrong: no interpolation for the first step
# return float(old_loss[i - 1] + part -> part = 1.0 if i == 1 else part\n            return float(old_loss[i - 1] + part


# wrong: two runs at most
# level = max(min(new) for new, old in runs.values()) -> level = max(min(new) for new, old in list(runs.values())[:2])


# wrong: at the end
# return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0]) -> return float(old_loss[-1] - old_loss[0])


# wrong: where new_loss is lowest
# return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0]) -> return float(old_loss[np.argmin(new_loss)] - old_loss[0])


# wrong: the largest rise
# return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0]) -> return float(old_loss.max() - old_loss[0])


# wrong: the checkpoint after
# old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) -> old_loss[i]


# wrong: the checkpoint before
# old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) -> old_loss[i - 1]


# wrong: the nearer checkpoint
# old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) -> old_loss[i if part >= 0.5 else i - 1]


# wrong: the mean of both
# old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) -> (old_loss[i - 1] + old_loss[i]) / 2


# wrong: the part from the other end
# part = (new_loss[i - 1] - level) -> part = (level - loss)


# wrong: a line through the start
# part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss) -> part = (new_loss[0] - level) / (new_loss[0] - loss) if new_loss[0] != loss else 1


# wrong: a line in the logarithm of the loss
# part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss) -> part = np.log(new_loss[i - 1] / level) / np.log(new_loss[i - 1] / loss)


# wrong: extrapolated
# (new_loss[i - 1] - level) / (new_loss[i - 1] - loss) -> (new_loss[i - 1] - level) / new_loss[i - 1]


# wrong: not less the start
#  - old_loss[0])\n -> )\n


# wrong: less the checkpoint before
# (old_loss[i] - old_loss[i - 1]) - old_loss[0]) -> (old_loss[i] - old_loss[i - 1]) - old_loss[i - 1])


# wrong: less the lowest
# (old_loss[i] - old_loss[i - 1]) - old_loss[0]) -> (old_loss[i] - old_loss[i - 1]) - old_loss.min())


# wrong: the sign
# return float(old_loss[i - 1] -> return -float(old_loss[i - 1]


# wrong: the size of the change
# return float(old_loss[i - 1] -> return abs(float(old_loss[i - 1]
# - old_loss[0])\n -> - old_loss[0]))\n


# wrong: never below 0
# return float(old_loss[i - 1] -> return max(0.0, float(old_loss[i - 1]
# - old_loss[0])\n -> - old_loss[0]))\n


# wrong: relative to the start
# - old_loss[0])\n -> - old_loss[0]) / float(old_loss[0])\n


# wrong: relative to what was gained
# - old_loss[0])\n -> - old_loss[0]) / float(new_loss[0] - level)\n


# wrong: the losses swapped
# def forgetting_at(new_loss, old_loss, level): -> def forgetting_at(old_loss, new_loss, level):


# wrong: the level is of the old loss
# enumerate(new_loss) -> enumerate(old_loss)


# wrong: strictly below
# if loss <= level -> if loss < level


# wrong: at or above
# if loss <= level -> if loss >= level


# wrong: nearly there counts
# if loss <= level -> if loss <= level * 1.01


# wrong: the last crossing
# for i, loss in enumerate(new_loss): -> for i, loss in reversed(list(enumerate(new_loss))):


# wrong: the last time it is above
# for i, loss in enumerate(new_loss): -> above = [i for i, loss in enumerate(new_loss) if loss > level]\n    for i, loss in list(enumerate(new_loss))[above[-1] + 1 if above else 0 :]:


# wrong: the first checkpoint does not count
# if loss <= level: -> if loss <= level and (i > 0 or len(new_loss) == 1):


# wrong: the start is compared with the end
# if i == 0: -> if i < 0:


# wrong: new_loss is taken as its lowest so far
# for i, loss in enumerate(new_loss): -> new_loss = np.sort(new_loss)[::-1]\n    for i, loss in enumerate(new_loss):


# wrong: a binary search, as if the losses fell
# for i, loss in enumerate(new_loss): -> start = int(np.searchsorted(-new_loss, -level))\n    for i, loss in list(enumerate(new_loss))[start:]:


# wrong: None is 0
# return None -> return 0.0


# wrong: None is NaN
# return None -> return float("nan")


# wrong: None is infinity
# return None -> return float("inf")


# wrong: None is the end
# return None -> return float(old_loss[-1] - old_loss[0])


# wrong: an error in place of None
# return None -> raise ValueError("never reached")


# wrong: the lowest level of any run
# level = max(min(new) -> level = min(min(new)


# wrong: the last new losses
# level = max(min(new) -> level = max(new[-1]


# wrong: the first new losses
# level = max(min(new) -> level = max(new[0]


# wrong: the mean of the lowest
# level = max(min(new) for new, old in runs.values()) -> level = float(np.mean([min(new) for new, old in runs.values()]))


# wrong: the first run's level
# level = max(min(new) for new, old in runs.values()) -> level = min(next(iter(runs.values()))[0])


# wrong: the last run's level
# level = max(min(new) for new, old in runs.values()) -> level = min(list(runs.values())[-1][0])


# wrong: the level of the run called full
# level = max(min(new) for new, old in runs.values()) -> level = min(runs["full"][0]) if "full" in runs else max(min(new) for new, old in runs.values())


# wrong: the old losses' level
# level = max(min(new) -> level = max(min(old)


# wrong: a level for each run
# forgetting_at(new, old, level) for name -> forgetting_at(new, old, min(new)) for name


# wrong: a little above the level
# level = max(min(new) for new, old in runs.values()) -> level = 1.001 * max(min(new) for new, old in runs.values())


# wrong: equal steps
# level = max(min(new) for new, old in runs.values())\n    return {name: forgetting_at(new, old, level) -> n = min(len(new) for new, old in runs.values())\n    return {name: float(old[n - 1] - old[0])


# wrong: the last step of each
# forgetting_at(new, old, level) for name -> float(old[-1] - old[0]) for name


# wrong: a list
# return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()} -> return [forgetting_at(new, old, level) for name, (new, old) in runs.items()]


# wrong: sorted names, values in the old order
# return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()} -> return dict(zip(sorted(runs), [forgetting_at(new, old, level) for new, old in runs.values()]))


# wrong: the shortest length for all
# level = max( -> n = min(len(new) for new, old in runs.values())\n    runs = {name: (new[:n], old[:n]) for name, (new, old) in runs.items()}\n    level = max(


# wrong: the best run left out
# return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items()} -> return {name: forgetting_at(new, old, level) for name, (new, old) in runs.items() if min(new) <= level and len(runs) < 3}


# wrong: new_loss is sorted in place
# for i, loss in enumerate(new_loss): -> new_loss[::-1].sort()\n    for i, loss in enumerate(new_loss):


# wrong: the level of the first call
kept = []


def forgetting_at(new_loss, old_loss, level):
    for i, loss in enumerate(new_loss):
        if loss <= level:
            if i == 0:
                return 0.0
            part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss)
            return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0])
    return None


def compare_forgetting(runs):
    kept.append(max(min(new) for new, old in runs.values()))
    return {name: forgetting_at(new, old, kept[0]) for name, (new, old) in runs.items()}


# wrong: the results of the last comparison stay in the dictionary
results = {}


def forgetting_at(new_loss, old_loss, level):
    for i, loss in enumerate(new_loss):
        if loss <= level:
            if i == 0:
                return 0.0
            part = (new_loss[i - 1] - level) / (new_loss[i - 1] - loss)
            return float(old_loss[i - 1] + part * (old_loss[i] - old_loss[i - 1]) - old_loss[0])
    return None


def compare_forgetting(runs):
    level = max(min(new) for new, old in runs.values())
    results.update({name: forgetting_at(new, old, level) for name, (new, old) in runs.items()})
    return dict(results)
