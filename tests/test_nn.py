"""Parameters have names and flags, modules are a tree, layers cache only what backward will read."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilora import GPT, LoraConfig, LoraError, add_lora, loss_and_grads, merge, nn, ops, unmerge
from minilora.llama import Llama
from tests.models import LLAMAS, TINY, TINY_LLAMA, assert_same, batch, bits, gpt, llama, refused

x = np.random.default_rng(0).standard_normal((2, 3))
dy = np.random.default_rng(1).standard_normal((2, 4))


def linear() -> nn.Linear:
    layer = nn.gaussian_linear(np.random.default_rng(2), 4, 3, 1.0, "float64")
    layer.assign_names()
    return layer


# ------------------------------------------------------------------------------------------------- tree


def test_parameters_know_their_names_which_are_those_of_the_design_in_the_models_order():
    block = [
        *("ln_1.weight", "ln_1.bias"),
        *(f"attn.{p}.{w}" for p in ("q_proj", "k_proj", "v_proj", "o_proj") for w in ("weight", "bias")),
        *("ln_2.weight", "ln_2.bias"),
        *(f"mlp.{p}.{w}" for p in ("up_proj", "down_proj") for w in ("weight", "bias")),
    ]
    expected = ["wte.weight", "wpe.weight", *(f"blocks.{i}.{name}" for i in range(2) for name in block)]
    parameters = gpt().named_parameters()
    assert list(parameters) == [*expected, "ln_f.weight", "ln_f.bias"]
    assert all(p.name == name for name, p in parameters.items())


def test_a_shared_parameter_is_listed_once():
    shared = nn.Parameter(x)
    tree = nn.Module()
    tree.first, tree.second = nn.Linear(shared), nn.Linear(shared)
    assert list(tree.named_parameters()) == ["first.weight"]


def test_a_submodule_can_be_replaced_by_its_path_and_a_block_by_its_number():
    model, layer = gpt(), linear()
    model.replace({"blocks.1.mlp.up_proj": layer})
    assert model.get_submodule("blocks.1.mlp.up_proj") is layer
    assert layer.weight.name == "blocks.1.mlp.up_proj.weight"
    model.replace({"blocks.0": model.blocks[1]})
    assert model.blocks[0] is model.blocks[1]


def test_an_unknown_path_is_a_key_error_and_nothing_is_replaced():
    model, layer = gpt(), linear()
    with pytest.raises(KeyError):
        model.get_submodule("blocks.7")
    with pytest.raises(KeyError):
        model.replace({"blocks.0.attn.q_proj": layer, "blocks.7": layer})
    assert model.get_submodule("blocks.0.attn.q_proj") is not layer


# --------------------------------------------------------------------------------------------- wrappers


class Scaled(nn.Wrapper):
    """y = factor * the base's y, with a factor that trains: the smallest wrapper with a parameter of its own."""

    def __init__(self, base: nn.Module) -> None:
        self.base, self.factor = base, nn.Parameter(np.array([0.5]))

    def forward(self, x, *context, **settings):
        y, cache = self.base.forward(x, *context, **settings)
        return self.factor.data * y, (y, cache)

    def backward(self, dy, cache, grads, need_dx=True):
        y, base = cache
        nn.accumulate(grads, self.factor, (dy * y).sum(keepdims=True).reshape(1))
        return self.base.backward(self.factor.data * dy, base, grads, need_dx)


PLACES = ("blocks.0.attn.q_proj", "blocks.0.attn", "blocks.1", "blocks.0.attn.q_proj", "blocks.1.mlp.up_proj")


@given(st.permutations(PLACES))
def test_wrappers_in_wrappers_rename_nothing_and_add_only_their_own(places):
    """In any order: around a layer, around what holds it, around another wrapper."""
    model, plain = gpt(), gpt()
    for path in places:
        model.replace({path: Scaled(model.get_submodule(path))})
    own = {f"{path}.factor" for path in places}
    assert [name for name in model.named_parameters() if name not in own] == list(plain.named_parameters())
    assert all(parameter.name == name for name, parameter in model.named_parameters().items())
    assert type(nn.unwrapped(model.get_submodule("blocks.0.attn.q_proj"))) is nn.Linear


def test_a_wrapper_knows_what_trains_inside_its_base_later():
    model = gpt()
    model.replace({"blocks.0.attn": Scaled(model.get_submodule("blocks.0.attn"))})
    model.freeze()
    wrapper = model.get_submodule("blocks.0.attn")
    assert not wrapper.trainable and not wrapper.base.trainable
    model.replace({"blocks.0.attn.v_proj": Scaled(model.get_submodule("blocks.0.attn.v_proj"))})
    assert wrapper.trainable and wrapper.base.trainable and not model.blocks[1].trainable


def test_gradients_go_through_a_wrapper_as_through_its_base():
    model, (tokens, targets, weights) = gpt(), batch()
    _, plain = loss_and_grads(model, tokens, targets, weights)
    model.replace({path: Scaled(model.get_submodule(path)) for path in ("blocks.0", "blocks.1.mlp", "blocks.1")})
    for name, parameter in model.named_parameters().items():
        if name.endswith("factor"):
            parameter.data[...] = 1
    _, wrapped = loss_and_grads(model, tokens, targets, weights)
    assert len(wrapped) == len(plain) + 3
    assert_same({name: gradient for name, gradient in wrapped.items() if name in plain}, plain)


