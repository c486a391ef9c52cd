"""Exercise 15: give chosen layers of a model their LoRA factors."""

import numpy as np

from minilora.exercises.spec import Broken, Call, Case, Exercise, Floats, OneOf, check_that


def _state(case: Case) -> dict[str, np.ndarray]:
    """A small model: two layers that are often targets, some with names like theirs, and a norm."""
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


def _inject(state, targets, r, seed, chosen=None, factors=None, fresh=False):
    """The right way, but for what is given."""
    rng, added = np.random.default_rng(seed), {}
    for name, W in state.items():
        layer, _, kind = name.rpartition(".")
        last = layer.split(".")[-1]
        if chosen(name, last, kind, targets) if chosen else kind == "weight" and last in targets:
            rng = np.random.default_rng(seed) if fresh else rng
            d, k = W.shape if W.ndim == 2 else (W.size, 1)
            A, B = rng.standard_normal((r, k)), np.zeros((d, r))
            added[f"{layer}.lora_A"], added[f"{layer}.lora_B"] = factors(A, B) if factors else (A, B)
    return added


def _right(state, targets, r, seed):
    return _inject(state, targets, r, seed)


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    state, r = _state(case), case["r"]
    targets = list(case["targets"])
    got = call("inject", state=state, targets=targets, r=r, seed=case["seed"])
    expected = _right(state, targets, r, case["seed"])
    check_that("returns a dictionary", isinstance(got, dict), "expected a dict")
    if got.keys() != expected.keys():
        raise Broken("exactly the target layers get factors", sorted(expected), sorted(map(str, got)))
    for name in expected:
        found = np.shape(got[name])
        right = expected[name].shape
        check_that("A is (r, k) and B is (d, r)", found == right, f"{name} has shape {found}, expected {right}")
    A = {name: np.asarray(got[name]) for name in got if name.endswith("lora_A")}
    B = {name: np.asarray(got[name]) for name in got if name.endswith("lora_B")}
    check_that("every B starts at 0", not any(b.any() for b in B.values()), "B A must be 0 at the start")
    check_that("every A starts random", all((a != 0).all() for a in A.values()), "an A holds zeros")
    different = len({a.tobytes() for a in A.values()}) == len(A)
    check_that("every layer gets random numbers of its own", different, "two layers start with the same A")


def _changes_state(state, targets, r, seed):
    added = _right(state, targets, r, seed)
    state.update(added)
    return added


EXERCISE = Exercise(
    title="injecting LoRA into a model",
    lesson=5,
    minutes=20,
    functions={"inject": _right},
    inputs={
        "W": Floats("d k"),
        "V": Floats("v k"),
        "b": Floats("d"),
        "targets": OneOf((["q_proj"], ["q_proj", "v_proj"], ["up_proj", "q_proj"])),
        "r": OneOf((1, 2, 3)),
        "seed": OneOf((0, 1)),
    },
    judge=_judge,
    hints=(
        "Go through state.items(); split a name from the right: layer, _, kind = name.rpartition('.').",
        "A layer is a target if kind == 'weight' and layer.split('.')[-1] in targets: the whole last name, not a part.",
        "rng = np.random.default_rng(seed) before the loop; in it d, k = W.shape and "
        "added[layer + '.lora_A'] = rng.standard_normal((r, k)); added[layer + '.lora_B'] = np.zeros((d, r))",
    ),
    wrong={
        "a target is looked for anywhere in the name: q_proj_norm and moe_q_proj are other layers": (
            lambda state, targets, r, seed: _inject(
                state, targets, r, seed, lambda name, last, kind, targets: any(t in name for t in targets)
            )
        ),
        "the name's ending is compared, so that moe_q_proj counts as q_proj": lambda state, targets, r, seed: _inject(
            state,
            targets,
            r,
            seed,
            lambda name, last, kind, targets: kind == "weight" and last.endswith(tuple(targets)),
        ),
        "every layer gets factors: only targets should": lambda state, targets, r, seed: _inject(
            state, targets, r, seed, lambda name, last, kind, targets: kind == "weight"
        ),
        "only the first target is adapted": lambda state, targets, r, seed: _inject(state, targets[:1], r, seed),
        "B is random: the model changes before training": lambda state, targets, r, seed: _inject(
            state, targets, r, seed, factors=lambda A, B: (A, B + 1)
        ),
        "A is zero, like B: no gradient will ever move them": lambda state, targets, r, seed: _inject(
            state, targets, r, seed, factors=lambda A, B: (0 * A, B)
        ),
        "A and B are transposed": lambda state, targets, r, seed: _inject(
            state, targets, r, seed, factors=lambda A, B: (A.T, B.T)
        ),
        "the generator is made anew for each layer: every A is the same": lambda state, targets, r, seed: _inject(
            state, targets, r, seed, fresh=True
        ),
        "state is changed: return a dictionary of the new parameters": _changes_state,
    },
)
