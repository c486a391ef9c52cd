"""LoRA against PEFT: training step by step, adapters both ways, merged weights, and what has to be refused."""

import json
import warnings

import numpy as np
import pytest

import minilora as ml
from minilora import CheckpointError
from minilora.hf import load_gpt2, load_peft_adapter, save_gpt2, save_peft_adapter
from minilora.lora import lora_layers
from tests.models import adapted
from tests.parity.torch_side import loaded, logits, peft, random_config, random_gpt2, random_tokens, separated, torch

pytestmark = pytest.mark.filterwarnings("ignore")  # such as that Conv1D and Linear are adapted side by side
RANKS = (1, 4, 16)
OURS = {
    "{q,v}": ("q_proj", "v_proj"),
    "{q,k,v,o}": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "{all six}": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
}
THEIRS = {
    "{q,v}": ["c_attn"],
    "{q,k,v,o}": ["c_attn", "attn.c_proj"],
    "{all six}": ["c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
}
LIMITS = {"float32": 1e-5, "float64": 1e-12}
CONFIG = random_config(1)  # three blocks
TOKENS = random_tokens(CONFIG, 1)


@pytest.fixture(scope="module", params=["float32", "float64"])
def base(request, tmp_path_factory):
    """(a GPT-2 folder, its dtype)"""
    folder = tmp_path_factory.mktemp("gpt2") / "base"
    random_gpt2(1, request.param, CONFIG).save_pretrained(folder)
    return folder, request.param


def random_lora(folder, dtype, **settings):
    """Our model with a LoRA as if trained."""
    return adapted(load_gpt2(folder, dtype)[0], ml.LoraConfig(**settings))


def random_peft(folder, dtype, **settings):
    """PEFT's model with a LoRA as if trained."""
    torch.manual_seed(0)
    model = peft.get_peft_model(loaded(folder, dtype), peft.LoraConfig(**{"fan_in_fan_out": True} | settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return model.eval()


def peft_loads(base, adapter):
    """Our adapter on PEFT's side, every tensor of it in its place."""
    folder, dtype = base
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(loaded(folder, dtype), adapter)
    assert not [w for w in caught if "adapter keys" in str(w.message)]
    return model.eval()


def differs(a, b):
    """The adapter does something: the checks of equality below are not about zeros."""
    assert np.abs(a - b).max() > 1e-2 * np.abs(b).max()


# ---------------------------------------------------------------------------------------- both ways


PEFTS = {  # settings of PEFT that are plain LoRA
    **{
        f"r={r}, {name}": {"r": r, "lora_alpha": 2 * r, "target_modules": targets}
        for r in RANKS
        for name, targets in THEIRS.items()
    },
    "rank and alpha patterns": {
        "r": 4,
        "lora_alpha": 6,
        "rank_pattern": {"mlp.c_proj": 2, "transformer.h.0.attn.c_attn": 5},
        "alpha_pattern": {"c_fc": 3, "attn.c_proj": 9},
        "target_modules": THEIRS["{all six}"],
    },
    "rsLoRA": {"r": 4, "lora_alpha": 5, "use_rslora": True, "target_modules": THEIRS["{q,k,v,o}"]},
    "some blocks": {"r": 4, "target_modules": ["c_attn"], "layers_to_transform": [1]},
    "a regular expression": {"r": 4, "target_modules": r".*\.[02]\.(attn\.c_attn|mlp\.c_proj)"},
    "all-linear but one": {"r": 4, "target_modules": "all-linear", "exclude_modules": ["transformer.h.1.mlp.c_fc"]},
    "biases of adapted layers": {"r": 4, "bias": "lora_only", "target_modules": ["c_attn", "c_fc"]},
    "all biases": {"r": 4, "bias": "all", "target_modules": ["c_attn"]},
    "positions": {"r": 4, "target_modules": ["wpe", "c_attn"]},
    "the tied table and head": {"r": 4, "target_modules": ["wte", "lm_head"], "ensure_weight_tying": True},
    "random A and B": {"r": 4, "init_lora_weights": False, "target_modules": ["c_attn"]},
    "orthogonal init": {"r": 4, "init_lora_weights": "orthogonal", "target_modules": ["c_attn"]},
}


@pytest.mark.parametrize("case", PEFTS)
def test_we_load_every_kind_of_plain_lora(tmp_path, base, compare, case):
    folder, dtype = base
    theirs = random_peft(folder, dtype, **PEFTS[case])
    if case == "the tied table and head":  # tied when made, but drawn apart above
        head, table = theirs.base_model.model.lm_head, theirs.base_model.model.transformer.wte
        head.lora_A["default"].weight.data = table.lora_embedding_B["default"].data.T
        head.lora_B["default"].weight.data = table.lora_embedding_A["default"].data.T
    theirs.save_pretrained(tmp_path / "adapter")
    ours = load_peft_adapter(load_gpt2(folder, dtype)[0], tmp_path / "adapter")
    compare(f"we load PEFT's, {dtype}: logits", ours(TOKENS), logits(theirs, TOKENS), LIMITS[dtype])
    differs(ours(TOKENS), load_gpt2(folder, dtype)[0](TOKENS))


MINE = {  # ours; of rank 4 and all six layers where they do not say
    **{
        f"r={r}, {name}": {"r": r, "lora_alpha": 2 * r, "target_modules": targets}
        for r in RANKS
        for name, targets in OURS.items()
    },
    "patterns": {"rank_pattern": {"v_proj": 2, "0.attn.q_proj": 3}, "alpha_pattern": {"up_proj": 5, "q_proj": 7}},
    "rsLoRA": {"use_rslora": True, "rank_pattern": {"k_proj": 3}},
    "one block": {"target_modules": ("blocks.1.attn.k_proj", "blocks.2.mlp.down_proj")},
    "biases of adapted layers": {"bias": "lora_only", "target_modules": ("q_proj", "up_proj")},
    "all biases": {"bias": "all"},
    "positions": {"target_modules": ("wpe", "v_proj")},
    "the tied table and head": {"target_modules": ("wte", "v_proj"), "alpha_pattern": {"wte": 3}},
}


@pytest.mark.parametrize("case", MINE)
def test_peft_loads_every_kind_of_plain_lora(tmp_path, base, compare, case):
    folder, dtype = base
    ours = random_lora(folder, dtype, **{"r": 4, "lora_alpha": 6, "target_modules": OURS["{all six}"]} | MINE[case])
    save_peft_adapter(ours, tmp_path / "adapter")
    theirs = peft_loads(base, tmp_path / "adapter")
    compare(f"PEFT loads ours, {dtype}: logits", logits(theirs, TOKENS), ours(TOKENS), LIMITS[dtype])
    differs(ours(TOKENS), load_gpt2(folder, dtype)[0](TOKENS))
    theirs.save_pretrained(tmp_path / "again")  # and what PEFT makes of it comes back
    again = load_peft_adapter(load_gpt2(folder, dtype)[0], tmp_path / "again")
    compare(f"ours through PEFT and back, {dtype}: logits", again(TOKENS), ours(TOKENS), LIMITS[dtype])


# -------------------------------------------------------------------------------------------- merged


@pytest.mark.parametrize("targets", OURS)
def test_merged_weights(tmp_path, base, compare, targets):
    folder, dtype = base
    ours = random_lora(folder, dtype, r=4, target_modules=OURS[targets])
    save_peft_adapter(ours, tmp_path / "adapter")
    merged = peft_loads(base, tmp_path / "adapter").merge_and_unload()
    ml.remove_lora(ml.merge(ours))
    save_gpt2(ours, tmp_path / "merged")
    state = loaded(tmp_path / "merged", dtype).state_dict()
    differs(ours(TOKENS), load_gpt2(folder, dtype)[0](TOKENS))
    for name, weight in merged.state_dict().items():
        compare(f"merge against merge_and_unload, {dtype}: every weight", state[name], weight, LIMITS[dtype])


# ------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("targets", OURS)
@pytest.mark.parametrize("seed", range(3))
def test_twenty_steps_of_adamw(tmp_path, compare, seed, targets):
    """PEFT adapts c_attn as three layers here (`separated`), so that both train the same A and B."""
    gpt2 = random_gpt2(seed + 20)
    gpt2.save_pretrained(tmp_path)
    r, alpha, lr, decay = 3, 5, 1e-2, 0.1
    names = {"o_proj": "attn.c_proj", "up_proj": "mlp.c_fc", "down_proj": "mlp.c_proj"}
    there = [names.get(name, name) for name in OURS[targets]]
    torch.manual_seed(seed)
    theirs = peft.get_peft_model(separated(gpt2), peft.LoraConfig(r=r, lora_alpha=alpha, target_modules=there))
    ours = ml.add_lora(load_gpt2(tmp_path, "float64")[0], ml.LoraConfig(r, alpha, OURS[targets]))
    pairs = dict(zip((path for path, _ in lora_layers(ours)), peft_layers(theirs), strict=True))
    for path, layer in pairs.items():
        ours.get_submodule(path).lora_A.data[...] = layer.lora_A["default"].weight.detach().numpy()

    adam = ml.Adam(ours, lr=lr, weight_decay=decay)
    their_adam = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=lr, weight_decay=decay)
    for step in range(20):
        tokens = random_tokens(gpt2.config, step)
        loss, grads = ml.loss_and_grads(ours, tokens[:, :-1], tokens[:, 1:])
        adam.step(grads)
        their_tokens = torch.from_numpy(tokens)
        scores = theirs(their_tokens[:, :-1]).logits.flatten(0, 1)
        their_loss = torch.nn.functional.cross_entropy(scores, their_tokens[:, 1:].flatten())
        their_adam.zero_grad()
        their_loss.backward()
        their_adam.step()
        compare("20 AdamW steps of LoRA, float64: every loss", loss, their_loss.item(), 1e-9)
    for path, layer in pairs.items():
        for which in ("lora_A", "lora_B"):
            got = getattr(ours.get_submodule(path), which).data
            expected = getattr(layer, which)["default"].weight.detach().numpy()
            assert np.abs(expected).max() > lr  # it has moved
            compare("20 AdamW steps of LoRA, float64: every A and B", got, expected, 1e-9)


def peft_layers(model):
    """PEFT's adapted layers in the order of the model."""
    return [module for module in model.modules() if isinstance(module, peft.tuners.lora.LoraLayer)]


# -------------------------------------------------------------------------------------- what is refused

SETTINGS = {"lora_bias": True, "modules_to_save": ["ln_f"], "init_lora_weights": "pissa"}
SETTINGS |= {"trainable_token_indices": [1, 2]}
BEYOND = {
    **{
        name: peft.LoraConfig(**{name: value}, target_modules=["c_attn"], fan_in_fan_out=True)
        for name, value in SETTINGS.items()
    },
    "peft_type": peft.IA3Config(target_modules=["c_attn"], feedforward_modules=[], fan_in_fan_out=True),
    "wte": peft.LoraConfig(target_modules=["wte"]),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_peft_writes_beyond_plain_lora_is_refused_by_name(tmp_path, name):
    gpt2 = random_gpt2(1, "float32", CONFIG)
    gpt2.save_pretrained(tmp_path / "base")
    peft.get_peft_model(gpt2, BEYOND[name]).save_pretrained(tmp_path / "adapter")
    model, _ = load_gpt2(tmp_path / "base")
    before = model(TOKENS)
    with pytest.raises(CheckpointError, match=name):
        load_peft_adapter(model, tmp_path / "adapter")
    np.testing.assert_array_equal(model(TOKENS), before)


def test_we_know_every_setting_of_plain_lora(tmp_path):
    """Every setting that this PEFT writes for plain LoRA is read or has no effect: none is refused unseen."""
    gpt2 = random_gpt2(1, "float32", CONFIG)
    peft.get_peft_model(gpt2, peft.LoraConfig(fan_in_fan_out=True)).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert set(vars(peft.LoraConfig())) - {"runtime_config", "_custom_modules"} <= set(settings)
    gpt2 = random_gpt2(1, "float32", CONFIG)
    gpt2.save_pretrained(tmp_path / "base")
    load_peft_adapter(load_gpt2(tmp_path / "base")[0], tmp_path)
