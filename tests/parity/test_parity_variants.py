"""Variants of LoRA against PEFT: logits, gradients, 20 steps of AdamW, files both ways."""

import warnings

import numpy as np
import pytest

import minilora as ml
from minilora import CheckpointError, methods
from minilora.hf import load_gpt2, load_llama, load_peft_adapter, save_peft_adapter
from minilora.lora import lora_layers
from tests.parity.test_parity_adapters import peft_loads
from tests.parity.test_parity_llama import random_model
from tests.parity.torch_side import DTYPES, logits, peft, random_config, random_gpt2, torch

LIMITS = {"float32": 1e-5, "float64": 1e-10}
TARGETS = ("q_proj", "v_proj", "down_proj")
SETTINGS = {"r": 3, "lora_alpha": 5, "target_modules": list(TARGETS)}
TOKENS = np.random.default_rng(0).integers(37, size=(3, 20))
DECAY = 0.1

# name -> our config; PEFT's settings
LORA_VARIANTS = {
    "rsLoRA": (ml.LoraConfig(**SETTINGS, use_rslora=True), {"use_rslora": True}),
    "DoRA": (ml.DoraConfig(**SETTINGS), {"use_dora": True}),
    "DoRA, rsLoRA": (ml.DoraConfig(**SETTINGS, use_rslora=True), {"use_dora": True, "use_rslora": True}),
}
every_variant = pytest.mark.parametrize("name", LORA_VARIANTS)
each_dtype = pytest.mark.parametrize("dtype", LIMITS)


def quietly(function, *arguments, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **settings)


def side_by_side(tmp_path, name, dtype="float64"):
    """(PEFT's Llama with the variant, ours on the same base), each as it starts."""
    base = random_model("llama", dtype)
    base.save_pretrained(tmp_path / "base")
    config, theirs = LORA_VARIANTS[name]
    torch.manual_seed(5)
    adapted = quietly(peft.get_peft_model, base, peft.LoraConfig(**SETTINGS, **theirs, task_type="CAUSAL_LM"))
    model, _ = load_llama(tmp_path / "base", dtype)
    return adapted, ml.add_lora(model, config)


def pairs(theirs, ours):
    """(our parameter, PEFT's) of everything that trains."""
    there = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    modules = {name: module for name, module in theirs.named_modules() if hasattr(module, "lora_A")}
    found = []
    for (_, layer), module in zip(lora_layers(ours), modules.values(), strict=True):
        for which in ("lora_A", "lora_B", "lora_magnitude_vector"):
            if hasattr(layer, which):
                found.append((getattr(layer, which), getattr(module, which)["default"].weight))
    assert len(found) == len(there) == sum(p.trainable for p in ours.parameters)
    return found


def moved(theirs, std=0.2):
    """As if trained: the same direction in every run."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(std * torch.randn(parameter.shape, dtype=parameter.dtype))
    return theirs.eval()


def copied(theirs, ours):
    for mine, other in pairs(theirs, ours):
        mine.data[...] = other.detach().numpy()
    return ours


def their_loss(theirs, tokens):
    tokens = torch.from_numpy(tokens)
    scores = theirs(tokens[:, :-1]).logits.flatten(0, 1)
    return torch.nn.functional.cross_entropy(scores, tokens[:, 1:].flatten())


def twenty_steps(theirs, ours, their_adam, adam):
    """Both take 20 steps on the same batches.  Yields (our loss and gradients, PEFT's loss) before each update."""
    for step in range(20):
        tokens = np.random.default_rng(step).integers(37, size=(3, 20))
        loss, grads = ml.loss_and_grads(ours, tokens[:, :-1], tokens[:, 1:])
        other = their_loss(theirs, tokens)
        their_adam.zero_grad()
        other.backward()
        yield loss, grads, other.item()
        adam.step(grads)
        their_adam.step()


@each_dtype
@every_variant
def test_logits_and_every_gradient(tmp_path, compare, name, dtype):
    theirs, ours = side_by_side(tmp_path, name, dtype)
    copied(moved(theirs), ours)
    compare(f"{name}, {dtype}: logits", ours(TOKENS), logits(theirs, TOKENS), LIMITS[dtype])
    loss, grads = ml.loss_and_grads(ours, TOKENS[:, :-1], TOKENS[:, 1:])
    other = their_loss(theirs, TOKENS)
    other.backward()
    compare(f"{name}, {dtype}: loss", loss, other.item(), LIMITS[dtype])
    for mine, parameter in pairs(theirs, ours):
        compare(f"{name}, {dtype}: every gradient", grads[mine.name], parameter.grad.numpy(), 10 * LIMITS[dtype])


@every_variant
def test_twenty_steps_of_adamw(tmp_path, compare, name):
    theirs, ours = side_by_side(tmp_path, name)
    copied(theirs, ours)
    start = [other.detach().clone() for _, other in pairs(theirs, ours)]
    adam = ml.Adam(ours, lr=1e-2, weight_decay=DECAY)
    their_adam = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-2, weight_decay=DECAY)
    for loss, _, other in twenty_steps(theirs, ours, their_adam, adam):
        compare(f"{name}, 20 AdamW steps, float64: every loss", loss, other, 1e-9)
    for (mine, other), before in zip(pairs(theirs, ours), start, strict=True):
        assert (other - before).abs().max() > 1e-2  # it has moved
        compare(f"{name}, 20 AdamW steps, float64: every parameter", mine.data, other.detach().numpy(), 1e-9)


