# %% [markdown]
# # 15 · Real weights: fine-tune GPT-2 with NumPy alone
#
# **After this lesson you can**
# - open a Hugging Face GPT-2 folder and say what every tensor in it is, and why it has to be transposed or split;
# - fine-tune GPT-2 with LoRA on a laptop, without PyTorch;
# - write separate LoRAs of q, k and v as *one exact* adapter of GPT-2's fused layer, and prove it;
# - hand that adapter to PEFT, which everyone else uses, and load one back.
#
# **You need** `pip install "minilora[hf,plots]"`, and `peft` and `torch` for the hand-over in section 5, which is
# skipped without them. Read lesson 5 (what LoRA is) first; sections 1 and 4 need only matrices.
#
# **Run it** on a GPT-2 folder of your own, `python tutorials/15_real_weights.py FOLDER` (in a notebook, set the
# environment variable `MINILORA_GPT2`), or without one: then the lesson makes a GPT-2 with two small blocks.

# %%
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import minilora as ml
from minilora.hf import load_gpt2, load_peft_adapter, load_tokenizer, save_gpt2, save_peft_adapter
from minilora.plots import show_figure, subplots

temporary = tempfile.TemporaryDirectory(prefix="minilora-lesson-15-")  # deleted when the lesson ends
WORK = Path(temporary.name)
arguments = sys.argv[1:] if "ipykernel" not in sys.modules else []
given = arguments[0] if arguments else os.environ.get("MINILORA_GPT2")

# %% [markdown]
# ## A small GPT-2, made here
# GPT-2's tokenizer is byte-pair encoding: it starts with the 256 bytes and repeatedly joins the most common neighbours
# (Radford et al. 2019, section 2.2). Ours learns 511 tokens from Python's language reference. The model is like GPT-2
# in every respect but size, and is pre-trained on the same text for a few seconds.


# %%
from tokenizers import ByteLevelBPETokenizer


def make_gpt2(folder: Path) -> None:
    """A tokenizer and a model of 137 thousand parameters, pre-trained, in Hugging Face's format."""
    docs = ml.python_docs()
    folder.mkdir()
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([docs], vocab_size=512, special_tokens=["<|endoftext|>"], show_progress=False)
    bpe.save_model(str(folder))
    tokenizer = load_tokenizer(folder)
    model = ml.GPT(ml.GPTConfig(tokenizer.vocab_size, block_size=64, n_layer=2, n_head=4, n_embd=64))
    ml.fit(model, tokenizer.encode(docs), steps=400, lr=3e-3, batch_size=8, workers=2, label="pre-training")
    save_gpt2(model, folder, tokenizer)


folder = Path(given) if given else WORK / "gpt2"
if not given:
    make_gpt2(folder)
print("GPT-2", folder if given else "made here", "with", ", ".join(sorted(path.name for path in folder.iterdir())))

# %% [markdown]
# ## 1. What is in the file?
# **Question.** In minilora, a GPT-2 block has six weight matrices: $W_q, W_k, W_v, W_o$ and two in the MLP. The file
# has four. Where are the others, and which way round is each?
#
# **Formula.** We write $y = x W^\top$ with $W$ of shape (out, in), as the LoRA paper does. GPT-2's own class `Conv1D`
# writes $y = x M$ with $M = W^\top$ of shape (in, out), and computes q, k and v in one product:
#
# $$ M_{\text{c\_attn}} = \big[\, W_q^\top \;\; W_k^\top \;\; W_v^\top \,\big] \in \mathbb{R}^{C \times 3C} $$

# %%
from safetensors import safe_open

model, tokenizer = load_gpt2(folder)
C, V = model.config.n_embd, model.config.vocab_size
print(model.config)

if (folder / "model.safetensors").exists():  # large models come in several files
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        prefix = "transformer." if "transformer.wte.weight" in file.keys() else ""  # noqa: SIM118
        for name in file.keys():  # noqa: SIM118
            if name.startswith(f"{prefix}h.0.") or ".h." not in f".{name}":
                print(f"  {name:<40}{file.get_slice(name).get_shape()}")
        c_attn = file.get_tensor(f"{prefix}h.0.attn.c_attn.weight").astype(np.float32)
    assert c_attn.shape == (C, 3 * C)
    for name, columns in zip("qkv", np.split(c_attn, 3, axis=1), strict=True):
        layer = model.get_submodule(f"blocks.0.attn.{name}_proj")
        assert np.array_equal(layer.weight.data, columns.T), "a third of c_attn, transposed, is one projection"

# %% [markdown]
# The file stores no output matrix: the head uses `wte` a second time (*weight tying*). We can count the parameters from
# the config alone: the embeddings $(V + T_{\max})\,C$; in each block the matrices $4C^2 + 8C^2$, their biases $9C$ and
# two LayerNorms $4C$; and one last LayerNorm $2C$. For GPT-2 small this gives 124,439,808.

