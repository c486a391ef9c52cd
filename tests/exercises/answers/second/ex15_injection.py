import re

import numpy as np


# right: in the state's order, one generator
def inject(state, targets, r, seed):
    rng = np.random.default_rng(seed)
    new = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and layer.split(".")[-1] in targets:
            d, k = value.shape
            new[layer + ".lora_A"] = rng.normal(size=(r, k)) / np.sqrt(k)
            new[layer + ".lora_B"] = np.zeros((d, r))
    return new


# right: a generator for each layer, from the last name backwards
def inject(state, targets, r, seed):
    chosen = sorted((n for n in state if n.split(".")[-1] == "weight" and n.split(".")[-2:-1] and n.split(".")[-2] in set(targets)), reverse=True)
    new = {}
    for name, child in zip(chosen, np.random.SeedSequence(seed).spawn(len(chosen))):
        stem = name[: -len(".weight")]
        new[f"{stem}.lora_B"] = np.zeros((state[name].shape[0], r))
        new[f"{stem}.lora_A"] = np.random.default_rng(child).standard_normal((r, state[name].shape[1]))
    return new


# right: a regular expression, target by target
def inject(state, targets, r, seed):
    rng, result = np.random.default_rng(seed), dict()
    for target in dict.fromkeys(targets):
        pattern = re.compile(rf"((?:.*\.)?{re.escape(target)})\.weight")
        for name in state:
            if match := pattern.fullmatch(name):
                d, k = np.shape(state[name])
                result[match[1] + ".lora_A"] = 0.02 * rng.standard_normal(size=(r, k))
                result[match[1] + ".lora_B"] = np.zeros_like(state[name], shape=(d, r))
    return result


# right: all of the numbers in one draw, each layer a copy of its part
def inject(state, targets, r, seed):
    layers = [n.removesuffix(".weight") for n in state if n.endswith(".weight") and n.split(".")[-2] in targets]
    sizes = [r * state[f"{n}.weight"].shape[1] for n in layers]
    pool = np.random.default_rng(seed).normal(scale=0.1, size=sum(sizes))
    parts = np.split(pool, np.cumsum(sizes)[:-1]) if layers else []
    factors = {f"{n}.lora_A": part.copy().reshape(r, -1) for n, part in zip(layers, parts)}
    return factors | {f"{n}.lora_B": np.zeros((state[f"{n}.weight"].shape[0], r)) for n in layers}


# wrong: strips the letters of ".weight"
# layer, _, kind = name.rpartition(".") -> layer, kind = name.rstrip(".weight"), name.split(".")[-1]


# wrong: strips letters at both ends
# layer, _, kind = name.rpartition(".") -> layer, kind = name.strip(".weight"), name.split(".")[-1]


# wrong: replaces the first "weight"
# new[layer + ".lora_A"] -> new[name.replace("weight", "lora_A", 1)]


# wrong: replaces every "weight"
# new[layer + ".lora_A"] -> new[name.replace("weight", "lora_A")]


# wrong: replaces ".weight" wherever it is
# layer.split(".")[-1] in targets: -> layer.split(".")[-1] in targets:\n            layer = name.replace(".weight", "")


# wrong: the target anywhere in the path
# layer.split(".")[-1] in targets -> set(layer.split(".")) & set(targets)


# wrong: the path contains the target
# layer.split(".")[-1] in targets -> any(t in layer for t in targets)


# wrong: the path ends in the target's letters
# layer.split(".")[-1] in targets -> layer.endswith(tuple(targets))


# wrong: the last name starts with the target
# layer.split(".")[-1] in targets -> layer.split(".")[-1].startswith(tuple(targets))


# wrong: the last name is part of a target
# layer.split(".")[-1] in targets -> layer.split(".")[-1] in " ".join(targets)


# wrong: capitals do not matter
# layer.split(".")[-1] in targets -> layer.split(".")[-1].lower() in [t.lower() for t in targets]


# wrong: layers at the root are left out
# kind == "weight" -> kind == "weight" and "." in layer


# wrong: the layer must be two names deep
# kind == "weight" -> kind == "weight" and layer.count(".") != 1


# wrong: layers without a bias only
# kind == "weight" -> kind == "weight" and layer + ".bias" not in state


# wrong: biases too
# d, k = value.shape -> d, k = value.shape if value.ndim == 2 else (1, value.shape[0])
# kind == "weight" -> kind in ("weight", "bias")


