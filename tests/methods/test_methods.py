"""Every method: its count is the paper's formula, its gradients and logits are right, its file is what it trained."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora import methods, tasks
from minilora.cli.main import main
from minilora.files.container import read_file, write_file
from minilora.methods.method import method_of
from tests.finite_differences import assert_gradient
from tests.methods.reference_methods import method_logits
from tests.models import TINY, batch, bits, configs, gpt, loss_of, refused, scramble, seeds, trainable
from tests.reference import weighted_loss

CONFIG = replace(TINY, block_size=12)
NOISE = np.random.default_rng(0).integers(7, size=60)

# Options small enough for the tiny model; 3 is the token before which the infix goes.
BOUNDARY = 3
SPECIAL = {"l_p": 3, "l_i": 2, "boundary": BOUNDARY}
LORA = {"r": 2, "lora_alpha": 2, "target_modules": ("q_proj", "v_proj", "up_proj")}
OPTIONS = {
    "full": {},
    "top2": {},
    "bitfit": {},
    "adapter_h": {"m": 3},
    "adapter_l": {"m": 3},
    "adapter_p": {"m": 3},
    "adapter_d": {"m": 3, "drop": 1},
    "pre_embed": SPECIAL,
    "pre_layer": SPECIAL,
    "lora": LORA,
    "lora_pre_embed": {**SPECIAL, **LORA},
    "lora_pre_layer": {**SPECIAL, **LORA},
}
every_method = pytest.mark.parametrize("name", OPTIONS)
WITH_SPECIALS = [name for name in OPTIONS if "pre_" in name]


def fresh(name: str, config: ml.GPTConfig = CONFIG, seed: int = 0, **options) -> ml.GPT:
    """A scrambled base with the method just applied."""
    return methods.apply(gpt(config, seed), name, **{**OPTIONS[name], **options})


def trained(name: str, config: ml.GPTConfig = CONFIG, seed: int = 0, **options) -> ml.GPT:
    """The same, its own parameters scrambled too: as if trained."""
    model = fresh(name, config, seed, **options)
    scramble(model, seed + 1)
    for parameter in model.stack.named_parameters().values():
        parameter.data *= 5  # as large as embeddings: see `scramble`
    model.load_state_dict({**model.state_dict(), **untouched(gpt(config, seed), model)})
    return model


def untouched(base: ml.GPT, model: ml.GPT) -> dict[str, np.ndarray]:
    """The base's arrays that the model's method freezes."""
    parameters = model.named_parameters()
    return {name: array for name, array in base.state_dict().items() if not parameters[name].trainable}


def test_the_methods_are_the_papers_in_its_order():
    assert list(methods.METHODS)[: len(OPTIONS)] == list(OPTIONS)
    assert all(name == method.name for name, method in methods.METHODS.items())


# -------------------------------------------------------------------------------------------------- counts


@st.composite
def shapes_and_options(draw, name: str):
    """A shape of a model, and options for the method that fit it."""
    config = draw(configs(min_block_size=3))
    options: dict = {}
    if name.startswith("adapter"):
        options["m"] = draw(st.integers(1, 9))
    if name == "adapter_d":
        options["drop"] = draw(st.integers(0, config.n_layer - 1))
    if "pre_" in name:
        l_p = draw(st.integers(0, config.block_size - 1))
        l_i = draw(st.integers(0 if l_p else 1, config.block_size - 1 - l_p))
        options |= {"l_p": l_p, "l_i": l_i, "boundary": draw(st.integers(0, config.vocab_size - 1))}
    if "lora" in name:
        layers = ("wte", "wpe", "q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "0.attn.q_proj")
        options["target_modules"] = draw(
            st.lists(st.sampled_from(layers), min_size=1, unique=True)
            | st.sampled_from((".*proj", r"blocks\.0\..*", "wte"))
        )
        options |= {"r": draw(st.integers(1, 9)), "bias": draw(st.sampled_from(("none", "all", "lora_only")))}
    return config, options


def assert_counts(name: str, config: ml.GPTConfig, **options) -> None:
    model = methods.apply(ml.GPT(config), name, **options)
    assert methods.count(name, config, **options) == sum(array.size for array in trainable(model).values())


@every_method
@given(data=st.data())
def test_the_formula_counts_what_trains(name, data):
    config, options = data.draw(shapes_and_options(name))
    assert_counts(name, config, **options)


@every_method
def test_the_defaults_fit_the_shape_of_the_shipped_base(name):
    assert_counts(name, ml.GPTConfig(block_size=320))


def test_the_formulas_are_those_of_section_5_1():
    """Worked by hand for d = 128, L = 4."""
    config = ml.GPTConfig(n_layer=4, n_embd=128)
    assert methods.count("bitfit", config) == 4 * (3 * 128 + 128 + 512 + 128 + 2 * 128) + 128
    assert methods.count("adapter_h", config, m=8) == 8 * (2 * 128 * 8 + 8 + 128)
    assert methods.count("adapter_p", config, m=8) == 4 * (2 * 128 * 8 + 8 + 128)
    assert methods.count("adapter_l", config, m=8) == 4 * (2 * 128 * 8 + 8 + 128) + 2 * 4 * 128
    assert methods.count("adapter_d", config, m=8, drop=3) == 1 * (2 * 128 * 8 + 8 + 128) + 2 * 1 * 128
    assert methods.count("pre_embed", config, l_p=5, l_i=2, boundary=10) == 128 * 7
    assert methods.count("pre_layer", config, l_p=5, l_i=2, boundary=10) == 4 * 128 * 7
    assert methods.count("lora", config, r=8) == 2 * 8 * 128 * 8
    assert methods.count("lora_pre_layer", config, r=8, l_p=5) == 2 * 8 * 128 * 8 + 4 * 128 * 5


def test_the_papers_own_counts():
    """Where a formula does not give the printed figure: these, and by this much."""
    rows = {(row.model, row.name, row.printed): row for row in methods.published_counts()}
    odd = {key: round(row.millions, 2) for key, row in rows.items() if not row.agrees}
    assert odd == {
        ("GPT-2 M", "full", 354.92): 354.82,
        ("GPT-2 M", "adapter_h", 11.09): 11.06,
        ("GPT-2 M", "pre_layer", 0.35): 0.34,
        ("GPT-2 M", "lora", 0.35): 0.39,
        ("GPT-2 L", "lora", 0.77): 0.74,
        ("GPT-3", "full", 175_255.8): 174_604.26,
        ("GPT-3", "bitfit", 14.2): 12.99,
        ("GPT-3", "pre_layer", 20.2): 18.87,
    }
    assert rows["GPT-3", "lora", 4.7].count == 2 * 192 * 12288
    assert rows["GPT-3", "lora", 37.7].count == 2 * 192 * 12288 * 8


def test_gpt3s_checkpoint_of_35_megabytes():
    """Section 4.2: r = 4 on W_q and W_v in half precision."""
    assert methods.checkpoint_bytes(methods.count("lora", methods.MODELS["GPT-3"], r=4)) == 36 * 2**20


# ---------------------------------------------------------------------------------- logits and gradients


@every_method
@given(
    seed=seeds,
    dtype=st.sampled_from(("float32", "float64")),
    chunks=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    occurrence=st.integers(1, 2),
    lengths=st.sampled_from([(3, 2), (0, 2), (3, 0)]),
)
def test_logits_with_and_without_a_cache_are_the_definitions(name, seed, dtype, chunks, occurrence, lengths):
    """Rows meet the boundary at different steps, or never, some in the middle of what is fed."""
    l_p, l_i = lengths
    special = {"occurrence": occurrence, "l_p": l_p, "l_i": l_i} if name in WITH_SPECIALS else {}
    model = trained(name, replace(CONFIG, dtype=dtype, vocab_size=5), seed % 1000, **special)
    tokens = np.random.default_rng(seed).integers(5, size=(4, sum(chunks)))[:, : model.max_tokens]
    expected = method_logits(model, tokens, BOUNDARY, occurrence)
    past, ends = model.new_past(4), np.minimum(np.cumsum(chunks), model.max_tokens)
    starts = np.concatenate([[0], ends[:-1]])
    cached = [model.forward(tokens[:, a:b], past=past)[0] for a, b in zip(starts, ends, strict=True) if a < b]
    for logits in (model(tokens), np.concatenate(cached, axis=1)):
        assert logits.dtype == dtype and logits.shape == (4, tokens.shape[1], 5)
        assert (np.abs(logits - expected.value) <= 2 * expected.error).all()


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "full"])
def test_every_gradient_is_the_central_difference(name):
    """Each entry of all that the method trains; full fine-tuning's are those of tests/test_transformer.py."""
    model = trained(name)
    tokens, targets, weights = data = batch(seed=5, B=3)
    assert (tokens == BOUNDARY).any() and not (tokens == BOUNDARY).any(axis=1).all()
    logits = method_logits(model, tokens, BOUNDARY)
    expected = weighted_loss(logits, targets, weights, CONFIG.dtype)
    rounding = float(expected.error)
    assert logits.error.max() < 1e-8 * np.abs(logits.value).max()
    loss, grads = ml.loss_and_grads(model, *data, workers=2)
    assert abs(loss - expected.value) <= 2 * rounding
    assert grads.keys() == trainable(model).keys()
    for parameter, array in trainable(model).items():
        if name == "top2" and array.ndim == 2:  # one row of each of the base's own matrices is enough
            array, grads[parameter] = array[:1], grads[parameter][:1]
        assert_gradient(grads[parameter], lambda: loss_of(model, *data), array, rounding)


