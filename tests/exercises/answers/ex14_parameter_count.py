import numpy as np


# right: a sum
def lora_parameters(shapes, r):
    return sum(r * k + d * r for d, k in shapes)


# right: a loop
def lora_parameters(shapes, r):
    total = 0
    for shape in shapes:
        total += r * sum(shape)
    return total


# right: NumPy
def lora_parameters(shapes, r):
    return int(np.asarray(shapes, dtype=np.int64).sum()) * r


# right: recursion
def lora_parameters(shapes, r):
    if not shapes:
        return 0
    (d, k), *rest = shapes
    return d * r + r * k + lora_parameters(rest, r)


# wrong: only A
# r * k + d * r -> r * k


# wrong: only B
# r * k + d * r -> d * r


# wrong: square weights
# r * k + d * r -> 2 * r * d


# wrong: twice the longer side
# r * k + d * r -> 2 * r * max(d, k)


# wrong: full weights
# r * k + d * r -> d * k


# wrong: full weights as well
# r * k + d * r -> d * k + r * (d + k)


# wrong: r d k
# r * k + d * r -> r * d * k


# wrong: no rank
# r * k + d * r -> d + k


# wrong: r squared
# r * k + d * r -> r * (d + k) + r * r


# wrong: a square matrix is counted once
# r * k + d * r -> r * (d + k if d != k else d)


# wrong: rank cut at the sides
# r * k + d * r -> min(r, d, k) * (d + k)


# wrong: minus r^2, the dimension of the rank-r matrices
# r * k + d * r -> r * (d + k) - r * r


# wrong: one bias per output
# r * k + d * r -> r * k + d * r + d


# wrong: the first weight times the number of weights
# sum(r * k + d * r for d, k in shapes) -> len(shapes) * r * sum(shapes[0]) if shapes else 0


# wrong: equal shapes count once
# in shapes) -> in set(shapes))


# wrong: the first weight only
# in shapes) -> in shapes[:1])


# wrong: the last is forgotten when there are several
# in shapes) -> in shapes[: max(1, len(shapes) - 1)])


# wrong: 32 bits
# sum(r * k + d * r for d, k in shapes) -> (sum(r * k + d * r for d, k in shapes) + 2**31) % 2**32 - 2**31


# wrong: float32
# sum(r * k + d * r for d, k in shapes) -> int(np.float32(sum(r * k + d * r for d, k in shapes)))


# wrong: an empty list is an error
# return sum -> shapes[0]; return sum


# wrong: an empty list is None
# return sum -> return sum([]) or None if not shapes else sum


# wrong: in thousands
# for d, k in shapes) -> for d, k in shapes) // 1000 * 1000 if sum(map(sum, shapes)) > 10**5 else sum(r * k + d * r for d, k in shapes)


# wrong: a list
# sum(r * k + d * r for d, k in shapes) -> [r * k + d * r for d, k in shapes]


# wrong: takes the shapes out of the list
def lora_parameters(shapes, r):
    total = 0
    while shapes:
        d, k = shapes.pop()
        total += r * (d + k)
    return total


# wrong: counts on from the last call
total = 0


def lora_parameters(shapes, r):
    global total
    for d, k in shapes:
        total += r * (d + k)
    return total


# wrong: cached by the number of shapes
kept = {}


def lora_parameters(shapes, r):
    return kept.setdefault((len(shapes), r), sum(r * (d + k) for d, k in shapes))


# wrong: cached by the shapes
kept = {}


def lora_parameters(shapes, r):
    return kept.setdefault(tuple(shapes), sum(r * (d + k) for d, k in shapes))


# wrong: a default list that grows
def lora_parameters(shapes, r, seen=[]):
    seen.extend(shape for shape in shapes if shape not in seen)
    return sum(r * (d + k) for d, k in shapes if (d, k) in seen[:4])
