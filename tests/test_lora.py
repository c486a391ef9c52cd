"""LoRA as in the paper: the identity at first, of rank r, merged without a difference, removed without a trace."""

import re
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora import ops
from minilora.lora import LoraLayer, LoraLinear, is_merged, resolved_config
from minilora.nn import Embedding, Linear, Parameter
from minilora.testing.bounds import gamma
from minilora.testing.check import check_lora
from tests import models
from tests.finite_differences import assert_gradient
from tests.models import TINY, batch, bits, gpt, loss_of, scramble, seeds
from tests.reference import reference_logits, reference_loss

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
EVERY_LAYER = (*PROJECTIONS, "wte", "wpe")
PATHS = [
    f"blocks.{i}.{part}"
    for i in range(2)
    for part in [*(f"attn.{p}" for p in PROJECTIONS[:4]), "mlp.up_proj", "mlp.down_proj"]
]

targets = (
    st.lists(st.sampled_from(EVERY_LAYER), min_size=1, unique=True)
    | st.lists(st.sampled_from(PATHS), min_size=1, unique=True)
    | st.sampled_from((r"blocks\.[01]\.attn\.[qv]_proj", r".*_proj", r"wte|.*\.1\..*proj"))
)


@st.composite
def lora_configs(draw) -> ml.LoraConfig:
    return ml.LoraConfig(
        r=draw(st.integers(1, 9)),  # above the width too
        lora_alpha=draw(st.sampled_from((1, 4, -0.5)) | st.floats(0.125, 4)),
        target_modules=draw(targets),
        use_rslora=draw(st.booleans()),
        bias=draw(st.sampled_from(("none", "all", "lora_only"))),
    )


@st.composite
def adapted_models(draw) -> ml.GPT:
    """A model with a LoRA somewhere, in either precision, as if trained."""
    dtype = draw(st.sampled_from(("float32", "float64")))
    model = ml.add_lora(gpt(replace(TINY, dtype=dtype)), draw(lora_configs()))
    return scramble(model, seed=draw(seeds))


def adapted(seed: int = 0, **config) -> ml.GPT:
    """A TINY model with this LoRA, B not zero."""
    return scramble(
        ml.add_lora(gpt(), ml.LoraConfig(**{"r": 2, "lora_alpha": 2, "target_modules": EVERY_LAYER, **config})), seed
    )


def weights(model: ml.GPT) -> dict[str, np.ndarray]:
    return {path: layer.weight.data.copy() for path, layer in ml.lora_layers(model)}


# ------------------------------------------------------------------ the laws that hold for any LoRA


def layer(W0: np.ndarray, A: np.ndarray, B: np.ndarray, scaling: float) -> LoraLinear:
    r = len(A)
    made = LoraLinear(Linear(Parameter(W0, trainable=False)), ml.LoraConfig(r=r), np.random.default_rng(0))
    made.scaling, made.lora_A.data, made.lora_B.data = scaling, A, B
    made.assign_names()
    return made


def forward(x, *of_layer):
    return layer(*of_layer).forward(x)[0]


def backward(dy, x, *of_layer):
    adapted, grads = layer(*of_layer), {}
    dx = adapted.backward(dy, adapted.forward(x)[1], grads)
    assert grads.keys() == {"lora_A", "lora_B"}
    return dx, grads["lora_A"], grads["lora_B"]


def test_our_layer_obeys_the_laws_with_w0_kept_aside():
    kept = []

    def merge(*of_layer):
        merged = layer(*of_layer)
        merged.merge(keep_base=True)
        kept.append(merged)
        return merged.weight.data

    def unmerge(W, A, B, scaling):
        merged = kept.pop()
        merged.unmerge()
        return merged.weight.data

    check_lora(
        forward=forward,
        merge=merge,
        unmerge=unmerge,
        backward=backward,
        base_forward=lambda x, W0: Linear(Parameter(W0)).forward(x)[0],
        exact_unmerge=True,
        max_examples=50,
    )