@every_method
def test_only_what_the_method_trains_moves_and_the_loss_falls(name):
    model, text = fresh(name), np.array([1, 5, BOUNDARY, 2, 0, 6])
    before = bits(model)
    result = ml.fit(model, ml.TextData(text, 5), steps=20, lr=1e-2, batch_size=2, workers=2, progress=False)
    assert min(result.losses[-3:]) < result.losses[0]
    after = bits(model)
    moved = {key for key in before if before[key] != after[key]}
    still = {key for key in trainable(model) if key.endswith("k_proj.bias")}  # see the next test
    assert moved <= trainable(model).keys() and trainable(model).keys() - moved <= still


def test_the_bias_of_keys_has_no_gradient_but_rounding():
    """A bias of k adds the same to all scores of a query, which the softmax cancels: its gradient is rounding."""
    _, grads = ml.loss_and_grads(fresh("bitfit"), *batch())
    for i in range(CONFIG.n_layer):
        assert np.abs(grads[f"blocks.{i}.attn.k_proj.bias"]).max() < 1e-12


@every_method
def test_a_run_goes_on_where_it_stopped(name, tmp_path):
    runs = []
    for stops in ((6,), (3, 6)):
        model, path = fresh(name), tmp_path / f"{len(stops)}.npz"
        for steps in stops:
            model = fresh(name)
            ml.fit(model, NOISE, steps=steps, batch_size=2, checkpoint=path, resume=path.exists(), progress=False)
        runs.append(bits(model))
    assert runs[0] == runs[1]