def test_freezing_a_module_freezes_what_is_below_it_and_nothing_else():
    model = gpt()
    model.blocks[0].freeze()
    assert [name for name, p in model.named_parameters().items() if not p.trainable] == [
        name for name in model.named_parameters() if name.startswith("blocks.0.")
    ]
    assert not model.blocks[0].trainable and model.trainable
    model.unfreeze()
    assert all(p.trainable for p in model.named_parameters().values())


def test_a_parameter_says_what_it_is():
    assert repr(linear().weight) == "Parameter('weight', shape=(4, 3), dtype=float64, trainable)"


# ------------------------------------------------------------------------------------------------ state


def test_a_state_dict_is_a_copy():
    model = gpt()
    before = bits(model)
    for array in model.state_dict().values():
        array += 1
    assert bits(model) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("ln_f.bias"), "ln_f.bias is missing, this model needs"),
        (lambda state: state.update(more=x), r"more is \(2, 3\), this model needs no such tensor"),
        (lambda state: state.update({"ln_f.bias": x}), r"ln_f.bias is \(2, 3\), this model needs \(6,\)"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    model = gpt(seed=0)
    state = gpt(seed=1).state_dict()
    change(state)
    with refused(model, message):
        model.load_state_dict(state)


@pytest.mark.parametrize("odd", [np.array(["x"] * 4), np.ones(4, complex), np.array([None] * 4), np.ones(4, bool)])
def test_an_array_of_another_kind_in_the_last_place_changes_nothing(odd):
    state = gpt(seed=1).state_dict()
    last = list(state)[-1]
    state[last] = np.resize(odd, state[last].shape)
    with refused(model := gpt(), f"{last} is of the type .*: give real numbers"):
        model.load_state_dict(state)


def test_a_state_takes_the_models_precision():
    model = GPT(replace(TINY, dtype="float32"))
    model.load_state_dict(gpt().state_dict())
    assert {p.data.dtype.name for p in model.named_parameters().values()} == {"float32"}


def test_each_precision_gets_the_same_random_weights():
    single, double = (nn.normal(np.random.default_rng(0), (9,), 0.02, dtype) for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(single, double.astype("float32"))


def test_the_host_is_a_device_and_an_unknown_one_is_refused():
    model = gpt()
    before = bits(model)
    assert model.to("numpy") is model and bits(model) == before
    with pytest.raises(ValueError, match='use "numpy"'):
        model.to("tpu")


# ---------------------------------------------------------------------------------------------- layers


def layers() -> dict[str, tuple[nn.Module, np.ndarray, np.ndarray]]:
    """A layer of each kind, its input and a gradient at its output."""
    table = nn.Embedding(nn.Parameter(x.copy()))
    table.assign_names()
    norm = nn.LayerNorm(3, "float64")
    norm.assign_names()
    return {"Linear": (linear(), x, dy), "LayerNorm": (norm, x, x), "Embedding": (table, np.array([1, 0]), x)}


@pytest.mark.parametrize("kind", layers())
def test_a_layer_leaves_its_input_and_the_gradient_alone(kind):
    layer, x, dy = layers()[kind]
    for array in (x, dy, *(p.data for p in layer.named_parameters().values())):
        array.setflags(write=False)
    y, cache = layer.forward(x)
    layer.backward(dy, cache, {})
    y += 1  # the caller may overwrite it


@pytest.mark.parametrize("kind", layers())
def test_gradients_are_those_of_the_trainable_parameters(kind):
    layer, x, dy = layers()[kind]
    for name in layer.named_parameters():
        layer.freeze()
        layer.named_parameters()[name].trainable = True
        grads = {}
        layer.backward(dy, layer.forward(x)[1], grads)
        assert list(grads) == [name]


def test_a_frozen_linear_saves_no_input_and_still_passes_the_gradient_on():
    layer = linear()
    layer.freeze()
    _, cache = layer.forward(x)
    assert cache is None
    np.testing.assert_array_equal(layer.backward(dy, cache, {}), ops.linear_dx(dy, layer.weight.data))


@pytest.mark.parametrize("kind", ["Linear", "LayerNorm"])
def test_a_layer_that_nothing_trains_below_passes_nothing_on(kind):
    layer, x, dy = layers()[kind]
    assert layer.backward(dy, layer.forward(x)[1], {}, need_dx=False) is None


def test_an_embedding_serves_as_the_head_too_and_its_gradient_is_a_sum():
    table = layers()["Embedding"][0]
    tokens, h, dlogits = np.array([1, 1]), x + 1, np.ones((2, 2))
    grads = {}
    table.backward(x, table.forward(tokens)[1], grads)
    logits, cache = table.unembed(h)
    dh = table.unembed_backward(dlogits, cache, grads)
    np.testing.assert_array_equal(logits, h @ table.weight.data.T)
    np.testing.assert_array_equal(dh, dlogits @ table.weight.data)
    np.testing.assert_array_equal(grads["weight"], ops.embedding_dW(x, tokens, 2) + dlogits.T @ h)


def test_accumulating_adds():
    weight, grads = linear().weight, {}
    for _ in range(3):
        nn.accumulate(grads, weight, np.ones((4, 3)))
    np.testing.assert_array_equal(grads["weight"], np.full((4, 3), 3.0))


# ----------------------------------------------------------------------------------------- cache_bytes


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_caches_bytes_are_those_of_its_arrays(sizes):
    cache = [(np.zeros(n), None, [np.zeros(n, "float32")]) for n in sizes]
    assert nn.cache_bytes(cache) == sum(12 * n for n in sizes)


def test_an_array_counts_once_however_often_it_or_a_view_of_it_is_in_a_cache():
    """A view keeps the whole array alive."""
    array = np.zeros((10, 10))
    assert nn.cache_bytes((array, [array])) == nn.cache_bytes((array[0], array.T[:2])) == 800


def test_the_weights_of_a_merged_lora_are_not_a_state():
    model = merge(add_lora(gpt(), LoraConfig(r=2)))
    for use in (model.state_dict, lambda: model.load_state_dict({})):
        with refused(model, r"call unmerge\(model\).*or remove_lora\(model\)", LoraError):
            use()
    assert unmerge(model).state_dict().keys() == bits(model).keys()


# ------------------------------------------------------------------------- the decoder, in every architecture

decoders = pytest.mark.parametrize("make", [gpt, lambda: llama(LLAMAS["qwen3"])], ids=["GPT-2", "Qwen3"])


@decoders
def test_a_position_sees_no_later_token(make):
    model, tokens = make(), batch()[0]
    changed = tokens.copy()
    changed[:, -1] = (changed[:, -1] + 1) % 7
    np.testing.assert_array_equal(model(tokens)[:, :-1], model(changed)[:, :-1])
    assert not np.array_equal(model(tokens)[:, -1], model(changed)[:, -1])


@decoders
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_tokens_may_be_of_any_integer_type(make, dtype):
    tokens = batch()[0]
    np.testing.assert_array_equal(make()(tokens.astype(dtype)), make()(tokens))


@decoders
def test_forward_and_backward_write_to_no_parameter(make):
    model = make()
    for parameter in model.parameters:
        parameter.data.setflags(write=False)
    loss_and_grads(model, *batch())


@decoders
@given(data=st.data())
def test_gradients_are_those_of_the_trainable_parameters_and_the_same_as_without_freezing(make, data):
    model = make()
    trainable = data.draw(st.sets(st.sampled_from(sorted(model.named_parameters())), min_size=1))
    _, everything = loss_and_grads(model, *batch())
    for name, parameter in model.named_parameters().items():
        parameter.trainable = name in trainable
    _, grads = loss_and_grads(model, *batch())
    assert_same(grads, {name: everything[name] for name in trainable})


@pytest.mark.parametrize(("kind", "config"), [(GPT, TINY), (Llama, TINY_LLAMA)])
def test_the_seed_decides_every_weight(kind, config):
    assert bits(kind(config, seed=3)) == bits(kind(config, seed=3)) != bits(kind(config, seed=4))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.zeros((1, 6), dtype=int), "give 1 to 5, the model.s max_tokens"),
        (np.zeros((1, 0), dtype=int), "give 1 to 5, the model.s max_tokens"),
        (np.zeros(3, dtype=int), r"shape \(B, T\)"),
        (np.zeros((1, 3)), "dtype float64: give whole numbers"),
        (np.array([[0, 7]]), "vocabulary is 0 to 6"),
        (np.array([[-1, 0]]), "vocabulary is 0 to 6"),
    ],
)
def test_tokens_that_the_model_cannot_take_are_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        gpt()(tokens)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (TINY, {"n_layer": 0}, "at least 1"),
        (TINY, {"vocab_size": -1}, "at least 1"),
        (TINY, {"n_embd": 6.0}, "whole number"),
        (TINY, {"n_head": True}, "whole number"),
        (TINY, {"n_head": 4}, "multiple of n_head"),
        (TINY, {"dtype": "float16"}, 'use "float32"'),
        (TINY_LLAMA, {"num_hidden_layers": 0}, "at least 1"),
        (TINY_LLAMA, {"hidden_size": 6.0}, "whole number"),
        (TINY_LLAMA, {"head_dim": 3}, "odd"),
        (TINY_LLAMA, {"num_attention_heads": 3}, "multiple"),
        (TINY_LLAMA, {"rms_norm_eps": 0.0}, "above 0"),
        (TINY_LLAMA, {"dtype": "bfloat16"}, 'use "float32"'),
    ],
)
def test_an_impossible_config_is_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **change)


@pytest.mark.parametrize("config", [TINY, *LLAMAS.values()])
def test_a_config_is_made_of_plain_numbers(config):
    assert type(config)(**asdict(config)) == config
