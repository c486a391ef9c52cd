"""Variants of LoRA: every verb, file and gradient that LoRA has, on both architectures; and what is each one's own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora import LoraConfig, LoraError, methods, ops
from minilora.adapters import AdapterBank, compress, weighted_sum
from minilora.files.adapter import adapter_of, plain_adapter, read_adapter
from minilora.hf import load_peft_adapter, save_peft_adapter
from minilora.lora import adapter_shapes, lora_config, lora_layers
from minilora.methods.method import method_of
from minilora.methods.pissa import PissaLinear
from minilora.methods.vera import VeraLinear
from minilora.nn import Linear, Parameter
from minilora.quantized import quantize
from minilora.testing import check_lora
from minilora.testing.bounds import gamma
from tests.finite_differences import assert_gradient
from tests.models import TINY, TINY_LLAMA, batch, bits, configs, gpt, llama, loss_of, trainable

TARGETS = ("q_proj", "down_proj")
SETTINGS = {"r": 2, "lora_alpha": 3, "target_modules": TARGETS}
VARIANTS = {
    "dora": ml.DoraConfig(**SETTINGS),
    "dora, whole gradient": ml.DoraConfig(**SETTINGS, norm_gradient=True),
    "pissa": ml.PissaConfig(**SETTINGS),
    "pissa, negative": ml.PissaConfig(**SETTINGS | {"lora_alpha": -3}, use_rslora=True),
    "olora": ml.OloraConfig(**SETTINGS),
    "lora_xs": ml.LoraXsConfig(**SETTINGS | {"r": 3}),
    "vera": ml.VeraConfig(5, target_modules=TARGETS, d_initial=0.7),
}
MODELS = {"gpt": gpt, "llama": llama}
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
# DoRA holds the lengths constant by default: its own test is test_doras_gradient_with_the_lengths_held
DERIVATIVES = {name: config for name, config in VARIANTS.items() if name != "dora"}
every_derivative = pytest.mark.parametrize("config", DERIVATIVES.values(), ids=DERIVATIVES)
both = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def trained(config: LoraConfig, make=gpt, seed: int = 3):
    """A model with the variant, as if trained."""
    model, rng = ml.add_lora(make(), config), np.random.default_rng(seed)
    for array in trainable(model).values():
        array += 0.1 * rng.standard_normal(array.shape)
    return model


def for_differences(config: LoraConfig, make):
    """The same; for DoRA, which divides by the rows' lengths, rows beside which a step of the differences is short."""

    def longer():
        model = make()
        for path, layer in model.named_modules():
            if path.endswith(TARGETS):
                layer.weight.data *= 3
        return model

    return trained(config, longer if isinstance(config, ml.DoraConfig) else make)