@each_dtype
@every_variant
def test_files_both_ways_on_llama(tmp_path, compare, name, dtype):
    theirs, ours = side_by_side(tmp_path, name, dtype)
    copied(moved(theirs), ours)
    quietly(theirs.save_pretrained, tmp_path / "theirs")
    again = load_peft_adapter(load_llama(tmp_path / "base", dtype)[0], tmp_path / "theirs")
    compare(f"{name}, {dtype}: we load PEFT's", again(TOKENS), logits(theirs, TOKENS), LIMITS[dtype])
    save_peft_adapter(ours, tmp_path / "ours")
    loaded = quietly(peft.PeftModel.from_pretrained, random_model("llama", dtype), tmp_path / "ours")
    compare(f"{name}, {dtype}: PEFT loads ours", logits(loaded.eval(), TOKENS), ours(TOKENS), LIMITS[dtype])
    W = [(n, p) for n, p in loaded.merge_and_unload().state_dict().items() if n.endswith("q_proj.weight")]
    for (_, weight), block in zip(W, ml.remove_lora(ml.merge(ours)).blocks, strict=True):
        compare(f"{name}, {dtype}: merged weights", block.attn.q_proj.weight.data, weight.numpy(), LIMITS[dtype])


# ------------------------------------------------------------------------------------- GPT-2's joined layer

GPT2 = random_config(1)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2") / "base"
    random_gpt2(1, "float64", GPT2).save_pretrained(folder)
    return folder, "float64"


def gpt2_tokens():
    return np.random.default_rng(0).integers(GPT2.vocab_size, size=(3, GPT2.n_positions))


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "down_proj")], ids=str)
def test_dora_on_c_attn_leaves_as_one_and_comes_back_as_three(tmp_path, compare, gpt2, targets):
    base, dtype = gpt2
    ours = ml.add_lora(load_gpt2(base, dtype)[0], ml.DoraConfig(r=2, lora_alpha=3, target_modules=targets))
    rng, tokens = np.random.default_rng(0), gpt2_tokens()
    for parameter in ours.parameters:
        if parameter.trainable:
            parameter.data += 0.3 * rng.standard_normal(parameter.shape)
    save_peft_adapter(ours, tmp_path / "ours")
    theirs = quietly(peft_loads, gpt2, tmp_path / "ours")
    compare("DoRA on GPT-2, float64: PEFT loads ours", logits(theirs, tokens), ours(tokens), LIMITS[dtype])
    quietly(moved(theirs).save_pretrained, tmp_path / "theirs")
    again = load_peft_adapter(load_gpt2(base, dtype)[0], tmp_path / "theirs")
    compare("DoRA on GPT-2, float64: we load PEFT's", again(tokens), logits(theirs, tokens), LIMITS[dtype])


def test_dora_on_a_table_is_refused_by_name(tmp_path, gpt2):
    base, dtype = gpt2
    theirs = peft.LoraConfig(target_modules=["wpe"], use_dora=True)
    quietly(quietly(peft.get_peft_model, random_gpt2(1, dtype, GPT2), theirs).save_pretrained, tmp_path / "wpe")
    with pytest.raises(CheckpointError, match=r"DoRA adapts linear layers, and this one adapts transformer\.wpe"):
        load_peft_adapter(load_gpt2(base, dtype)[0], tmp_path / "wpe")


# ---------------------------------------------------------------------------------------------- PiSSA, OLoRA