# wrong: the full parameter's name
# new[layer + ".lora_A"] -> new[name + ".lora_A"]
# new[layer + ".lora_B"] -> new[name + ".lora_B"]


# wrong: ".weight" after it
# lora_A"] -> lora_A.weight"]
# lora_B"] -> lora_B.weight"]


# wrong: a generator for each layer from the same seed
# if kind == -> rng = np.random.default_rng(seed)\n        if kind ==


# wrong: seeded by the length of the name
# d, k = value.shape -> d, k = value.shape\n            rng = np.random.default_rng([seed, len(name)])


# wrong: seeded by the last name
# d, k = value.shape -> d, k = value.shape\n            rng = np.random.default_rng([seed, *layer.split(".")[-1].encode()])


# wrong: seeded by the sum of the name's letters
# d, k = value.shape -> d, k = value.shape\n            rng = np.random.default_rng([seed, sum(layer.encode())])


# wrong: seeded by the first number in the name
# d, k = value.shape -> d, k = value.shape\n            rng = np.random.default_rng([seed, int((re.findall(r"\\d+", name) or ["0"])[0])])


# wrong in another process: seeded by the name's hash
# d, k = value.shape -> d, k = value.shape\n            rng = np.random.default_rng(abs(hash((name, seed))))


# wrong: the seed is not used
# default_rng(seed) -> default_rng(0)


# wrong: no seed
# default_rng(seed) -> default_rng()


# wrong: the seed 0 is taken for none
# default_rng(seed) -> default_rng(seed or None)


# wrong: a seed of two digits
# default_rng(seed) -> default_rng(seed % 100)


# wrong: uniform numbers
# rng.normal(size=(r, k)) -> rng.uniform(-1, 1, size=(r, k))


# wrong: ones
# rng.normal(size=(r, k)) -> np.ones((r, k))


# wrong: zero A, random B
# lora_A"] = rng.normal(size=(r, k)) / np.sqrt(k) -> lora_A"] = np.zeros((r, k))
# np.zeros((d, r)) -> rng.normal(size=(d, r))


# wrong: A the wrong way round
# size=(r, k) -> size=(k, r)


# wrong: d and k swapped
# d, k = value.shape -> k, d = value.shape


# wrong: layers of one shape share A
# rng.normal(size=(r, k)) / np.sqrt(k) -> new_by_shape.setdefault((d, k), rng.normal(size=(r, k)))
# new = {} -> new, new_by_shape = {}, {}


# wrong: layers of one shape share the very same B
# np.zeros((d, r)) -> zeros.setdefault((d, r), np.zeros((d, r)))
# new = {} -> new, zeros = {}, {}


# wrong: all B are parts of one array of zeros that overlap
# np.zeros((d, r)) -> pool[: d * r].reshape(d, r)
# new = {} -> new, pool = {}, np.zeros(max([r * v.shape[0] for v in state.values() if v.ndim == 2] or [1]))


# wrong: B cannot be written
# np.zeros((d, r)) -> np.broadcast_to(0.0, (d, r))


# wrong: the rank is at most d and k
# d, k = value.shape -> d, k = value.shape\n            r = min(r, d, k)


# wrong: the first target only
# in targets: -> in targets[:1]:


# wrong: the first layer of each target only
# in targets: -> in targets and not any(n.split(".")[-2] == layer.split(".")[-1] for n in new):


# wrong: adds to the state
# return new -> state.update(new)\n    return new


# wrong: the whole state comes back
# return new -> return {**state, **new}


# wrong: state is emptied
# return new -> new = dict(new)\n    state.clear()\n    return new


# wrong: the same numbers for every model
# rng = np.random.default_rng(seed) -> rng = RNG
# def inject -> RNG = np.random.default_rng(0)\n\n\ndef inject


# wrong: remembered by the state's names
# return new -> return KNOWN.setdefault((tuple(state), tuple(targets), r), new)
# def inject -> KNOWN = {}\n\n\ndef inject


# wrong: A follows the weight
# rng.normal(size=(r, k)) / np.sqrt(k) -> np.resize(value, (r, k)).astype(float)


# wrong: the second row repeats the first
# new[layer + ".lora_B"] -> new[layer + ".lora_A"][1:2] = new[layer + ".lora_A"][:1]\n            new[layer + ".lora_B"]