def backward_with_dropout(model) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of a batch, with the masks of seed 1, and its gradients."""
    (tokens, targets, weights), grads = batch(), {}
    logits, cache = model.forward(tokens, np.random.default_rng(1))
    w = (weights / weights.sum()).ravel()
    nll, p = ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.ravel())
    model.backward(ops.cross_entropy_dlogits(p, targets.ravel(), w).reshape(logits.shape), cache, grads)
    return float(w @ nll), grads


def assert_gradients(model, loss: float, grads: dict[str, np.ndarray], seed: int | None = None) -> None:
    """Each is the central difference, with the dropout masks of this seed."""
    rounding = gamma(2000, "float64") * loss  # no number in the loss has gone through more operations than that

    def again() -> float:
        return loss_of(model, *batch(), rng=None if seed is None else np.random.default_rng(seed))

    assert grads.keys() == trainable(model).keys()
    for name, array in trainable(model).items():
        assert_gradient(grads[name], again, array, rounding)


# ------------------------------------------------------------------------------------------------ every variant


@both
@every_variant
def test_it_starts_as_the_base_bit_for_bit(config, make):
    tokens = batch()[0]
    np.testing.assert_array_equal(ml.add_lora(make(), config)(tokens), make()(tokens))


@pytest.mark.parametrize("name", [name for name in methods.METHODS if name in LoraConfig.variants] + ["loraplus"])
def test_the_count_from_shapes_is_what_trains(name):
    @given(configs(), st.integers(1, 3), st.sampled_from(("none", "all", "lora_only")))
    def check(config, r, bias):
        options = {"r": r, "bias": bias, "target_modules": ("q_proj", "up_proj", "0.mlp.down_proj")}
        model = methods.apply(ml.GPT(config, seed=1), name, **options)
        assert methods.count(name, config, **options) == sum(array.size for array in trainable(model).values())
        assert model.shapes() == ml.GPT(config).shapes() | adapter_shapes(ml.GPT(config).shapes(), lora_config(model))

    check()


@both
@every_variant
def test_the_verbs_undo_each_other(config, make):
    model, tokens = trained(config, make), batch()[0]
    before, logits = bits(model), model(tokens)
    np.testing.assert_allclose(ml.merge(model)(tokens), logits, rtol=1e-10, atol=1e-12)
    assert bits(ml.unmerge(model)) == before
    assert bits(ml.remove_lora(model)) == bits(make())


@both
@every_derivative
def test_every_gradient_is_the_central_difference(config, make):
    model = for_differences(config, make)
    assert_gradients(model, *ml.loss_and_grads(model, *batch(), workers=2))


@both
@pytest.mark.parametrize("settings", [{"bias": "lora_only"}, {"lora_dropout": 0.4}], ids=str)
@every_derivative
def test_biases_and_dropout(config, settings, make):
    model = for_differences(replace(config, **settings), make)
    assert_gradients(model, *backward_with_dropout(model), seed=1)


@both
@every_variant
def test_files(config, make, tmp_path):
    model = trained(config, make)
    ml.save_adapter(model, tmp_path / "adapter.npz")
    ml.save_model(model, tmp_path / "model.npz")
    for again in (ml.load_adapter(make(), tmp_path / "adapter.npz"), ml.load_model(tmp_path / "model.npz")):
        assert lora_config(again) == lora_config(model)
        assert bits(again) == bits(model) and trainable(again).keys() == trainable(model).keys()
    with pytest.raises(ml.CheckpointError, match="the model has"):
        ml.load_adapter(ml.add_lora(make(), LoraConfig(r=2)), tmp_path / "adapter.npz")


@every_variant
def test_a_run_goes_on_where_it_stopped(config, tmp_path):
    runs, noise = [], np.random.default_rng(0).integers(7, size=60)
    for stops in ((6,), (3, 6)):
        path = tmp_path / f"{len(stops)}.npz"
        for steps in stops:
            model = ml.add_lora(gpt(), config)
            ml.fit(model, noise, steps=steps, batch_size=2, checkpoint=path, resume=path.exists(), progress=False)
        runs.append(bits(model))
    assert runs[0] == runs[1] != bits(ml.add_lora(gpt(), config))


@every_variant
def test_a_method_of_that_name(config, tmp_path):
    options = {key: getattr(config, key) for key in methods.METHODS[config.variant].defaults}
    model = methods.apply(gpt(), config.variant, seed=5, **options)
    assert type(lora_config(model)) is type(config)
    for array in trainable(model).values():
        array += 0.1
    methods.save_trained(model, tmp_path / "a.npz")
    assert bits(methods.load_trained(gpt(), tmp_path / "a.npz")) == bits(model)
    assert method_of(ml.remove_lora(model)) is None


@every_variant
def test_a_bank_refuses_it_by_name(config, tmp_path):
    ml.save_adapter(trained(config), tmp_path / "adapter.npz")
    with pytest.raises(ValueError, match=f"'a' is of the variant '{config.variant}'"):
        AdapterBank(gpt()).insert("a", read_adapter(tmp_path / "adapter.npz"))


@every_variant
def test_sums_and_compression_refuse_it_by_name(config):
    adapter = adapter_of(trained(config))
    for refused in (lambda: weighted_sum([adapter], [1.0]), lambda: compress(adapter, 1)):
        with pytest.raises(ValueError, match=f"the variant '{config.variant}'"):
            refused()


@every_variant
def test_it_goes_to_peft_and_comes_back(config, tmp_path):
    """PiSSA comes back as the plain LoRA of rank 2 r that it amounts to."""
    for make, tokens in ((gpt, batch()[0]), (llama, batch()[0])):
        if isinstance(config, ml.VeraConfig):  # q_proj is a part of GPT-2's c_attn
            config = replace(config, target_modules=("o_proj", "down_proj"))
        model, folder = trained(config, make), tmp_path / make.__name__
        save_peft_adapter(model, folder)
        again = load_peft_adapter(make(), folder)
        np.testing.assert_allclose(again(tokens), model(tokens), rtol=1e-10)
        assert type(lora_config(again)) is (type(config) if config.variant in ("dora", "vera") else LoraConfig)


@every_variant
def test_tables_are_refused_before_any_change(config):
    model = gpt()
    with pytest.raises(ValueError, match=f"wte is a table, and {config.variant} adapts linear layers"):
        ml.add_lora(model, replace(config, target_modules=("q_proj", "wte")))
    assert bits(model) == bits(gpt()) and all(p.trainable for p in model.parameters)


@every_variant
def test_on_a_quantized_base(config, tmp_path):
    wide = replace(TINY_LLAMA, hidden_size=64, intermediate_size=64, head_dim=16, dtype="float32")

    def base():
        return quantize(llama(wide))

    model, plain, (tokens, targets, weights) = ml.add_lora(base(), config), base(), batch()
    np.testing.assert_array_equal(model(tokens), plain(tokens))
    first, _ = ml.loss_and_grads(model, tokens, targets, weights)
    for _ in range(10):
        optimizer = ml.Adam(model, 1e-2)
        optimizer.step(ml.loss_and_grads(model, tokens, targets, weights)[1])
    assert ml.loss_and_grads(model, tokens, targets, weights)[0] < first
    ml.save_adapter(model, tmp_path / "a.npz")
    np.testing.assert_array_equal(ml.load_adapter(base(), tmp_path / "a.npz")(tokens), model(tokens))
    with pytest.raises(LoraError, match="dequantize=True"):
        ml.merge(model)
    logits = model(tokens)
    np.testing.assert_allclose(ml.merge(model, dequantize=True)(tokens), logits, rtol=0, atol=1e-4 * abs(logits).max())


# ---------------------------------------------------------------------------------------------------- DoRA


@both
@pytest.mark.parametrize("settings", [{}, {"bias": "all"}, {"lora_dropout": 0.4}], ids=str)
def test_doras_gradient_with_the_lengths_held(make, settings, monkeypatch):
    """The paper's gradient is the derivative of a loss in which n is frozen at its present value."""
    model = for_differences(replace(VARIANTS["dora"], **settings), make)
    loss, grads = backward_with_dropout(model)
    kept = {id(layer): layer._direction()[1] for _, layer in lora_layers(model)}

    def held(self):
        V = self.weight.data + self.scaling * self.lora_B.data @ self.lora_A.data
        return V, kept[id(self)], self.lora_magnitude_vector.data / kept[id(self)]

    monkeypatch.setattr("minilora.methods.dora.DoraLinear._direction", held)
    assert_gradients(model, loss, grads, seed=1)