@pytest.mark.parametrize(("name", "kind"), [("pissa", ml.PissaConfig), ("olora", ml.OloraConfig)])
def test_starts_from_w0(tmp_path, compare, name, kind):
    """The same start, the same 20 steps; converted files both ways.  PEFT decomposes W0 in float32 only."""
    dtype = "float32"
    base = random_model("llama", dtype)
    base.save_pretrained(tmp_path / "base")
    settings = peft.LoraConfig(**SETTINGS, init_lora_weights=name, task_type="CAUSAL_LM")
    theirs = quietly(peft.get_peft_model, base, settings)
    theirs.peft_config["default"].init_lora_weights = True
    quietly(theirs.save_pretrained, tmp_path / "start")  # as PEFT's documentation does it
    theirs.peft_config["default"].init_lora_weights = name
    ours = ml.add_lora(load_llama(tmp_path / "base", dtype)[0], kind(**SETTINGS))
    modules = [module for module in theirs.modules() if hasattr(module, "lora_A")]
    for (_, layer), module in zip(lora_layers(ours), modules, strict=True):
        expected = (module.lora_B["default"].weight @ module.lora_A["default"].weight).detach().numpy()
        compare(f"{name}, {dtype}: B0 A0", layer.lora_B0.data @ layer.lora_A0.data, expected, 1e-5)
    copied(theirs, ours)  # singular vectors have a sign
    for _, layer in lora_layers(ours):
        layer.lora_A0.data[...], layer.lora_B0.data[...] = layer.lora_A.data, layer.lora_B.data
    limit = 1e-4
    loss, grads = ml.loss_and_grads(ours, TOKENS[:, :-1], TOKENS[:, 1:])
    other = their_loss(theirs, TOKENS)
    other.backward()
    compare(f"{name}, {dtype}: loss at the start", loss, other.item(), limit)
    for mine, parameter in pairs(theirs, ours):
        compare(f"{name}, {dtype}: every gradient at the start", grads[mine.name], parameter.grad.numpy(), limit)
    adam = ml.Adam(ours, lr=1e-3)
    their_adam = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
    for loss, _, other in twenty_steps(theirs, ours, their_adam, adam):
        compare(f"{name}, 20 Adam steps, {dtype}: every loss", loss, other, limit)
    compare(f"{name}, {dtype}: logits after 20 steps", ours(TOKENS), logits(theirs.eval(), TOKENS), 10 * limit)
    save_peft_adapter(ours, tmp_path / "ours")
    loaded = quietly(peft.PeftModel.from_pretrained, random_model("llama", dtype), tmp_path / "ours")
    compare(f"{name}, {dtype}: PEFT loads ours", logits(loaded.eval(), TOKENS), ours(TOKENS), LIMITS[dtype])
    quietly(
        theirs.save_pretrained,
        tmp_path / "converted",
        path_initial_model_for_weight_conversion=str(tmp_path / "start"),
    )
    again = load_peft_adapter(load_llama(tmp_path / "base", dtype)[0], tmp_path / "converted")
    compare(f"{name}, {dtype}: we load PEFT's, converted", again(TOKENS), logits(theirs, TOKENS), 10 * limit)


@each_dtype
def test_lora_xs_leaves_as_the_lora_that_it_is(tmp_path, compare, dtype):
    """PEFT has no LoRA-XS: it loads s B R A as factors R A and B."""
    random_model("llama", dtype).save_pretrained(tmp_path / "base")
    ours = ml.add_lora(load_llama(tmp_path / "base", dtype)[0], ml.LoraXsConfig(**SETTINGS))
    ml.fit(ours, TOKENS.ravel(), steps=3, lr=0.1, batch_size=2, progress=False)
    save_peft_adapter(ours, tmp_path / "ours")
    loaded = quietly(peft.PeftModel.from_pretrained, random_model("llama", dtype), tmp_path / "ours")
    compare(f"LoRA-XS, {dtype}: PEFT loads ours", logits(loaded.eval(), TOKENS), ours(TOKENS), LIMITS[dtype])


# ------------------------------------------------------------------------------------------------- LoRA+


def test_loraplus_makes_pefts_steps(tmp_path, compare):
    """PEFT's optimizer: B and all one-dimensional parameters (DoRA's magnitudes) at 16 times the rate."""
    from peft.optimizers import create_loraplus_optimizer

    theirs, ours = side_by_side(tmp_path, "DoRA")
    copied(theirs, ours)
    their_adam = create_loraplus_optimizer(theirs, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16)
    adam = ml.Adam(ours, lr=1e-3, lr_factor=methods.loraplus(ours, 16))
    for loss, _, other in twenty_steps(theirs, ours, their_adam, adam):
        compare("LoRA+ on DoRA, 20 steps, float64: every loss", loss, other, 1e-9)
    for mine, other in pairs(theirs, ours):
        compare("LoRA+ on DoRA, 20 steps, float64: every parameter", mine.data, other.detach().numpy(), 1e-9)


