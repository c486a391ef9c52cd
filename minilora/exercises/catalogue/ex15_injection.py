"""Exercise 15: give chosen layers of a model their LoRA factors."""

import numpy as np

from minilora.exercises.findings import Finding, true
from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def inject(state, targets, r, seed):
    rng, added = np.random.default_rng(seed), {}
    for name, W in state.items():
        layer, _, kind = name.rpartition(".")
        last = layer.split(".")[-1]
        if kind == "weight" and last in targets:
            d, k = W.shape
            A = rng.standard_normal((r, k))
            B = np.zeros((d, r))
            added[f"{layer}.lora_A"], added[f"{layer}.lora_B"] = A, B
    return added


def small_model(case: Case) -> dict[str, np.ndarray]:
    """Two layers that are often targets, some with names like theirs, and a norm."""
    W, V, b = case["W"], case["V"], case["b"]
    return {
        "wte.weight": V,
        "blocks.0.attn.q_proj.weight": W,
        "blocks.0.attn.q_proj.bias": b,
        "blocks.0.attn.q_proj_norm.weight": b,
        "blocks.0.attn.v_proj.weight": W + 1,
        "blocks.1.attn.q_proj.weight": W - 1,
        "blocks.1.mlp.up_proj.weight": V,
        "blocks.1.mlp.moe_q_proj.weight": V,
    }


def judge(case, call):
    arguments = {"state": small_model(case), "targets": list(case["targets"]), "r": case["r"], "seed": case["seed"]}
    got, expected = call("inject", **arguments), inject(**arguments)
    yield true("returns a dictionary", isinstance(got, dict), "expected a dict")
    exact = got.keys() == expected.keys()
    yield true("exactly the target layers get factors", exact, "", sorted(expected), sorted(map(str, got)))
    misshapen = [name for name in expected if np.shape(got[name]) != expected[name].shape]
    note = f"{misshapen[:1]} has shape {np.shape(got[misshapen[0]])}" if misshapen else None
    yield Finding("A is (r, k) and B is (d, r)", note)
    A, B = ([got[name] for name in expected if name.endswith(ending)] for ending in ("lora_A", "lora_B"))
    yield true("every B starts at 0", not any(b.any() for b in B), "B A must be 0 at the start")
    yield true("every A starts random", all(a.all() for a in A), "an A holds zeros")
    different = len({a.tobytes() for a in A}) == len(A)
    yield true("each layer gets its own random numbers", different, "two layers start with the same A")


EXERCISE = Exercise(
    title="injecting LoRA into a model",
    lesson=5,
    minutes=20,
    functions={"inject": inject},
    inputs={
        "W": Floats("d k"),
        "V": Floats("v k"),
        "b": Floats("d"),
        "targets": OneOf((["q_proj"], ["q_proj", "v_proj"], ["up_proj", "q_proj"])),
        "r": OneOf((1, 2, 3)),
        "seed": OneOf((0, 1)),
    },
    judge=judge,
    hints=(
        "Go through state.items(); split a name from the right: layer, _, kind = name.rpartition('.').",
        "A layer is a target if kind == 'weight' and layer.split('.')[-1] in targets: the whole last name, not a part.",
        "rng = np.random.default_rng(seed) before the loop; in it d, k = W.shape and "
        "added[layer + '.lora_A'] = rng.standard_normal((r, k)); added[layer + '.lora_B'] = np.zeros((d, r))",
    ),
    slips={
        "a target is looked for anywhere in the name: q_proj_norm and moe_q_proj are other layers": (
            'kind == "weight" and last in targets -> any(target in name for target in targets)',
            "W.shape -> W.shape if W.ndim == 2 else (W.size, 1)",
        ),
        "only the end of the name is compared, so that moe_q_proj counts as q_proj": "last in targets -> "
        "last.endswith(tuple(targets))",
        "every layer gets factors: only targets should": (
            " and last in targets -> ",
            "W.shape -> W.shape if W.ndim == 2 else (W.size, 1)",
        ),
        "only the first target is adapted": "in targets -> in targets[:1]",
        "B is random: the model changes before training": "B = np.zeros( -> B = rng.standard_normal(",
        "A is zero, like B: no gradient will ever move them": "A = rng.standard_normal( -> A = np.zeros(",
        "A and B are transposed": "= A, B -> = A.T, B.T",
        "the generator is made anew for each layer: every A is the same": "d, k = W.shape -> d, k = W.shape; "
        "rng = np.random.default_rng(seed)",
        "state is changed: return a dictionary of the new parameters": "return -> state.update(added); return",
    },
)