def test_the_rows_of_doras_weight_are_as_long_as_its_magnitudes():
    model = ml.merge(trained(VARIANTS["dora"]))
    for _, layer in lora_layers(model):
        lengths = np.linalg.norm(layer.weight.data, axis=1)
        np.testing.assert_allclose(lengths, np.abs(layer.lora_magnitude_vector.data), rtol=1e-12)


def test_doras_update_has_any_rank():
    layer = dict(lora_layers(trained(VARIANTS["dora"])))["blocks.0.attn.q_proj"]
    assert np.linalg.matrix_rank(layer.delta()) == min(layer.weight.shape) > layer.r


def test_a_row_of_zeros_stays_one():
    base = gpt()
    base.blocks[0].attn.q_proj.weight.data[1] = 0
    model = ml.add_lora(base, VARIANTS["dora"])
    layer = model.blocks[0].attn.q_proj
    assert np.isfinite(model(batch()[0])).all() and layer.lora_magnitude_vector.data[1] == 0
    assert not layer.delta().any()


def test_dora_cannot_be_unmerged_without_w0():
    model = ml.merge(trained(VARIANTS["dora"]), keep_base=False)
    with pytest.raises(LoraError, match="keep_base=True"):
        ml.unmerge(model)
    ml.remove_lora(model)  # but W' may stay


# --------------------------------------------------------------------------------------- PiSSA and OLoRA