# ------------------------------------------------------------------------------------------------- start


@every_method
def test_only_special_tokens_change_the_model_at_the_start(name):
    tokens = batch()[0]
    same = np.array_equal(fresh(name)(tokens), gpt(CONFIG)(tokens))
    assert same == (name not in WITH_SPECIALS)


@every_method
def test_the_seed_decides_everything_that_is_added(name):
    def added(seed: int) -> dict[str, bytes]:
        model = methods.apply(gpt(CONFIG), name, seed=seed, **OPTIONS[name])
        return {key: value for key, value in bits(model).items() if key not in bits(gpt(CONFIG))}

    assert added(3) == added(3)
    assert added(3) != added(4) or name in ("full", "top2", "bitfit")


def test_special_tokens_start_as_words_of_the_model():
    """After the embedding layer, a row of PreEmbed is an embedding of one of the tokens at its place."""
    base, model = gpt(CONFIG), fresh("pre_embed")
    rows = np.concatenate([model.stack.prefix.data[0], model.stack.infix.data[0]])
    words = base.wte.weight.data[None] + base.wpe.weight.data[: len(rows), None]
    assert (rows[:, None] == words).all(axis=-1).any(axis=1).all()


def test_the_activations_of_pre_layer_start_as_the_layers_own():
    """With the rows that the layers below would compute, replacing them changes nothing."""
    embed, layer = fresh("pre_embed", l_i=0), fresh("pre_layer", l_i=0)
    np.testing.assert_array_equal(embed.stack.prefix.data[0], layer.stack.prefix.data[0])
    np.testing.assert_allclose(embed(batch()[0]), layer(batch()[0]), rtol=1e-9)


# -------------------------------------------------------------------------------------- each method's own


def test_top2_trains_the_last_two_blocks():
    model = methods.apply(ml.GPT(replace(CONFIG, n_layer=4)), "top2")
    assert {name.split(".")[1] for name in trainable(model)} == {"2", "3"}
    assert all(name.startswith("blocks.") for name in trainable(model))


