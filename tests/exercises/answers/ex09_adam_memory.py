# right: a dictionary
def training_bytes(parameters, trainable, bytes_per_number):
    counts = {"weights": parameters, "gradients": trainable, "adam": 2 * trainable}
    return {name: count * bytes_per_number for name, count in counts.items()}


# right: sums
def training_bytes(parameters, trainable, bytes_per_number):
    frozen = parameters - trainable
    gradients = trainable * bytes_per_number
    return {"adam": gradients + gradients, "gradients": gradients, "weights": frozen * bytes_per_number + gradients}


# right: keyword arguments
def training_bytes(parameters, trainable, bytes_per_number):
    b = bytes_per_number
    return dict(weights=b * parameters, gradients=b * trainable, adam=b * (trainable << 1))


# right: step by step
def training_bytes(parameters, trainable, bytes_per_number):
    memory = {}
    memory["weights"] = parameters * bytes_per_number
    memory["gradients"] = trainable * bytes_per_number
    memory["adam"] = sum(trainable * bytes_per_number for _ in ("m", "v"))
    return memory


# wrong: one moment
# 2 * trainable -> trainable


# wrong: three copies
# 2 * trainable -> 3 * trainable


# wrong: moments for all
# 2 * trainable -> 2 * parameters


# wrong: gradients for all
# "gradients": trainable -> "gradients": parameters


# wrong: trainable weights only
# "weights": parameters -> "weights": trainable


# wrong: frozen weights only
# "weights": parameters -> "weights": parameters - trainable


# wrong: weights and trainable weights
# "weights": parameters -> "weights": parameters + trainable


# wrong: numbers, not bytes
# count * bytes_per_number -> count


# wrong: bits
# count * bytes_per_number -> count * bytes_per_number * 8


# wrong: 4 bytes
# count * bytes_per_number -> count * 4


# wrong: moments in float32 always
# return {name: count * bytes_per_number for name, count in counts.items()} -> return {name: count * (4 if name == "adam" else bytes_per_number) for name, count in counts.items()}


# wrong: kilobytes
# count * bytes_per_number -> count * bytes_per_number // 1024


# wrong: no moments for 8 bytes
# 2 * trainable -> 2 * trainable * (bytes_per_number < 8)


# wrong: 32-bit numbers
# count * bytes_per_number -> (count * bytes_per_number + 2**31) % 2**32 - 2**31


# wrong: 32-bit floats
# count * bytes_per_number -> int(__import__("numpy").float32(count) * bytes_per_number)


# wrong: a total in addition
# return {name: -> return {"total": (parameters + 3 * trainable) * bytes_per_number} | {name:


# wrong: other names
# "adam" -> "moments"


# wrong: text
# count * bytes_per_number -> str(count * bytes_per_number)


# wrong: a tuple
# return {name: count * bytes_per_number for name, count in counts.items()} -> return tuple(count * bytes_per_number for count in counts.values())


# wrong: everything trains if it is small
# counts = -> trainable = parameters if parameters < 100 else trainable; counts =


# wrong: at least one number trains
# counts = -> trainable = max(trainable, 1); counts =


# wrong: cached by the parameters
kept = {}


def training_bytes(parameters, trainable, bytes_per_number):
    b = bytes_per_number
    result = {"weights": parameters * b, "gradients": trainable * b, "adam": 2 * trainable * b}
    return kept.setdefault((parameters, trainable), result)


# wrong: one dictionary for all calls
table = {}


def training_bytes(parameters, trainable, bytes_per_number):
    b = bytes_per_number
    table.update(weights=parameters * b, gradients=trainable * b, adam=2 * trainable * b)
    return table