def test_pissas_start_is_the_closest_matrix_of_its_rank():
    """Eckart and Young: what is left of W0 has its other singular values, so its norm is sigma_{r+1}."""
    for path, layer in lora_layers(ml.add_lora(gpt(), VARIANTS["pissa"])):
        W0 = gpt().get_submodule(path).weight.data
        residual = W0 - layer.scaling * layer.lora_B0.data @ layer.lora_A0.data
        sigma = np.linalg.svd(W0, compute_uv=False)
        np.testing.assert_allclose(np.linalg.svd(residual, compute_uv=False)[: len(sigma) - 2], sigma[2:], rtol=1e-10)
        np.testing.assert_allclose(layer.lora_B0.data.T @ layer.lora_B0.data, np.diag(sigma[:2] / 1.5), atol=1e-12)


def test_oloras_start_has_orthonormal_columns_and_zeroes_the_first_of_w0():
    for path, layer in lora_layers(ml.add_lora(gpt(), VARIANTS["olora"])):
        A0, B0 = layer.lora_A0.data, layer.lora_B0.data
        np.testing.assert_allclose(B0.T @ B0, np.eye(2), atol=1e-12)
        np.testing.assert_allclose((B0 @ A0)[:, :2], gpt().get_submodule(path).weight.data[:, :2], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "rank"), [("pissa", 4), ("pissa, negative", 4), ("olora", 4), ("vera", 5), ("lora_xs", 3)]
)
def test_its_update_is_a_plain_lora_that_a_bank_takes(name, rank):
    """Of rank 2 r for PiSSA and OLoRA."""
    model, tokens = trained(VARIANTS[name]), batch()[0]
    adapter, bank = plain_adapter(model), AdapterBank(gpt())
    assert type(adapter.lora) is LoraConfig and adapter.lora.r == rank
    bank.insert("a", adapter)
    np.testing.assert_allclose(bank.view("a")(tokens), model(tokens), rtol=1e-10)
    for _, layer in lora_layers(model):
        assert np.linalg.matrix_rank(layer.delta()) == rank


def test_dora_is_no_plain_lora():
    with pytest.raises(LoraError, match="not of low rank"):
        plain_adapter(trained(VARIANTS["dora"]))


def test_what_pissa_cannot_start_from():
    with pytest.raises(ValueError, match="lora_alpha is 0"):
        ml.PissaConfig(lora_alpha=0)
    with pytest.raises(ValueError, match=r"blocks\.0\.attn\.q_proj is 6 x 6, which has 6 directions: give r=6"):
        ml.add_lora(gpt(), ml.PissaConfig(r=7))


# --------------------------------------------------------------------------------------------------- LoRA+


def test_a_factor_multiplies_the_rate_where_its_ending_fits():
    """One step of Adam moves every number by lr * factor, up to eps."""
    model = ml.add_lora(gpt(), ml.DoraConfig(**SETTINGS))
    before = {name: array.copy() for name, array in trainable(model).items()}
    factors = {"lora_B": 16, "0.attn.q_proj.lora_B": 2, "lora_magnitude_vector": 0}
    ml.Adam(model, 1e-3, lr_factor=factors).step({name: np.ones_like(a) for name, a in before.items()})
    for name, array in trainable(model).items():
        own = 2 if "0.attn.q_proj.lora_B" in name else 16 if name.endswith("lora_B") else 0 if "magn" in name else 1
        np.testing.assert_allclose(before[name] - array, 1e-3 * own, rtol=1e-6, atol=1e-15)


def test_decay_has_the_factor_too():
    model = ml.add_lora(gpt(), LoraConfig(**SETTINGS))
    name, layer = "blocks.0.attn.q_proj.lora_A", model.blocks[0].attn.q_proj
    before = layer.lora_A.data.copy()
    ml.Adam(model, 1e-2, weight_decay=0.5, lr_factor={"lora_A": 10}).step({name: np.zeros_like(before)})
    np.testing.assert_allclose(layer.lora_A.data, before * (1 - 1e-2 * 10 * 0.5), rtol=1e-14)


def test_loraplus_names_every_b_and_every_vector():
    model = ml.add_lora(gpt(), ml.DoraConfig(**SETTINGS, bias="lora_only"))
    names = [name for name in trainable(model) if not name.endswith("lora_A")]
    assert methods.loraplus(model, 7) == dict.fromkeys(names, 7)


