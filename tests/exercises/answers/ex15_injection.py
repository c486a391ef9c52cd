import zlib

import numpy as np


# right: split from the right
def inject(state, targets, r, seed):
    rng, added = np.random.default_rng(seed), {}
    for name, W in state.items():
        layer, _, kind = name.rpartition(".")
        last = layer.split(".")[-1]
        if kind == "weight" and last in targets:
            d, k = W.shape
            added[f"{layer}.lora_A"] = rng.standard_normal((r, k))
            added[f"{layer}.lora_B"] = np.zeros((d, r))
    return added


# right: spawned streams, sorted names
def inject(state, targets, r, seed):
    chosen = sorted(n for n in state if n.split(".")[-1] == "weight" and n.split(".")[-2] in set(targets))
    streams = np.random.SeedSequence(seed).spawn(len(chosen))
    result = {}
    for name, stream in zip(chosen, streams):
        base = name[: -len(".weight")]
        d, k = state[name].shape
        result[base + ".lora_A"] = np.random.default_rng(stream).normal(0, k**-0.5, size=(r, k))
        result[base + ".lora_B"] = np.zeros((d, r), dtype=state[name].dtype)
    return result


# right: seeds from the name by a hash that does not change
def inject(state, targets, r, seed):
    result = {}
    for name in state:
        *path, last, kind = name.split(".")
        if kind == "weight" and any(last == target for target in targets):
            layer = ".".join([*path, last])
            d, k = state[name].shape
            rng = np.random.default_rng([seed, zlib.crc32(layer.encode()), len(layer)])
            result |= {layer + ".lora_A": rng.normal(size=(r, k)) * 0.02, layer + ".lora_B": np.zeros((d, r))}
    return result


# right: seed plus the layer's number
def inject(state, targets, r, seed):
    def is_target(name):
        return name.endswith(".weight") and name.removesuffix(".weight").rpartition(".")[2] in targets

    layers = [name.removesuffix(".weight") for name in state if is_target(name)]
    result = {}
    for i, layer in enumerate(layers):
        d, k = state[f"{layer}.weight"].shape
        result[f"{layer}.lora_A"] = np.random.default_rng(seed * 1000003 + i).standard_normal((r, k)) / np.sqrt(k)
        result[f"{layer}.lora_B"] = np.zeros([d, r])
    return result


# wrong: anywhere in the name
# last in targets -> W.ndim == 2 and any(t in name for t in targets)


# wrong: anywhere in the path
# last in targets -> W.ndim == 2 and any(t in layer.split(".") for t in targets)


# wrong: the end of the layer's name
# last in targets -> last.endswith(tuple(targets))


# wrong: the start of the last name
# last in targets -> last.startswith(tuple(targets))


# wrong: the end, with a dot, which a layer at the root does not have
# last in targets -> name.endswith(tuple(f".{t}.weight" for t in targets))


# wrong: the end without a dot
# last in targets -> name.endswith(tuple(f"{t}.weight" for t in targets))


# wrong: part of a joined string
# last in targets -> last in ",".join(targets)


# wrong: capital letters do not matter
# last in targets -> last.lower() in [t.lower() for t in targets]


# wrong: the first target only
# last in targets -> last in targets[:1]


# wrong: the last target only
# last in targets -> last in targets[-1:]


# wrong: all layers
#  and last in targets -> and W.ndim == 2


# wrong: all layers if there are no targets
# last in targets -> (last in targets or not targets and W.ndim == 2)


# wrong: layers with a bias only
# last in targets -> last in targets and layer + ".bias" in state


# wrong: blocks only
# last in targets -> last in targets and layer.startswith("blocks.")


# wrong: the first nine blocks only
# last in targets -> last in targets and ".10." not in name and ".11." not in name


# wrong: square weights only
# last in targets -> last in targets and W.shape[0] == W.shape[1]


# wrong: biases get factors too
# kind == "weight" and last in targets:\n            d, k = W.shape -> last in targets:\n            d, k = W.shape if W.ndim == 2 else (len(W), 1); layer = name if kind == "bias" else layer


# wrong: the weight's name stays in
# f"{layer}.lora_A" -> f"{name}.lora_A"
# f"{layer}.lora_B" -> f"{name}.lora_B"


# wrong: the last name only
# f"{layer}.lora_A" -> f"{last}.lora_A"
# f"{layer}.lora_B" -> f"{last}.lora_B"


# wrong: every ".weight" is cut out of the name
# last in targets: -> last in targets:\n            layer = name.replace(".weight", "")


# wrong: strips letters, not an ending
# last in targets: -> last in targets:\n            layer = name.rstrip(".weight")


# wrong: names in lower case
# f"{layer}.lora_A" -> f"{layer}.lora_a"


# wrong: B first
# (r, k))\n -> (d, r))\n
# np.zeros((d, r)) -> np.zeros((r, k))


# wrong: A is (k, r)
# standard_normal((r, k)) -> standard_normal((k, r))


# wrong: the rank is cut at the sides
# d, k = W.shape -> d, k = W.shape; r = min(r, d, k)


# wrong: A zero
# rng.standard_normal((r, k)) -> np.zeros((r, k))


# wrong: A ones
# rng.standard_normal((r, k)) -> np.ones((r, k))


# wrong: B random
# np.zeros((d, r)) -> rng.standard_normal((d, r))


# wrong: B tiny
# np.zeros((d, r)) -> np.full((d, r), 1e-12)


# wrong: uniform
# rng.standard_normal((r, k)) -> rng.uniform(-1, 1, (r, k))