def test_bitfit_trains_the_biases_of_layer_norms_too():
    names = trainable(fresh("bitfit"))
    assert {"ln_f.bias", "blocks.0.ln_1.bias", "blocks.1.mlp.up_proj.bias"} <= names.keys()
    assert all(name.endswith(".bias") for name in names)


def test_bottlenecks_are_where_their_papers_put_them():
    places = {
        "adapter_h": {f"blocks.{i}.{part}" for i in range(2) for part in ("attn", "mlp")},
        "adapter_p": {"blocks.0.mlp", "blocks.1.mlp"},
        "adapter_l": {"blocks.0", "blocks.1"},
        "adapter_d": {"blocks.1"},
    }
    for name, expected in places.items():
        assert {key.partition(".adapter.")[0] for key in trainable(fresh(name))} == expected


def test_below_the_lowest_bottleneck_nothing_is_kept_for_backward():
    """AdapterDrop's saving in training: backward ends there."""
    _, cache = fresh("adapter_d").forward(batch()[0])
    assert cache.blocks[0] is None and cache.blocks[1] is not None


@pytest.mark.parametrize("name", ["adapter_h", "adapter_p", "adapter_l"])
def test_backward_enters_no_frozen_layer_below_the_lowest_bottleneck(name, monkeypatch):
    from minilora.nn import Linear

    entered = []
    original = Linear.backward
    monkeypatch.setattr(Linear, "backward", lambda self, *a, **k: (entered.append(self), original(self, *a, **k))[1])
    model = fresh(name)
    ml.loss_and_grads(model, *batch())
    lowest = model.get_submodule(f"blocks.0.{'attn.o_proj' if name == 'adapter_h' else 'mlp.down_proj'}")
    assert lowest not in entered and model.get_submodule("blocks.1.attn.q_proj") in entered


@pytest.mark.parametrize("name", WITH_SPECIALS)
def test_special_tokens_use_up_context(name):
    model = fresh(name)
    assert model.max_tokens == CONFIG.block_size - 5
    model(np.zeros((1, model.max_tokens), int))
    with pytest.raises(ValueError, match="8 tokens do not fit: give 1 to 7, the model's max_tokens"):
        model(np.zeros((1, 8), int))
    assert len(ml.generate(model, [1, 2])) == model.max_tokens
    with pytest.raises(ValueError, match="the prompt has 7 tokens: give 1 to 6"):
        ml.generate(model, [0] * 7)


@pytest.mark.parametrize("name", WITH_SPECIALS)
def test_a_prompt_before_the_boundary_sees_no_infix(name):
    model, tokens = trained(name), np.array([[1, 2, BOUNDARY, 4]])
    before = model(tokens)
    model.stack.infix.data *= -1  # (adding a constant would do nothing: a LayerNorm takes it off)
    after = model(tokens)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert (before[:, 2:] != after[:, 2:]).any(axis=-1).all()


@pytest.mark.parametrize("name", WITH_SPECIALS)
def test_rows_of_unequal_prompts_are_continued_as_if_alone(name):
    model = trained(name)
    prompts = np.array([[1, BOUNDARY, 2], [BOUNDARY, 0, 1], [5, 6, 2], [4, 4, BOUNDARY]])
    together = ml.generate(model, prompts, temperature=0)
    for prompt, text in zip(prompts, together, strict=True):
        np.testing.assert_array_equal(ml.generate(model, prompt, temperature=0), text)


def test_prompts_of_unequal_length_are_answered_as_if_alone():
    """In the tasks' own decoding, where rows meet their boundaries, the 2nd newline, at different steps."""
    config = ml.GPTConfig(vocab_size=256, block_size=30, n_layer=2, n_head=2, n_embd=8, dtype="float64")
    model = trained("pre_embed", config, boundary=10, occurrence=2)
    examples = [tasks.Example(prompt, "") for prompt in ("a\nb\n", "abcdef\nx\n", "\n\n", "abc\nde\n", "no end")]
    together = tasks.answer(model, examples)
    assert together == [tasks.answer(model, [example])[0] for example in examples]
    assert max(map(len, together)) > 3


def test_a_lora_with_special_tokens_merges():
    model, tokens = trained("lora_pre_layer"), batch()[0]
    expected = method_logits(model, tokens, BOUNDARY)
    assert (np.abs(ml.merge(model)(tokens) - expected.value) <= 2 * expected.error).all()