def test_factors_that_fit_nothing_or_are_no_numbers_are_refused():
    model = ml.add_lora(gpt(), LoraConfig(**SETTINGS))
    for factors, words in (({"lora_C": 2}, "no parameter ends so"), ({"lora_B": -1}, "finite number of at least 0")):
        with pytest.raises(ValueError, match=words):
            ml.Adam(model, lr_factor=factors)


def test_a_run_with_other_factors_is_another_run(tmp_path):
    noise, path = np.random.default_rng(0).integers(7, size=60), tmp_path / "run.npz"

    def go(steps, **more):
        model = ml.add_lora(gpt(), LoraConfig(**SETTINGS))
        ml.fit(model, noise, steps=steps, batch_size=2, checkpoint=path, resume=path.exists(), progress=False, **more)
        return bits(model)

    go(3, lr_factor={"lora_B": 16})
    for other in ({}, {"lr_factor": {"lora_B": 4}}):
        with pytest.raises(ml.CheckpointError, match="lr_factor"):
            go(6, **other)
    resumed = go(6, lr_factor={"lora_B": 16})
    path.unlink()
    assert go(6, lr_factor={"lora_B": 16}) == resumed
    path.unlink()
    assert go(6) != resumed


# --------------------------------------------------------------------------------------------------- VeRA


def test_veras_layers_share_a_and_b_and_slice_them():
    model = trained(VARIANTS["vera"])
    layers = dict(lora_layers(model))
    assert len({id(layer.vera_A) for layer in layers.values()}) == 1
    assert sorted(n for n in model.shapes() if "vera_" in n and "lambda" not in n) == [
        "blocks.0.attn.q_proj.vera_A",
        "blocks.0.attn.q_proj.vera_B",
    ]
    assert layers["blocks.0.attn.q_proj"].vera_A.shape == (5, 4 * TINY.n_embd)  # down_proj is the widest
    for layer in layers.values():
        d, k = layer.weight.shape
        A, B = layer.vera_A.data[:, :k], layer.vera_B.data[:d]
        expected = np.diag(layer.vera_lambda_b.data) @ B @ np.diag(layer.vera_lambda_d.data) @ A
        np.testing.assert_allclose(layer.delta(), expected, rtol=1e-12)


def test_veras_projections_come_from_the_seed_and_stay_with_a_run(tmp_path):
    """A run resumed on a model with other projections gets its own back."""
    noise, path = np.random.default_rng(0).integers(7, size=60), tmp_path / "run.npz"
    for seed, steps in ((0, 3), (1, 6)):
        model = ml.add_lora(gpt(), VARIANTS["vera"], seed)
        ml.fit(model, noise, steps=steps, batch_size=2, checkpoint=path, resume=path.exists(), progress=False)
    straight = ml.add_lora(gpt(), VARIANTS["vera"], 0)
    ml.fit(straight, noise, steps=6, batch_size=2, progress=False)
    assert bits(model) == bits(straight)


def test_what_vera_has_no_room_for():
    for settings in ({"lora_alpha": 2}, {"rank_pattern": {"q_proj": 3}}, {"use_rslora": True}):
        with pytest.raises(ValueError, match=f"VeRA has no {next(iter(settings))}"):
            ml.VeraConfig(**settings)


# ------------------------------------------------------------------------------------- the laws of `testing`


def layer_of(config: LoraConfig, W0, A, B, b=None, **own):
    """A variant's layer with these arrays."""
    layer = config.wrap_all({"q": Linear(Parameter(W0.copy(), False), None if b is None else Parameter(b, False))}, RNG)
    layer = layer["q"]
    for name, array in {"lora_A": A, "lora_B": B, **own}.items():
        setattr(layer, name, Parameter(array))
    for name, parameter in layer.named_parameters().items():
        parameter.name = name
    return layer


RNG = np.random.default_rng(0)


def dora_layer(W0, A, B, scaling, m, b=None, **settings):
    config = ml.DoraConfig(len(A), scaling * len(A), ("q",), **settings)
    layer = layer_of(config, W0, A, B, b, lora_magnitude_vector=m)
    layer.scaling = scaling
    return layer