def test_our_layer_obeys_the_laws_the_papers_way():
    def merge(*of_layer):
        merged = layer(*of_layer)
        merged.merge(keep_base=False)
        return merged.weight.data

    def unmerge(*of_layer):
        merged = layer(*of_layer)
        merged.merged = True
        merged.unmerge()
        return merged.weight.data

    check_lora(forward=forward, merge=merge, unmerge=unmerge, max_examples=50)


# ----------------------------------------------------------------------------------- at the beginning


@given(lora_configs(), st.sampled_from(("float32", "float64")))
def test_adding_a_lora_changes_no_bit_of_the_logits(config, dtype):
    model, tokens = gpt(replace(TINY, dtype=dtype)), batch()[0]
    before = model(tokens)
    np.testing.assert_array_equal(ml.add_lora(model, config)(tokens), before)


def test_at_first_the_gradient_of_a_is_exactly_zero_and_that_of_b_is_not():
    model = ml.add_lora(gpt(), ml.LoraConfig(r=2, target_modules=EVERY_LAYER))
    _, grads = ml.loss_and_grads(model, *batch())
    for name, gradient in grads.items():
        assert gradient.any() == name.endswith("lora_B")


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_a_is_r_by_k_and_b_is_d_by_r(name):
    path = next(path for path, _ in gpt().named_modules() if path.split(".")[-1] == name)
    d, k = gpt().get_submodule(path).weight.shape
    adapted = ml.add_lora(gpt(), ml.LoraConfig(r=3, target_modules=(name,))).get_submodule(path)
    assert adapted.lora_A.shape == (3, k) and adapted.lora_B.shape == (d, 3) and adapted.r == 3


def test_a_is_gaussian_of_variance_one_over_k():
    """A sample's standard deviation is off by 1/sqrt(2n) of itself, its mean by std/sqrt(n); times five."""
    model = ml.add_lora(ml.GPT(ml.GPTConfig(n_layer=1, n_embd=256)), ml.LoraConfig(r=32, target_modules=PROJECTIONS))
    for _, adapted in ml.lora_layers(model):
        A = adapted.lora_A.data * np.sqrt(adapted.weight.shape[1])
        assert abs(A.std() - 1) < 5 / np.sqrt(2 * A.size) and abs(A.mean()) < 5 / np.sqrt(A.size)
        assert not adapted.lora_B.data.any()


def test_the_seed_decides_every_a():
    first, again, other = (bits(ml.add_lora(gpt(), ml.LoraConfig(), seed=seed)) for seed in (5, 5, 6))
    assert first == again and first != other


# ----------------------------------------------------------------------------------- which and how much


@pytest.mark.parametrize(
    ("target_modules", "expected"),
    [
        (("q_proj",), ["blocks.0.attn.q_proj", "blocks.1.attn.q_proj"]),
        (("1.attn.q_proj", "wte"), ["wte", "blocks.1.attn.q_proj"]),
        (r"blocks\.0\.attn\.[qv]_proj", ["blocks.0.attn.q_proj", "blocks.0.attn.v_proj"]),
        (r".*down_proj", ["blocks.0.mlp.down_proj", "blocks.1.mlp.down_proj"]),
    ],
)
def test_targets_are_names_or_path_endings_or_one_regular_expression(target_modules, expected):
    model = ml.add_lora(gpt(), ml.LoraConfig(target_modules=target_modules))
    assert [path for path, _ in ml.lora_layers(model)] == expected


def test_names_may_come_in_a_list():
    assert ml.LoraConfig(target_modules=["q_proj", "wte"]) == ml.LoraConfig(target_modules=("q_proj", "wte"))


def test_a_name_is_neither_a_regular_expression_nor_part_of_a_name():
    for name in (".*_proj", "proj", "_proj"):
        with pytest.raises(ValueError, match="no layer matches"):
            ml.add_lora(gpt(), ml.LoraConfig(target_modules=(name,)))


@pytest.mark.parametrize(("use_rslora", "expected"), [(False, 12 / 4), (True, 12 / 2)])
def test_the_scaling_is_alpha_by_r_or_by_its_root(use_rslora, expected):
    model = ml.add_lora(gpt(), ml.LoraConfig(r=4, lora_alpha=12, use_rslora=use_rslora))
    assert {layer.scaling for _, layer in ml.lora_layers(model)} == {expected}


