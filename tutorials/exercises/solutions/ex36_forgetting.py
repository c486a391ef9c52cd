"""Exercise 36: the first checkpoint that reaches the level, and a straight line to it from the one before."""


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