class Dora:
    """Our layer as the functions that `check_lora` takes."""

    @staticmethod
    def forward(x, *arrays):
        return dora_layer(*arrays).forward(x)[0]

    @staticmethod
    def backward(dy, x, *arrays, **settings):
        layer, grads = dora_layer(*arrays, **settings), {}
        dx = layer.backward(dy, layer.forward(x)[1], grads)
        return dx, grads["lora_A"], grads["lora_B"], grads["lora_magnitude_vector"]

    def merge(self, *arrays):
        self.layer = dora_layer(*arrays)
        self.layer.merge(keep_base=True)
        return self.layer.weight.data

    def unmerge(self, W, *_):
        self.layer.unmerge()
        return self.layer.weight.data


@pytest.mark.parametrize("bias", [False, True])
def test_our_dora_keeps_doras_laws(bias):
    ours = Dora()
    check_lora(
        forward=ours.forward, merge=ours.merge, unmerge=ours.unmerge, backward=ours.backward,
        base_forward=lambda x, W0, b=None: ops.linear(x, W0, b), variant="dora", bias=bias, sequences=True,
        max_examples=60,
    )  # fmt: skip


def test_dora_breaks_the_law_of_rank_and_has_another():
    def merge(W0, A, B, scaling):
        return Dora().merge(W0, A, B, scaling, 2 * np.linalg.norm(W0, axis=1) + 1)

    with pytest.raises(AssertionError, match=r"law 'rank\(dW\) <= r' is broken"):
        check_lora(forward=lambda x, W0, A, B, s: x @ W0.T + s * (x @ A.T) @ B.T, merge=merge, max_examples=60)


def by_columns(x, W0, A, B, scaling, m, b):
    V = W0 + scaling * B @ A
    return x @ (V * m[:, None] / np.linalg.norm(V)).T + b


def bias_inside(x, W0, A, B, scaling, m, b):
    V = W0 + scaling * B @ A
    return m / np.linalg.norm(V, axis=1) * (x @ V.T + b)


def through_the_norm(*arguments):
    return Dora.backward(*arguments, norm_gradient=True)


def plain_gradient(*arguments):
    dx, dA, dB, dm = Dora.backward(*arguments)
    return dx, dA, dB, dm * arguments[-2]


# A mistake in one function, and the law that it breaks.
MISTAKES = {
    "one norm for all": ("forward", by_columns, "zero-init identity"),
    "bias inside the gain": ("forward", bias_inside, "forward is equation 5"),
    "merge without magnitude": ("merge", lambda W0, A, B, s, m: W0 + s * B @ A, "merge is equation 5"),
    "unmerge subtracts": ("unmerge", lambda W, A, B, s, m: W - s * B @ A, "unmerge restores"),
    "gradient through the norm": ("backward", through_the_norm, "gradients match equation 5"),
    "dg for dm": ("backward", plain_gradient, "gradients match equation 5"),
}


@pytest.mark.parametrize(("role", "function", "law"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_dora_is_found(role, function, law):
    ours = Dora()
    functions = {"forward": ours.forward, "merge": ours.merge, "unmerge": ours.unmerge, "backward": ours.backward}
    with pytest.raises(AssertionError, match=f"law '{law}' is broken"):
        check_lora(**functions | {role: function}, variant="dora", bias=True, max_examples=60)


def test_pissa_and_vera_keep_loras_laws():
    """PiSSA's with the residual for W0, VeRA's with its vectors in the factors."""

    def pissa(x, W0, A, B, scaling):
        layer = layer_of(ml.LoraConfig(len(A), target_modules=("q",)), W0, A, B)
        pissa = PissaLinear.__new__(PissaLinear)
        vars(pissa).update(vars(layer), scaling=scaling)
        pissa.lora_A0, pissa.lora_B0 = Parameter(0 * A, False), Parameter(0 * B, False)
        return pissa.forward(x)[0]

    def vera(x, W0, A, B, scaling):
        layer = VeraLinear(Linear(Parameter(W0)), ml.VeraConfig(len(A)), Parameter(A, False), Parameter(B, False))
        layer.vera_lambda_d.data[:], layer.vera_lambda_b.data[:] = scaling, 1
        return layer.forward(x)[0]

    check_lora(forward=pissa, max_examples=60)
    check_lora(forward=vera, max_examples=60)