def test_patterns_make_exceptions_to_r_and_alpha():
    config = ml.LoraConfig(r=2, lora_alpha=8, rank_pattern={"0.attn.q_proj": 4}, alpha_pattern={r"1\..*": 6})
    layers = dict(ml.lora_layers(ml.add_lora(gpt(), config)))
    assert {path: (layer.lora_A.shape[0], layer.scaling) for path, layer in layers.items()} == {
        "blocks.0.attn.q_proj": (4, 8 / 4),
        "blocks.0.attn.v_proj": (2, 8 / 2),
        "blocks.1.attn.q_proj": (2, 6 / 2),
        "blocks.1.attn.v_proj": (2, 6 / 2),
    }


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        ("none", lambda name: False),
        ("all", lambda name: name.endswith(".bias")),
        ("lora_only", lambda name: name.endswith(("q_proj.bias", "v_proj.bias"))),
    ],
)
def test_bias_says_which_biases_train_beside_a_and_b(bias, expected):
    model = ml.add_lora(gpt(), ml.LoraConfig(bias=bias))
    _, grads = ml.loss_and_grads(model, *batch())
    names = {name for name in model.named_parameters() if expected(name) or name.endswith(("lora_A", "lora_B"))}
    assert grads.keys() == names == {name for name, p in model.named_parameters().items() if p.trainable}


def test_the_report_counts_what_trains():
    model = ml.add_lora(ml.GPT(ml.GPTConfig(block_size=64, n_layer=2, n_embd=32)), ml.LoraConfig(r=4))
    trained, everything = 2 * 2 * 4 * (32 + 32), model.config.parameter_count + 2 * 2 * 4 * (32 + 32)
    assert ml.trainable_report(model) == (
        f"trainable params: {trained:,} || all params: {everything:,} || trainable%: {100 * trained / everything:.4f}"
    )


# -------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    "name", ml.add_lora(gpt(), ml.LoraConfig(r=2, target_modules=EVERY_LAYER, bias="all")).named_parameters()
)
def test_every_entry_of_every_gradient_is_the_central_difference(name):
    """The table's A and B serve the lookup and the head, so their gradients are sums of both."""
    model = adapted(bias="all")
    parameter = model.named_parameters()[name]
    if not parameter.trainable:
        assert name not in ml.loss_and_grads(model, *batch())[1] and name.endswith(".weight")
        parameter.trainable = True  # W0 may train beside its LoRA
    _, grads = ml.loss_and_grads(model, *batch())
    rounding = 2 * float(reference_loss(model, *batch()).error)
    assert_gradient(grads[name], lambda: loss_of(model, *batch()), parameter.data, rounding)


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        # the gradient goes down through the head, block 1's down_proj and up_proj, and its o_proj
        ({"lora_B"}, {"linear_dx": 4, "linear_dW": 1}),
        ({"lora_A", "lora_B"}, {"linear_dx": 5, "linear_dW": 2}),  # and dh = dz B, from which A's gradient is made
        ({"lora_A"}, {"linear_dx": 5, "linear_dW": 1}),
    ],
)
def test_backward_makes_no_product_that_no_trainable_matrix_needs(monkeypatch, trainable, expected):
    model = ml.add_lora(gpt(), ml.LoraConfig(r=2, target_modules=("1.attn.q_proj",)))
    for name, parameter in model.named_parameters().items():
        parameter.trainable = name.rpartition(".")[2] in trainable
    logits, cache = model.forward(batch()[0])
    spies = {op: Mock(wraps=getattr(ops, op)) for op in expected}
    for op, spy in spies.items():
        monkeypatch.setattr(ops, op, spy)
    model.backward(np.ones_like(logits), cache, {})
    assert {op: spy.call_count for op, spy in spies.items()} == expected