# ------------------------------------------------------------------------------------------------- files


@every_method
def test_a_file_holds_what_was_trained_and_nothing_else(name, tmp_path):
    model = trained(name)
    methods.save_trained(model, tmp_path / "a.npz")
    _, tensors = read_file(tmp_path / "a.npz")
    assert {key: array.tobytes() for key, array in tensors.items()} == {
        key: array.tobytes() for key, array in trainable(model).items()
    }
    loaded = methods.load_trained(gpt(CONFIG), tmp_path / "a.npz")
    assert bits(loaded) == bits(model) and trainable(loaded).keys() == trainable(model).keys()
    assert loaded(batch()[0]).tobytes() == model(batch()[0]).tobytes()
    assert bits(methods.load_trained(fresh(name), tmp_path / "a.npz")) == bits(model)  # its method is on already


@pytest.mark.parametrize("lengths", [(0, 2), (3, 0)])
def test_a_file_may_lack_prefix_or_infix(lengths, tmp_path):
    model = trained("pre_layer", l_p=lengths[0], l_i=lengths[1])
    methods.save_trained(model, tmp_path / "a.npz")
    assert bits(methods.load_trained(gpt(CONFIG), tmp_path / "a.npz")) == bits(model)


def test_minilora_info_tells_what_a_file_holds(tmp_path, capsys):
    methods.save_trained(fresh("adapter_d"), tmp_path / "a.npz")
    assert main(["info", str(tmp_path / "a.npz")]) == 0
    shown = capsys.readouterr().out
    assert all(line in shown for line in ("method = adapter_d", "options.drop = 1", "57 parameters", "down.weight"))


@every_method
def test_another_base_is_refused_before_any_change(name, tmp_path):
    methods.save_trained(trained(name), tmp_path / "a.npz")
    other = gpt(CONFIG, seed=1)
    if name == "full":  # which leaves no base
        assert bits(methods.load_trained(other, tmp_path / "a.npz")) == bits(trained(name))
        return
    with refused(other, "trained on a different base", ml.CheckpointError):
        methods.load_trained(other, tmp_path / "a.npz")
    assert methods.method_of(other) is None
    with pytest.raises(ml.CheckpointError, match="is for a base of"):
        methods.load_trained(gpt(TINY), tmp_path / "a.npz")


def test_foreign_files_are_refused(tmp_path):
    ml.save_model(gpt(CONFIG), tmp_path / "model.npz")
    ml.save_adapter(ml.add_lora(gpt(CONFIG), ml.LoraConfig(r=1)), tmp_path / "adapter.npz")
    for kind in ("model", "adapter"):
        with pytest.raises(ml.CheckpointError, match=f"of the kind '{kind}', where 'method' was expected"):
            methods.load_trained(gpt(CONFIG), tmp_path / f"{kind}.npz")
    methods.save_trained(fresh("adapter_h"), tmp_path / "h.npz")
    with pytest.raises(ml.CheckpointError, match="of the kind 'method', where 'adapter' was expected"):
        ml.load_adapter(gpt(CONFIG), tmp_path / "h.npz")
    with pytest.raises(ml.CheckpointError, match="the model has"):
        methods.load_trained(fresh("adapter_p"), tmp_path / "h.npz")
    with pytest.raises(ml.CheckpointError, match="the model has"):
        methods.load_trained(fresh("adapter_h", m=4), tmp_path / "h.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "nothing"}, "impossible header"),
        ({"method": ["lora"]}, "impossible header"),
        ({"options": None}, "impossible header"),
        ({"options": {"r": 10**12}}, "its tensors are not those of"),
        ({"options": {"r": "8"}}, "impossible header"),
        ({"options": {"rank": 8}}, "no option 'rank'"),
        ({"options": {"r": 2, "target_modules": "(a+)+$"}}, "must name layers one by one"),
        ({"options": {"r": 2, "target_modules": ["(a+)+$"]}}, "must name layers one by one"),
        ({"options": {**LORA, "target_modules": ["k_proj", "v_proj", "up_proj"]}}, "this model needs"),
        ({"config": None}, "impossible header"),
        ({"architecture": "gpt9"}, "architecture .gpt9.: this minilora knows gpt2"),
        ({"base_sha256": None}, "different base"),
    ],
)
def test_a_forged_header_is_refused_before_any_change(change, message, tmp_path):
    methods.save_trained(fresh("lora"), tmp_path / "a.npz")
    header, tensors = read_file(tmp_path / "a.npz")
    kept = {key: header[key] for key in ("config", "method", "options", "base_sha256")}
    write_file(tmp_path / "b.npz", "method", {**kept, **change}, tensors)
    with refused(model := gpt(CONFIG), message, ml.CheckpointError):
        methods.load_trained(model, tmp_path / "b.npz")
    assert methods.method_of(model) is None