# wrong: Laplace
# rng.standard_normal((r, k)) -> rng.laplace(size=(r, k))


# wrong: random signs
# rng.standard_normal((r, k)) -> rng.choice([-1.0, 1.0], size=(r, k))


# wrong: exponential
# rng.standard_normal((r, k)) -> rng.exponential(size=(r, k))


# wrong: whole numbers
# rng.standard_normal((r, k)) -> np.round(4 * rng.standard_normal((r, k)))


# wrong: one row for all
# rng.standard_normal((r, k)) -> np.repeat(rng.standard_normal((1, k)), r, axis=0)


# wrong: the second half repeats the first
# rng.standard_normal((r, k)) -> np.resize(rng.standard_normal((r * k + 1) // 2), (r, k))


# wrong: rows of length 1
# rng.standard_normal((r, k)) -> (lambda z: z / np.linalg.norm(z, axis=1, keepdims=True))(rng.standard_normal((r, k)))


# wrong: the same numbers for each layer
# d, k = W.shape -> d, k = W.shape; rng = np.random.default_rng(seed)


# wrong: the same for each layer of one name
# d, k = W.shape -> d, k = W.shape; rng = np.random.default_rng([seed, zlib.crc32(last.encode())])


# wrong: the same for each layer of one block
# d, k = W.shape -> d, k = W.shape; rng = np.random.default_rng([seed, *(int(p) for p in name.split(".") if p.isdigit())])


# wrong: the same for each layer of one shape
# d, k = W.shape -> d, k = W.shape; rng = np.random.default_rng([seed, d, k])


# wrong: seeded by the length of the name
# d, k = W.shape -> d, k = W.shape; rng = np.random.default_rng([seed, len(name)])


# wrong: seeded by the sum of the letters
# d, k = W.shape -> d, k = W.shape; rng = np.random.default_rng([seed, sum(map(ord, name))])


# wrong: each layer scales the first layer's numbers
# added[f"{layer}.lora_A"] = rng.standard_normal((r, k)) -> added[f"{layer}.lora_A"] = np.random.default_rng(seed).standard_normal((r, k)) * (1 + len(added))


# wrong: each layer has the negative of the one before
# added[f"{layer}.lora_A"] = rng.standard_normal((r, k)) -> added[f"{layer}.lora_A"] = np.random.default_rng([seed, len(added) // 4]).standard_normal((r, k)) * (-1) ** (len(added) // 2)


# wrong: the last layer has the first one's
# return added -> A = [n for n in added if n.endswith("lora_A")]; added.update({A[-1]: added[A[0]]} if len(A) > 1 and added[A[-1]].shape == added[A[0]].shape else {}); return added


# wrong: seed ignored
# default_rng(seed) -> default_rng(0)


# wrong: no seed
# default_rng(seed) -> default_rng()


# wrong: seed modulo 100
# default_rng(seed) -> default_rng(seed % 100)


# wrong: seed used as yes or no
# default_rng(seed) -> default_rng(min(seed, 1))


# wrong: state is changed
# return added -> state.update(added); return added


# wrong: state is part of the result
# return added -> return {**state, **added}


# wrong: target weights leave the state
# return added -> [state.pop(n) for n in list(state) if n[:-7] + ".lora_A" in added]; return added


# wrong: targets are used up
# return added -> targets.clear(); return added


# wrong: a list of pairs
# return added -> return list(added.items())


# wrong: one B for all layers of one shape, which is changed later
B = {}


def inject(state, targets, r, seed):
    rng, added = np.random.default_rng(seed), {}
    for name, W in state.items():
        if name.endswith(".weight") and name.split(".")[-2] in targets:
            added[name[:-7] + ".lora_A"] = rng.standard_normal((r, W.shape[1]))
            added[name[:-7] + ".lora_B"] = B.setdefault(len(W), np.zeros((len(W), r)))
    return added


# wrong: one generator for all calls
rng = np.random.default_rng(0)


def inject(state, targets, r, seed):
    added = {}
    for name, W in state.items():
        if name.endswith(".weight") and name.split(".")[-2] in targets:
            added[name[:-7] + ".lora_A"] = rng.standard_normal((r, W.shape[1]))
            added[name[:-7] + ".lora_B"] = np.zeros((len(W), r))
    return added


# wrong: a dictionary that grows from call to call
added = {}


def inject(state, targets, r, seed):
    rng = np.random.default_rng(seed)
    for name, W in state.items():
        if name.endswith(".weight") and name.split(".")[-2] in targets:
            added[name[:-7] + ".lora_A"] = rng.standard_normal((r, W.shape[1]))
            added[name[:-7] + ".lora_B"] = np.zeros((len(W), r))
    return added


# wrong: cached by the names
kept = {}


def inject(state, targets, r, seed):
    rng, added = np.random.default_rng(seed), {}
    for name, W in state.items():
        if name.endswith(".weight") and name.split(".")[-2] in targets:
            added[name[:-7] + ".lora_A"] = rng.standard_normal((r, W.shape[1]))
            added[name[:-7] + ".lora_B"] = np.zeros((len(W), r))
    return kept.setdefault((tuple(state), tuple(targets)), added)


# wrong in another process: seeds by hash(name)
def inject(state, targets, r, seed):
    added = {}
    for name, W in state.items():
        if name.endswith(".weight") and name.split(".")[-2] in targets:
            rng = np.random.default_rng([seed, abs(hash(name))])
            added[name[:-7] + ".lora_A"] = rng.standard_normal((r, W.shape[1]))
            added[name[:-7] + ".lora_B"] = np.zeros((len(W), r))
    return added