def test_gradients_with_dropout_are_those_of_the_masks_that_were_drawn():
    model, tokens, grads = adapted(lora_dropout=0.5), batch()[0], {}
    dy = np.random.default_rng(2).uniform(-1, 1, (*tokens.shape, TINY.vocab_size)) / tokens.size

    def forward():
        return model.forward(tokens, np.random.default_rng(1))

    model.backward(dy, forward()[1], grads)
    bound = reference_logits(model, tokens)
    rounding = 4 * float((np.abs(dy) * bound.error).sum())  # 4: dropout of 1/2 doubles what it keeps
    for name in ("blocks.0.attn.q_proj.lora_A", "blocks.0.mlp.up_proj.lora_B", "wte.lora_A"):
        parameter = model.named_parameters()[name].data
        assert_gradient(grads[name], lambda: float((dy * forward()[0]).sum()), parameter, rounding)


def test_dropout_is_on_exactly_when_a_generator_is_passed():
    plain, dropping, tokens = adapted(), adapted(lora_dropout=0.5), batch()[0]
    np.testing.assert_array_equal(plain(tokens), dropping(tokens))
    np.testing.assert_array_equal(plain(tokens), plain.forward(tokens, np.random.default_rng(0))[0])
    first, again, other = (dropping.forward(tokens, np.random.default_rng(seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first, dropping(tokens))


@given(lora_configs())
def test_training_never_moves_a_bit_of_a_frozen_weight(config):
    model = ml.add_lora(gpt(), config)
    frozen = {name for name, p in model.named_parameters().items() if not p.trainable}
    before = bits(model)
    ml.fit(model, np.arange(40) % 7, steps=2, batch_size=2, progress=False)
    moved = {name for name, now in bits(model).items() if now != before[name]}
    assert frozen and moved.isdisjoint(frozen)
    assert any(name.endswith("lora_B") for name in moved)


# --------------------------------------------------------------------------------------------- merging


@given(adapted_models())
def test_merged_and_unmerged_the_model_computes_the_same(model):
    tokens = batch()[0]
    expected = reference_logits(model, tokens)
    unmerged = model(tokens)
    merged = ml.merge(model)(tokens)
    assert (np.abs(unmerged - expected.value) <= 2 * expected.error).all()
    assert (np.abs(merged - unmerged) <= 2 * expected.error).all()


def test_the_bound_on_merging_is_far_below_what_the_lora_does():
    model, tokens = adapted(lora_alpha=2), batch()[0]
    effect = np.abs(model(tokens) - gpt()(tokens)).max()
    assert reference_logits(model, tokens).error.max() < 1e-6 * effect


@given(adapted_models())
def test_unmerging_puts_every_bit_back(model):
    before = bits(model)
    for _ in range(3):
        ml.merge(model)
        ml.unmerge(model)
    assert bits(model) == before


def test_the_papers_way_does_drift():
    model = adapted(lora_alpha=8)
    before = bits(model)
    ml.unmerge(ml.merge(model, keep_base=False))
    assert bits(model) != before


def test_merging_writes_w0_plus_the_update_and_moves_nothing_else():
    model = adapted()
    before, W0 = bits(model), weights(model)
    ml.merge(model)
    for path, layer in ml.lora_layers(model):
        np.testing.assert_array_equal(layer.weight.data, W0[path] + layer.delta())
    changed = {name for name, now in bits(model).items() if now != before[name]}
    assert changed == {f"{path}.weight" for path in W0}


def test_w0_is_kept_only_if_asked_for_and_only_while_merged():
    model = adapted()
    for keep_base in (True, False):
        ml.merge(model, keep_base)
        assert {layer.base_weight is not None for _, layer in ml.lora_layers(model)} == {keep_base}
        assert is_merged(model)
        ml.unmerge(model)
        assert {layer.base_weight is not None for _, layer in ml.lora_layers(model)} == {False}
        assert not is_merged(model)


# -------------------------------------------------------------------------------------------- removing


def test_removing_gives_the_base_back_bit_for_bit():
    model, tokens = gpt(), batch()[0]
    before, logits = bits(model), model(tokens)
    ml.remove_lora(models.adapted(model, ml.LoraConfig(target_modules=EVERY_LAYER)))
    assert bits(model) == before
    np.testing.assert_array_equal(model(tokens), logits)


def test_removing_after_merging_keeps_the_merged_weights():
    model, tokens = ml.merge(adapted()), batch()[0]
    logits, merged = model(tokens), weights(model)
    ml.remove_lora(model)
    np.testing.assert_array_equal(model(tokens), logits)
    for path, W in merged.items():
        np.testing.assert_array_equal(model.get_submodule(path).weight.data, W)


def test_after_removing_the_layers_are_plain_and_train_and_a_lora_can_be_added_again():
    model = ml.remove_lora(adapted())
    assert not any(isinstance(module, LoraLayer) for _, module in model.named_modules())
    assert type(model.wte) is Embedding and type(model.blocks[0].attn.q_proj) is Linear
    assert list(model.named_parameters()) == list(gpt().named_parameters())
    assert all(p.trainable for p in model.named_parameters().values())
    ml.add_lora(model, ml.LoraConfig(r=1, target_modules=("o_proj",)))
    assert [path for path, _ in ml.lora_layers(model)] == ["blocks.0.attn.o_proj", "blocks.1.attn.o_proj"]


# --------------------------------------------------------------------------- alpha and the learning rate


def untrained(alpha: float, train_A: bool) -> ml.GPT:
    model = ml.add_lora(gpt(), ml.LoraConfig(r=2, lora_alpha=alpha, target_modules=PROJECTIONS))
    for _, layer in ml.lora_layers(model):
        layer.lora_A.trainable = train_A
    return model


def trajectory(alpha: float, lr: float, train_A: bool, steps: int = 4) -> list[np.ndarray]:
    """Every layer's dW after each step of Adam with eps = 0, flat."""
    model = untrained(alpha, train_A)
    optimizer, path = ml.Adam(model, lr, eps=0.0), []
    for step in range(steps):
        _, grads = ml.loss_and_grads(model, *batch(seed=step))
        optimizer.step({name: g for name, g in grads.items() if g.any()})  # A's first is 0, and 0/0 no step
        path.append(np.concatenate([layer.delta().ravel() for _, layer in ml.lora_layers(model)]))
    return path


def test_with_a_fixed_alpha_is_a_learning_rate_for_adam_bit_for_bit():
    """Section 4.1: "tuning alpha is roughly the same as tuning the learning rate". Exactly so in the B that trains.

    Twice the alpha makes every gradient of B twice as large, which Adam's m / sqrt(v) cancels: B takes the same
    steps, and counts twice. Twice the learning rate makes B itself twice as large. Powers of two do not round.
    """
    np.testing.assert_array_equal(
        trajectory(alpha=8, lr=0.01, train_A=False), trajectory(alpha=4, lr=0.02, train_A=False)
    )


def test_the_first_step_of_b_is_the_learning_rate_whatever_alpha():
    for alpha in (1, 8, 64):
        model = untrained(alpha, train_A=False)
        _, grads = ml.loss_and_grads(model, *batch())
        ml.Adam(model, lr=0.01, eps=0.0).step(grads)
        for name, g in grads.items():
            # Adam's m / (sqrt(v) / ...) is g / |g| up to its own 10 roundings.
            B = model.named_parameters()[name].data
            np.testing.assert_allclose(B, -0.01 * np.sign(g), rtol=gamma(10, "float64"))


def test_with_a_trained_alpha_is_a_learning_rate_for_the_first_step_only():
    """ "Roughly", because the learning rate moves A too, and alpha does not move it further."""
    by_alpha = trajectory(alpha=8, lr=0.01, train_A=True)
    by_lr = trajectory(alpha=4, lr=0.02, train_A=True)
    np.testing.assert_array_equal(by_alpha[0], by_lr[0])
    assert not np.allclose(by_alpha[1], by_lr[1], rtol=1e-3)


# ----------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 0}, "whole number of at least 1"),
        *(({"r": r}, "whole number of at least 1") for r in (2.0, None, "8")),
        ({"rank_pattern": {"q_proj": -1}}, "whole number of at least 1"),
        *(({"lora_alpha": alpha}, "finite number") for alpha in (float("nan"), None, "16")),
        ({"alpha_pattern": {"q_proj": float("inf")}}, "finite number"),
        *(({"lora_dropout": p}, r"probability in \[0, 1\)") for p in (1.0, None, float("nan"))),
        *(({"bias": bias}, '"lora_only"') for bias in ("some", None, [])),
        ({"target_modules": ()}, "name at least one layer"),
        *(({"target_modules": names}, "give layer names") for names in (None, 3, [1])),
        ({"exclude_modules": None}, "give layer names"),
        *(({"rank_pattern": pattern}, "give a dictionary") for pattern in (None, {1: 2})),
        ({"alpha_pattern": [("q_proj", 1)]}, "give a dictionary"),
        *(({"layers_to_transform": blocks}, "give the numbers of blocks") for blocks in ("0", [-1])),
        ({"target_modules": "(q_proj"}, "not a regular expression"),
        ({"rank_pattern": {"[": 2}}, "not a regular expression"),
    ],
)
def test_an_impossible_config_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        ml.LoraConfig(**config)