# %%
L, T_max = model.config.n_layer, model.config.block_size
counted = (V + T_max) * C + L * (12 * C * C + 13 * C) + 2 * C
assert counted == sum(p.size for p in model.named_parameters().values())
assert (50257 + 1024) * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768 == 124_439_808
print(f"{counted:,} parameters")

# %% [markdown]
# ## 2. Does it know anything?
# **Question.** Are these weights more than noise?
#
# **Formula.** A model that knows nothing gives every token the probability $1/V$, for a loss of $\log V$ nats.

# %%
docs = tokenizer.encode(ml.python_docs()[:20_000])
T = min(64, T_max)
knows = ml.evaluate(model, ml.TextData(docs, T), batch_size=4, max_batches=8)
print(f"language reference: {knows:.2f} nats per token; knowing nothing: {np.log(V):.2f}")
assert knows < 0.9 * np.log(V)


def continuation(prompt: str) -> str:
    tokens = ml.generate(model, tokenizer.encode(prompt), 30, temperature=0.8, top_k=20, stop=tokenizer.end_of_text)
    return tokenizer.decode(tokens)


print(repr(continuation("The statement ")))

# %% [markdown]
# ## 3. Fine-tune it
# **Question.** The model has read prose about Python. Can LoRA teach it code by training a few hundredths of its
# parameters?
#
# **Formula.** $h = W_0 x + \frac{\alpha}{r} B A x$ on $W_q$ and $W_v$ of every block (Hu et al. 2021, section 4.2):
# $2L$ pairs $A \in \mathbb{R}^{r \times C}$, $B \in \mathbb{R}^{C \times r}$, so $4 L r C$ numbers train.
#
# We tried three learning rates on the small model and use the lowest: twice the rate did as well, four times did worse.