def test_a_regular_expression_is_saved_as_the_layers_that_it_chose(tmp_path):
    model = methods.apply(gpt(CONFIG), "lora", r=1, target_modules=r"blocks\.0\..*proj")
    methods.save_trained(model, tmp_path / "a.npz")
    assert bits(methods.load_trained(gpt(CONFIG), tmp_path / "a.npz")) == bits(model)


def test_what_cannot_be_saved_or_loaded_now_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match="the model has no method"):
        methods.save_trained(gpt(CONFIG), path)
    methods.save_trained(fresh("lora"), path)
    merged = ml.merge(fresh("lora"))
    with pytest.raises(ml.LoraError, match="is merged"):
        methods.save_trained(merged, path)
    with pytest.raises(ml.LoraError, match="is merged"):
        methods.load_trained(merged, path)
    with pytest.raises(ValueError, match=r"save them with methods\.save_trained"):
        ml.save_model(fresh("adapter_h"), path)


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adapter", {}, "method 'adapter' is unknown: choose from full, top2, bitfit, adapter_h"),
        ("adapter_h", {"r": 8}, "adapter_h has no option 'r': its options are m"),
        ("full", {"m": 8}, "full has no option 'm': its options are none"),
        ("adapter_h", {"m": 0}, "m, the bottleneck's width, is 0"),
        ("adapter_h", {"m": 2.5}, r"is 2\.5: give a whole number"),
        ("adapter_d", {"drop": 2}, "is 2: give a whole number, 0 to 1"),
        ("pre_embed", {"l_p": 0}, "make 0 special tokens: give 1 to 11"),
        ("pre_embed", {"l_p": -1}, "l_p is -1"),
        ("pre_layer", {"l_p": 8, "l_i": 4, "boundary": 0}, "make 12 special tokens: give 1 to 11"),
        ("pre_layer", {"l_p": 1, "l_i": 1}, "need a boundary"),
        ("pre_layer", {"l_p": 1, "l_i": 1, "boundary": 7}, "boundary, a token, is 7: give a whole number, 0 to 6"),
        ("pre_layer", {"l_p": 1, "occurrence": 0}, "occurrence is 0"),
        ("lora", {"r": 0}, "rank r is 0"),
        ("lora", {"target_modules": ("nothing",)}, "no layer matches the target 'nothing': this model has down_proj"),
        ("lora_pre_embed", {"l_p": 1, "target_modules": "nothing"}, "no layer matches the target 'nothing'"),
        ("lora_pre_layer", {"l_p": 99}, "special tokens"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_change(name, options, message):
    model = gpt(CONFIG)
    with refused(model, message):
        methods.apply(model, name, **options)
    with pytest.raises(ValueError, match=message):
        methods.count(name, CONFIG, **options)
    assert methods.method_of(model) is None
    assert all(p.trainable for p in model.named_parameters().values())


def test_a_second_method_is_refused():
    with pytest.raises(ValueError, match="the model has the method 'bitfit' already: apply 'lora' to a fresh base"):
        methods.apply(fresh("bitfit"), "lora")
    with pytest.raises(ValueError, match="the model has a LoRA already: apply 'full' to a fresh base"):
        methods.apply(ml.add_lora(gpt(CONFIG), ml.LoraConfig(r=1)), "full")


# ------------------------------------------------------------------------------ a method and a LoRA beside it


def test_a_model_with_two_methods_at_once_writes_no_file(tmp_path):
    model = methods.apply(gpt(), "bitfit")
    ml.add_lora(model, ml.LoraConfig(r=2))  # trains A and B in place of the biases that the file would promise
    with pytest.raises(ml.CheckpointError, match="was not written"):
        methods.save_trained(model, tmp_path / "t.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_method_ends_with_its_lora():
    model = ml.remove_lora(methods.apply(gpt(), "lora"))
    assert method_of(model) is None
    assert method_of(methods.apply(model, "bitfit"))[0] == "bitfit"