@pytest.mark.parametrize("target_modules", [("q_proj", "c_attn"), "c_attn"])
def test_an_unknown_target_is_refused_with_the_known_ones_and_changes_nothing(target_modules):
    model = gpt()
    with pytest.raises(ValueError, match=re.escape("'c_attn': this model has down_proj, k_proj, o_proj")):
        ml.add_lora(model, ml.LoraConfig(target_modules=target_modules))
    assert all(p.trainable for p in model.named_parameters().values()) and not any(ml.lora_layers(model))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ml.add_lora(adapted(), ml.LoraConfig()), "has a LoRA already: call remove_lora"),
        (lambda: ml.merge(ml.merge(adapted())), "merged already: call unmerge"),
        (lambda: ml.unmerge(adapted()), "not merged: call merge"),
        (lambda: ml.merge(gpt()), "no LoRA: call add_lora"),
        (lambda: ml.unmerge(gpt()), "no LoRA: call add_lora"),
        (lambda: ml.remove_lora(gpt()), "no LoRA to remove"),
        (lambda: ml.loss_and_grads(ml.merge(adapted()), *batch()), "call unmerge"),
    ],
)
def test_a_verb_in_the_wrong_state_is_refused(wrong, message):
    with pytest.raises(ml.LoraError, match=message):
        wrong()


