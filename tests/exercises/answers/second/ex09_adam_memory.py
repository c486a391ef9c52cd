# right: three products
def training_bytes(parameters, trainable, bytes_per_number):
    return {
        "weights": parameters * bytes_per_number,
        "gradients": trainable * bytes_per_number,
        "adam": 2 * trainable * bytes_per_number,
    }


# right: a loop over kinds, in another order
def training_bytes(parameters, trainable, bytes_per_number):
    numbers = [("adam", trainable + trainable), ("weights", parameters), ("gradients", trainable)]
    return dict((kind, count * bytes_per_number) for kind, count in numbers)


# right: added up over frozen and trained numbers
def training_bytes(parameters, trainable, bytes_per_number):
    frozen = parameters - trainable
    copies = dict(weights=(1, 1), gradients=(0, 1), adam=(0, 2))
    return {kind: int(bytes_per_number) * (frozen * a + trainable * b) for kind, (a, b) in copies.items()}


# right: one division-free update after another
def training_bytes(parameters, trainable, bytes_per_number):
    result = dict.fromkeys(("weights", "gradients", "adam"), 0)
    result["weights"] += bytes_per_number * parameters
    result["gradients"] += bytes_per_number * trainable
    result["adam"] = result["gradients"] << 1
    return result


# wrong: the same dictionary, changed, for every call
RESULT = {}


def training_bytes(parameters, trainable, bytes_per_number):
    RESULT["weights"] = parameters * bytes_per_number
    RESULT["gradients"] = trainable * bytes_per_number
    RESULT["adam"] = 2 * trainable * bytes_per_number
    return RESULT


# wrong: a mutable default keeps the first sizes
def training_bytes(parameters, trainable, bytes_per_number, seen={}):
    seen.setdefault("weights", parameters * bytes_per_number)
    return seen | {"gradients": trainable * bytes_per_number, "adam": 2 * trainable * bytes_per_number}


# wrong: 32-bit arithmetic
import numpy as np


def training_bytes(parameters, trainable, bytes_per_number):
    p, t, b = (np.array([n & 0x7FFFFFFF]).astype(np.int32) for n in (parameters, trainable, bytes_per_number))
    return {"weights": int((p * b)[0]), "gradients": int((t * b)[0]), "adam": int((2 * t * b)[0])}


# wrong: floating point
# parameters * bytes_per_number -> parameters * float(bytes_per_number)


# wrong: through floating point and back, which loses the last digits of large counts
# parameters * bytes_per_number -> int(parameters * float(bytes_per_number))


# wrong: single precision and back
import numpy as np


def training_bytes(parameters, trainable, bytes_per_number):
    def size(count):
        return int(np.float32(count)) * bytes_per_number

    return {"weights": size(parameters), "gradients": size(trainable), "adam": 2 * size(trainable)}


# wrong: moments always in four bytes
# 2 * trainable * bytes_per_number -> 2 * trainable * 4


# wrong: moments of at least four bytes
# 2 * trainable * bytes_per_number -> 2 * trainable * max(bytes_per_number, 4)


# wrong: one moment
# 2 * trainable -> trainable


# wrong: moments of the frozen numbers too
# 2 * trainable -> 2 * parameters


# wrong: gradients of the frozen numbers too
# "gradients": trainable -> "gradients": parameters


# wrong: weights are the frozen ones
# "weights": parameters -> "weights": (parameters - trainable)


# wrong: the trained weights are counted twice
# "weights": parameters -> "weights": (parameters + trainable)


# wrong: nothing trains means everything trains
# return { -> trainable = trainable or parameters\n    return {


# wrong: a total is added
# "adam": 2 * trainable * bytes_per_number, -> "adam": 2 * trainable * bytes_per_number, "total": (parameters + 3 * trainable) * bytes_per_number,


# wrong: a master copy where numbers have two bytes
# "weights": parameters * bytes_per_number -> "weights": parameters * (6 if bytes_per_number == 2 else bytes_per_number)


# wrong: knows 2 and 4 only
# return { -> bytes_per_number = {2: 2, 4: 4}[bytes_per_number]\n    return {


# wrong: a step counter is kept as well
# 2 * trainable * bytes_per_number, -> 2 * trainable * bytes_per_number + 8,


# wrong: remembered by the number of parameters
# return { -> trainable = SEEN.setdefault(parameters, trainable)\n    return {
# def training -> SEEN = {}\n\n\ndef training


# wrong: kibibytes
# parameters * bytes_per_number -> parameters * bytes_per_number // 1024


# wrong: a tuple of three
def training_bytes(parameters, trainable, bytes_per_number):
    return parameters * bytes_per_number, trainable * bytes_per_number, 2 * trainable * bytes_per_number