# -------------------------------------------------------------------------------------------------- VeRA


def vera_side_by_side(tmp_path, dtype):
    base = random_model("llama", dtype)
    base.save_pretrained(tmp_path / "base")
    config = peft.VeraConfig(r=7, target_modules=list(TARGETS), d_initial=0.3, task_type="CAUSAL_LM")
    theirs = quietly(peft.get_peft_model, base, config).to(DTYPES[dtype])
    ours = ml.add_lora(load_llama(tmp_path / "base", dtype)[0], ml.VeraConfig(7, target_modules=TARGETS))
    return theirs, ours


def vera_pairs(theirs, ours):
    modules = [module for module in theirs.modules() if hasattr(module, "vera_lambda_b")]
    for (_, layer), module in zip(lora_layers(ours), modules, strict=True):
        for which in ("vera_lambda_d", "vera_lambda_b"):
            yield getattr(layer, which), getattr(module, which)["default"]


@each_dtype
def test_vera(tmp_path, compare, dtype):
    theirs, ours = vera_side_by_side(tmp_path, dtype)
    moved(theirs)
    layer = next(iter(lora_layers(ours)))[1]
    for mine, other in ((layer.vera_A, theirs.base_model.vera_A), (layer.vera_B, theirs.base_model.vera_B)):
        mine.data[...] = other["default"].numpy()
    for mine, other in vera_pairs(theirs, ours):
        mine.data[...] = other.detach().numpy()
    compare(f"VeRA, {dtype}: logits", ours(TOKENS), logits(theirs, TOKENS), LIMITS[dtype])
    quietly(theirs.save_pretrained, tmp_path / "theirs")
    again = load_peft_adapter(load_llama(tmp_path / "base", dtype)[0], tmp_path / "theirs")
    compare(f"VeRA, {dtype}: we load PEFT's", again(TOKENS), logits(theirs, TOKENS), LIMITS[dtype])
    save_peft_adapter(ours, tmp_path / "ours")
    loaded = quietly(peft.PeftModel.from_pretrained, random_model("llama", dtype), tmp_path / "ours")
    loaded = loaded.to(DTYPES[dtype]).eval()
    compare(f"VeRA, {dtype}: PEFT loads ours", logits(loaded, TOKENS), ours(TOKENS), LIMITS[dtype])
    adam = ml.Adam(ours, lr=1e-2, weight_decay=DECAY)
    their_adam = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=1e-2, weight_decay=DECAY)
    limit = 1e-9 if dtype == "float64" else 1e-3
    for step, (loss, grads, other) in enumerate(twenty_steps(theirs, ours, their_adam, adam)):
        if not step:
            for mine, parameter in vera_pairs(theirs, ours):
                grad = parameter.grad.numpy()
                compare(f"VeRA, {dtype}: every gradient", grads[mine.name], grad, 10 * LIMITS[dtype])
        compare(f"VeRA, 20 AdamW steps, {dtype}: every loss", loss, other, limit)
    for mine, other in vera_pairs(theirs, ours):
        compare(f"VeRA, 20 AdamW steps, {dtype}: every parameter", mine.data, other.detach().numpy(), limit)


def test_vera_without_its_projections_is_refused(tmp_path):
    base = random_model("llama", "float32")
    base.save_pretrained(tmp_path / "base")
    config = peft.VeraConfig(r=7, target_modules=["q_proj"], save_projection=False, task_type="CAUSAL_LM")
    quietly(lambda: peft.get_peft_model(base, config).save_pretrained(tmp_path / "a"))
    with pytest.raises(CheckpointError, match="save_projection=True"):
        load_peft_adapter(load_llama(tmp_path / "base")[0], tmp_path / "a")


def test_vera_on_c_attn_is_refused(tmp_path, gpt2):
    base, dtype = gpt2
    config = peft.VeraConfig(r=7, target_modules=["c_attn"], fan_in_fan_out=True)
    quietly(quietly(peft.get_peft_model, random_gpt2(1, dtype, GPT2), config).save_pretrained, tmp_path / "a")
    with pytest.raises(CheckpointError, match="c_attn joins 3 layers"):
        load_peft_adapter(load_gpt2(base, dtype)[0], tmp_path / "a")
