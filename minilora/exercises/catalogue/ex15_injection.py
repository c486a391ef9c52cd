"""Exercise 15: give chosen layers of a model their LoRA factors."""

import numpy as np

from minilora.exercises.chance import not_gaussian
from minilora.exercises.findings import Finding, equal, true
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


# Names that mislead: at the root, targets in the middle of a path, names within names, endings like ".weight".
LAYERS = (
    *(
        "q_proj",
        "up_proj",
        "lm_head",
        "height",
        "a.q_proj",
        "a.b.up_proj",
        "q_proj.norm",
        "blocks.2.q_proj.inner",
        "blocks.3.weight_norm.q_proj",
    ),
    *(f"blocks.0.attn.{name}" for name in ("q_proj", "v_proj", "q_proj_norm", "moe_q_proj", "Q_proj", "proj", "q")),
    *("blocks.1.attn.q_proj", "blocks.10.attn.q_proj", "blocks.0.mlp.up_proj", "blocks.0.mlp.gate"),
)


def small_model(case: Case) -> dict[str, np.ndarray]:
    state = {"blocks.0.ln_1.weight": case["b"], "blocks.0.ln_1.bias": case["b"]}
    for i, layer in enumerate(LAYERS):
        state[f"{layer}.weight"] = case["W"] if i % 2 else case["V"]
        if i % 3 == 0:
            state[f"{layer}.bias"] = case["b"]
    return dict(list(state.items())[:: case["order"]])


def judge(case, call):
    arguments = case.laid_out({"state": small_model(case), "targets": list(case["targets"]), "r": case["r"]})
    got, expected = call("inject", **arguments, seed=case["seed"]), inject(**arguments, seed=case["seed"])
    yield true("returns a dictionary", isinstance(got, dict), "expected a dict")
    exact = got.keys() == expected.keys()
    yield true("exactly the target layers get factors", exact, "", sorted(expected), sorted(map(str, got)))
    misshapen = [name for name in expected if np.shape(got[name]) != expected[name].shape]
    note = f"{misshapen[0]} has shape {np.shape(got[misshapen[0]])}" if misshapen else None
    yield Finding("A is (r, k) and B is (d, r)", note)
    A, B = ([got[name] for name in expected if name.endswith(ending)] for ending in ("lora_A", "lora_B"))
    yield true("every B starts at 0", not any(b.any() for b in B), "B A must be 0 at the start")
    yield true("every A starts random", all(a.all() for a in A), "an A holds zeros")
    different = len({a.tobytes() for a in A}) == len(A)
    yield true("each layer gets its own random numbers", different, "two layers start with the same A")
    fewer = {name: w for name, w in arguments["state"].items() if not name.startswith("blocks.0")}
    left = call("inject", **{**arguments, "state": fewer}, seed=case["seed"])
    wanted = {name for name in expected if not name.startswith("blocks.0")}
    yield equal("exactly the target layers get factors", sorted(wanted), sorted(map(str, left)))
    again = call("inject", **arguments, seed=case["seed"])
    same = all(np.array_equal(again[name], got[name]) for name in expected)
    yield true("equal seeds give equal factors", same, "the same call gives other numbers the second time")
    if case["sampled"]:
        yield from sampled(call)


def sampled(call):
    """40 layers of one shape, some of whose names have the same letters, for four seeds that are far apart."""
    layers = [f"blocks.{i}.attn.{name}_proj" for i in (*range(14), 20, 21, 31, 12345, 54321, 99) for name in "qv"]
    state = {f"{layer}.weight": np.ones((2, 30)) for layer in layers}
    seeds = (5, 105, 5 + 2**16, 5 + 10**6)
    got = [call("inject", state=state, targets=["q_proj", "v_proj"], r=8, seed=seed) for seed in seeds]
    samples = np.stack([found[f"{layer}.lora_A"] for found in got for layer in layers])
    wrong = not_gaussian(samples / np.sqrt((samples**2).mean()))
    yield Finding("each A is independent Gaussian numbers, for every layer and seed", wrong)


EXERCISE = Exercise(
    title="injecting LoRA into a model",
    lesson=5,
    minutes=20,
    functions={"inject": inject},
    inputs={
        "sampled": OneOf((False, False, False, True)),
        "W": Floats("d k"),
        "V": Floats("v k"),
        "b": Floats("d"),
        "targets": OneOf((["q_proj"], ["q_proj", "v_proj"], ["up_proj", "gate", "height"], [], ["proj"], ["k_proj"])),
        "order": OneOf((1, -1)),
        "r": OneOf((2, 1, 3)),
        "seed": OneOf((1, 0, 101)),
    },
    cases=8,
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