# --------------------------------------------------------------------------------------- which layers, as in PEFT


def chosen(**settings) -> list[str]:
    return [path for path, _ in ml.lora_layers(ml.add_lora(gpt(), ml.LoraConfig(r=1, **settings)))]


def test_all_linear_takes_every_matrix_but_the_tables():
    found = chosen(target_modules="all-linear")
    assert found and not {"wte", "wpe"} & set(found)
    assert found == chosen(target_modules=PROJECTIONS)


def test_layers_can_be_left_out_by_name_and_by_block():
    assert chosen(exclude_modules=("v_proj",)) == chosen(target_modules=("q_proj",))
    assert chosen(exclude_modules=r".*\.v_proj") == chosen(target_modules=("q_proj",))
    assert chosen(layers_to_transform=[0]) == [path for path in chosen() if path.startswith("blocks.0.")]
    resolved = resolved_config(ml.add_lora(gpt(), ml.LoraConfig(r=1, exclude_modules=("0.attn.q_proj",))))
    assert resolved.exclude_modules == () and "blocks.0.attn.q_proj" not in resolved.target_modules
    with pytest.raises(ValueError, match="leave no layer"):
        chosen(exclude_modules=("q_proj", "v_proj"))


@pytest.mark.parametrize("setting", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_that_matches_no_layer_is_refused_as_a_target_is(setting):
    with pytest.raises(ValueError, match="'q_porj', which matches no layer"):
        chosen(**{setting: {"q_porj": 8}})


def test_a_config_keeps_its_own_copy_of_what_it_is_given():
    ranks, names = {"q_proj": 2}, ["q_proj"]
    config = ml.LoraConfig(rank_pattern=ranks, target_modules=names)
    ranks["q_proj"], names[0] = 9, "k_proj"
    assert config.rank("blocks.0.attn.q_proj") == 2 and config.target_modules == ("q_proj",)


@pytest.mark.parametrize("setting", ["rank_pattern", "alpha_pattern"])
def test_a_config_does_not_change_with_the_callers_dictionary(setting):
    pattern = {"q_proj": 2}
    config = ml.LoraConfig(**{setting: pattern})
    pattern["q_proj"] = 8
    assert getattr(config, setting) == {"q_proj": 2}
