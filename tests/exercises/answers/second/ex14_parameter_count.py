# right: a sum
def lora_parameters(shapes, r):
    return sum(r * (d + k) for d, k in shapes)


# right: rows and columns by themselves
def lora_parameters(shapes, r):
    total = 0
    for shape in shapes:
        rows, columns = shape
        total += rows * r + r * columns
    return total


# right: all sides in one list
def lora_parameters(shapes, r):
    return r * sum(side for shape in shapes for side in shape)


# right: from the back, without changing the list
def lora_parameters(shapes, r):
    from functools import reduce

    return reduce(lambda total, shape: total + shape[0] * r + shape[1] * r, reversed(shapes), 0)


# wrong: equal shapes are counted once
# in shapes) -> in set(shapes))


# wrong: equal shapes next to each other are counted once
import itertools


def lora_parameters(shapes, r):
    return sum(r * (d + k) for (d, k), _ in itertools.groupby(shapes))


# wrong: a dictionary by shape
# in shapes) -> in {d * k: (d, k) for d, k in shapes}.values())


# wrong: all of the weight
# r * (d + k) -> d * k


# wrong: the weights as well
# r * (d + k) -> r * (d + k) + d * k


# wrong: d times k times r
# r * (d + k) -> r * d * k


# wrong: square weights
# r * (d + k) -> 2 * r * d


# wrong: twice the longer side
# r * (d + k) -> 2 * r * max(d, k)


# wrong: A only
# r * (d + k) -> r * k


# wrong: the rank is at most d and k
# r * (d + k) -> min(r, d, k) * (d + k)


# wrong: never more than the weight itself
# r * (d + k) -> min(r * (d + k), d * k)


# wrong: r's square for the degrees of freedom
# r * (d + k) -> r * (d + k) - r * r


# wrong: an alpha for each
# r * (d + k) -> r * (d + k) + 1


# wrong: NumPy's 32-bit numbers
import numpy as np


def lora_parameters(shapes, r):
    sides = np.array(shapes, dtype=np.int64).astype(np.int32)
    return int((sides.sum(dtype=np.int32) * np.int32(r)).astype(np.int32))


# wrong: floating point
# return sum(r * (d + k) for d, k in shapes) -> return float(sum(r * (d + k) for d, k in shapes))


# wrong: single precision and back
# return sum( -> import numpy as np\n    return sum(int(np.float32(1)) * int(x) for x in [np.float32(sum(
# for d, k in shapes) -> for d, k in shapes))])


# wrong: an average times their number, in whole numbers
# return sum(r * (d + k) for d, k in shapes) -> return sum(d + k for d, k in shapes) // max(len(shapes), 1) * len(shapes) * r


# wrong: the first shape times their number
# return sum(r * (d + k) for d, k in shapes) -> return len(shapes) * r * sum(shapes[0]) if shapes else 0


# wrong: fails without any
# return sum( -> first, *_ = shapes\n    return sum(


# wrong: empties the list
def lora_parameters(shapes, r):
    total = 0
    while shapes:
        d, k = shapes.pop()
        total += r * (d + k)
    return total


# wrong: sorts the list
# return sum( -> shapes.sort()\n    return sum(


# wrong: adds up from call to call
TOTAL = [0]


def lora_parameters(shapes, r):
    TOTAL[0] += sum(r * (d + k) for d, k in shapes)
    return TOTAL[0]


# wrong: remembered by the list's length and the rank
# return sum(r * (d + k) for d, k in shapes) -> return SEEN.setdefault((len(shapes), r), sum(r * (d + k) for d, k in shapes))
# def lora -> SEEN = {}\n\n\ndef lora


# wrong: remembered by the list itself, whatever it holds by then
KNOWN = []


def lora_parameters(shapes, r):
    for known, rank, total in KNOWN:
        if known is shapes and rank == r:
            return total
    total = sum(r * (d + k) for d, k in shapes)
    KNOWN.append((shapes, r, total))
    return total + 0 * len(KNOWN) if shapes else total - 1


# wrong: the numbers of each weight
# return sum(r * (d + k) for d, k in shapes) -> return [r * (d + k) for d, k in shapes]


# wrong: a generator
# return sum( -> yield sum(


# wrong: text
# return sum(r * (d + k) for d, k in shapes) -> return f"{sum(r * (d + k) for d, k in shapes):,}"