# %%
code = tokenizer.encode(ml.python_source(200_000))
held_out = ml.TextData(code[: len(code) // 10], T)
train = ml.TextData(code[len(code) // 10 :], T)

r = 8
ml.add_lora(model, ml.LoraConfig(r=r, lora_alpha=2 * r, target_modules=("q_proj", "v_proj")))
print(ml.trainable_report(model))
trainable = sum(p.size for p in model.named_parameters().values() if p.trainable)
assert trainable == 4 * L * r * C

before = ml.evaluate(model, held_out, batch_size=4, max_batches=16)
steps = 30 if given else 120  # a step of GPT-2 small takes several seconds
ml.fit(model, train, steps=steps, lr=5e-3, batch_size=8, workers=2, label="LoRA")
after = ml.evaluate(model, held_out, batch_size=4, max_batches=16)
print(f"held-out code: {before:.3f} -> {after:.3f} nats per token")
assert after < before
print(repr(continuation("def ")))

# %% [markdown]
# ## 4. Three updates are one
# **Question.** Most people keep adapters in PEFT's format, and PEFT adapts the layers that GPT-2 *has*: `c_attn`, not
# $W_q$ and $W_v$. Can our pair of LoRAs be written as an adapter of `c_attn`? With what rank? Exactly, or only
# approximately?
#
# **Formula.** The outputs of q, k and v are stacked, so we stack the updates. With $s = \alpha/r$, a product of two
# block matrices gives exactly that:
#
# $$ \begin{bmatrix} s B_q A_q \\ 0 \\ s B_v A_v \end{bmatrix}
#  = s \begin{bmatrix} B_q & 0 \\ 0 & 0 \\ 0 & B_v \end{bmatrix} \begin{bmatrix} A_q \\ A_v \end{bmatrix}
#  \qquad r' = 2r, \quad \alpha' = s\,r' = 2\alpha $$
#
# This is exact: each entry on the right is the same sum of products, plus zeros. PEFT will divide $\alpha'$ by $r'$, so
# $\alpha$ must grow with the rank.

# %%
adapter = WORK / "adapter"
save_peft_adapter(model, adapter)
with safe_open(adapter / "adapter_model.safetensors", framework="numpy") as file:
    name = "base_model.model.transformer.h.0.attn.c_attn"
    A, B = (file.get_tensor(f"{name}.lora_{which}.weight") for which in "AB")
q, k, v = (model.get_submodule(f"blocks.0.attn.{which}_proj") for which in "qkv")
assert A.shape == (2 * r, C)
assert B.shape == (3 * C, 2 * r)
assert np.array_equal(A, np.concatenate([q.lora_A.data, v.lora_A.data]))
assert np.array_equal(B[:C, :r], q.lora_B.data)
assert np.array_equal(B[2 * C :, r:], v.lora_B.data)
assert not B[:C, r:].any()
assert not B[C : 2 * C].any()
assert not B[2 * C :, :r].any()
# Each entry is a sum of r' products on one side and of r on the other; each rounds at most r' + 1 times.
rows = np.split(q.scaling * B @ A, 3)
bound = np.split(2 * (2 * r + 1) * 2.0**-24 * q.scaling * np.abs(B) @ np.abs(A), 3)
assert (np.abs(rows[0] - q.delta()) <= bound[0]).all()
assert (np.abs(rows[2] - v.delta()) <= bound[2]).all()
assert not rows[1].any(), "W_k has no LoRA: its rows stay as they were"
size = sum(path.stat().st_size for path in adapter.iterdir())
print(f"rank {r} + {r} = {len(A)}; adapter folder {size:,} bytes, model {4 * counted:,}: 1/{4 * counted // size}")

# %% [markdown]
# The picture shows what PEFT will see in block 0. Half of $B$'s columns serve q, the other half serve v, and none serve
# k.

# %%
figure, (left, right) = subplots(1, 2, figsize=(7, 3.2), width_ratios=(1, 2))
image = left.imshow(np.abs(B), aspect="auto", cmap="Greys", interpolation="nearest")
left.set_yticks([C / 2, 3 * C / 2, 5 * C / 2], ["q", "k", "v"])
left.set_xticks([r / 2 - 0.5, 3 * r / 2 - 0.5], ["$r$ of q", "$r$ of v"])
for edge in (C, 2 * C):
    left.axhline(edge - 0.5, color="black", linewidth=0.8)
left.axvline(r - 0.5, color="black", linewidth=0.8)
left.set_title(f"|B|, {3 * C} × {2 * r}")
figure.colorbar(image, ax=left, label="magnitude")
right.imshow(np.abs(A), aspect="auto", cmap="Greys", interpolation="nearest")
right.set_yticks([r / 2 - 0.5, 3 * r / 2 - 0.5], ["$A_q$", "$A_v$"])
right.axhline(r - 0.5, color="black", linewidth=0.8)
right.set(title=f"|A|, {2 * r} × {C}", xlabel="input dimension")
show_figure(figure, "15_one_adapter_of_c_attn.png")

# %% [markdown]
# ## 5. Hand it to PEFT
# **Question.** Does PEFT, on PyTorch, compute what we computed in NumPy?
#
# **Number.** The largest difference between the logits, relative to the largest logit. float32 has 24 bits, about
# $6 \cdot 10^{-8}$, and the two programs add things up in different orders, so we allow $10^{-5}$.

# %%
import importlib.util

tokens = train.tokens[: min(32, T_max)].reshape(1, -1)
ours = model(tokens)
if importlib.util.find_spec("peft") and importlib.util.find_spec("torch"):
    os.environ["HF_HUB_OFFLINE"] = "1"  # download nothing
    import peft
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    base = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(base, adapter).eval()
    with torch.no_grad():
        theirs = adapted(torch.from_numpy(tokens)).logits.numpy()
    error = np.abs(theirs - ours).max() / np.abs(ours).max()
    print(f"PEFT {peft.__version__} computes the same logits to {error:.1e}")
    assert error < 1e-5
else:
    print('section 5 skipped: peft is not installed (pip install "minilora[parity]")')

# %% [markdown]
# ## 6. And back
# **Question.** Someone sends you an adapter. What does an adapter of `c_attn` become here?
#
# **Formula.** Cut the rows of $B$ into three thirds. Each is an update with the same $A$: $W_q \mathrel{+}= s B_{1} A$,
# $W_k \mathrel{+}= s B_{2} A$, $W_v \mathrel{+}= s B_{3} A$. Where every column of $B$ serves only one third, as in
# ours, the parts that are all zeros can be left out, and the LoRA that comes back is the one that we sent, to the bit.

# %%
again = load_peft_adapter(load_gpt2(folder)[0], adapter)
assert [path for path, _ in ml.lora_layers(again)] == [path for path, _ in ml.lora_layers(model)]
assert np.array_equal(again(tokens), ours)

# %% [markdown]
# If you want no adapter at all, merge it (lesson 7). You get a folder like the one we started with, no larger and no
# slower, which `transformers` loads like any GPT-2.

# %%
save_gpt2(ml.merge(again), WORK / "merged", tokenizer)
merged, _ = load_gpt2(WORK / "merged")
difference = np.abs(merged(tokens) - ours).max() / np.abs(ours).max()
print(f"merged, saved and loaded: the same logits to {difference:.1e}")
assert difference < 1e-5

# %% [markdown]
# ## What to try next
# - Give the lesson the real thing: download the folder `openai-community/gpt2` once, and pass its path.
# - Adapt all six matrices. How large is the adapter of `c_attn` now, and how large are the three LoRAs that it
#   replaces? Why is the difference all zeros?
# - Load the adapter in PEFT with `is_trainable=True` and continue training. The zero blocks of $B$ do not stay zero:
#   write down $\partial L / \partial B$ (lesson 5) and see why. We handed over the *function* exactly, but not the
#   *parametrization*, which determines what training can change.
# - Give $W_q$ and $W_v$ different $\alpha/r$ with `alpha_pattern`. One adapter has only one scaling: where did the
#   other one go?
# - Exercises 27 (the size of a checkpoint) and 35 (a training loop from end to end).
