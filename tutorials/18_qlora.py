# %% [markdown]
# # 18 · QLoRA: the frozen weights in 4 bits
#
# **After this lesson you can**
# - quantize a weight to NF4 by hand, twice, and bound what that does to it;
# - say why the levels are not evenly spaced;
# - train a LoRA on a 4-bit base, and say what the base's rounding costs in loss;
# - explain why an update cannot be merged back into 4 bits;
# - compute the memory of fine-tuning models of 7 to 70 billion parameters, line by line.
#
# **You need** `pip install -e ".[plots]"`; lessons 5 (LoRA) and 7 (merging). It takes about 40 seconds to run. Keep
# `minilora/quantized/nf4.py` open next to it.

# %%
import copy

import numpy as np

import minilora as ml
from minilora import quantized
from minilora.plots import BASE, FULL, LORA, OTHER, show_figure, subplots
from minilora.quantized.nf4 import LEVELS
from minilora.text import split

# %% [markdown]
# ## Why the frozen weights
# LoRA has made gradients and Adam's state small (lesson 13). What is left is $W_0$ itself: nobody changes it, everybody
# reads it. So store it in few bits, and turn it into floats when it is read (Dettmers et al. 2023):
#
# $$ h = \text{dequantize}(Q)\, x + \tfrac{\alpha}{r} B A x $$
#
# $A$ and $B$ stay in full precision. Gradients flow *through* the dequantized weight to the layers below; none is taken
# *for* it.
#
# ## 1. Sixteen levels
# 4 bits are 16 levels. Where should they be? Trained weights look Gaussian, so evenly spaced levels would be crowded in
# the middle and idle at the ends. **NF4** takes quantiles of the normal distribution, so that each level serves about
# equally many weights. One level is exactly 0.
#
# A weight matrix is cut into blocks of 64. Each block is divided by its largest magnitude $c$, so that it fits into
# $[-1, 1]$; each number is then replaced by the nearest level. Here it is in five lines:


# %%
def nearest_level(W, levels, block=64):
    """Each number of W becomes c times the nearest level, with one c per block."""
    blocks = W.reshape(-1, block)
    c = np.abs(blocks).max(axis=1, keepdims=True)
    nearest = np.abs(blocks[..., None] / c[..., None] - levels).argmin(axis=-1)
    return (c * levels[nearest]).reshape(W.shape), nearest


model, tokenizer = ml.load_base()
W = model.blocks[2].mlp.up_proj.weight.data
even = np.linspace(-1, 1, 16).astype(np.float32)
for name, levels in (("evenly spaced", even), ("NF4", LEVELS)):
    W_quantized, nearest = nearest_level(W, levels)
    error = np.sqrt(((W_quantized - W) ** 2).mean() / (W**2).mean())
    used = np.bincount(nearest.ravel(), minlength=16) / nearest.size
    print(f"{name:<14} error {error:.1%} of the weights' size; ", end="")
    print(f"a level serves from {used.min():.1%} to {used.max():.1%} of the weights")
by_hand, _ = nearest_level(W, LEVELS)

# %% [markdown]
# ## 2. Quantize the scales as well
# One float32 $c$ for 64 weights costs $32 / 64 = 0.5$ bits per weight: an eighth of the 4 bits it serves. **Double
# quantization** stores the $c$ in 8 bits, 256 of them at a time, as mean $+$ scale $\cdot$ (a whole number from
# $-127$ to $127$). That leaves
#
# $$ 4 + \frac{8}{64} + \frac{32}{64 \cdot 256} = 4.127 \text{ bits per weight.} $$
#
# **A bound.** Let $c'$ be the stored $c$, and $g = 0.3038$ the largest gap between levels, from $-1$ to $-0.6962$.
# The nearest level is at most half a gap away, and a level is at most 1, so
#
# $$ |w - c' \cdot \text{level}| \;\le\; \frac{g}{2}\, c + |c - c'|. $$

# %%
stored = quantized.quantize_nf4(W)
error = np.abs(stored.rows() - W).reshape(len(W), -1, 64)
bound = stored.error_bound()[..., None]
assert (error <= bound * (1 + 1e-5)).all()
print(f"{stored.nbytes * 8 / W.size:.3f} bits per weight; largest error {(error / bound).max():.0%} of its bound")
print(f"quantizing the scales too changes the result by {np.abs(stored.rows() - by_hand).max() / np.abs(W).max():.2%}")

# %% [markdown]
# ## 3. What it does to a model
# All six projections of every block become NF4; embeddings and norms stay. We measure the loss on text that the base
# has not seen, then train a LoRA on the 4-bit base and, for comparison, on the base itself.

# %%
tokens = tokenizer.encode(ml.python_source())
training, held_out = (ml.TextData(part, 128) for part in split(tokens))


def trained(base, seed=0):
    """A copy of the base with a LoRA trained on Python sources, and its loss on text it has not seen."""
    adapted = ml.add_lora(copy.deepcopy(base), ml.LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS), seed)
    ml.fit(adapted, training, steps=150, lr=1e-2, batch_size=16, workers=2, seed=seed, progress=False)
    return adapted, loss(adapted)


def loss(model):
    return ml.evaluate(model, held_out, batch_size=32, max_batches=8, workers=2)


TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
four_bits = quantized.quantize(copy.deepcopy(model))
(on_floats, lora_loss), (on_four_bits, qlora_loss) = trained(model), trained(four_bits)
losses = {"base": loss(model), "base in NF4": loss(four_bits), "LoRA": lora_loss, "LoRA on NF4": qlora_loss}
for name, value in losses.items():
    print(f"{name:<12} {value:.3f} nats per byte")
rounding, gained = losses["base in NF4"] - losses["base"], losses["base"] - losses["LoRA"]
left = losses["LoRA on NF4"] - losses["LoRA"]
print(f"4 bits cost {rounding:.3f}; LoRA gains {gained:.3f}; after training, {left:.3f} of the cost is left")
assert losses["LoRA on NF4"] < losses["base in NF4"]

# %% [markdown]
# Bytes of the projections, before and after:

# %%
projections = [p for name, p in model.named_parameters().items() if name.endswith("_proj.weight")]
in_four_bits = [p for name, p in four_bits.named_parameters().items() if name.endswith("_proj.weight")]
before, after = (sum(p.nbytes for p in parameters) for parameters in (projections, in_four_bits))
print(f"{before:,} bytes -> {after:,} bytes: a factor of {before / after:.2f}")

# %% [markdown]
# ## 4. Merging does not go back into 4 bits
# Merging (lesson 7) writes $W_0 + \Delta W$ into the weight. To keep that in 4 bits we must quantize again, and
# the new rounding error is as large as the first. Whether $\Delta W$ survives depends on its size: here it is a large
# part of $W_0$, and most of it does. In the last lines below we make it smaller, as it is in a large model. So minilora
# refuses to merge, unless you let the weights become floats:

# %%
try:
    ml.merge(copy.deepcopy(on_four_bits))
except ml.LoraError as error:
    print(f"merge: {error}")

merged = ml.remove_lora(ml.merge(copy.deepcopy(on_four_bits), dequantize=True))
print(f"merged into floats:       {loss(merged):.3f} nats per byte")
requantized = quantized.quantize(quantized.dequantize(copy.deepcopy(merged)))
print(f"merged and in NF4 again:  {loss(requantized):.3f} nats per byte")

layer = "blocks.2.attn.q_proj"
W0 = four_bits.get_submodule(layer).weight.data
dW = on_four_bits.get_submodule(layer).delta()
for factor in (1, 0.1, 0.01):
    again = quantized.quantize_nf4(W0 + factor * dW).rows()
    noise = np.linalg.norm(again - W0 - factor * dW) / np.linalg.norm(factor * dW)
    size = np.linalg.norm(factor * dW) / np.linalg.norm(W0)
    print(f"{layer}: an update of {size:.1%} of W0 comes out with an error {noise:.1f} times its size")
assert loss(requantized) > loss(merged)

# %% [markdown]
# ## 5. The arithmetic of 7 B to 70 B
# Bytes per parameter. Full fine-tuning in mixed precision: weights and gradients in 16 bits, Adam's two moments and a
# master copy in 32 bits: $2 + 2 + 4 + 4 + 4 = 16$. LoRA: $W_0$ in 16 bits, and 16 bytes for each parameter of A and B.
# QLoRA: $4.127 / 8 = 0.516$ bytes, and the same A and B. Activations are extra, and the same for all three.

# %%
SHAPES = {"7 B": (32, 4096, 11008), "13 B": (40, 5120, 13824), "70 B": (80, 8192, 28672)}  # blocks, C, inner: Llama 2
r, memory = 16, {}
for name, (blocks, C, inner) in SHAPES.items():
    kv = C if name != "70 B" else C // 8
    linear = blocks * (2 * C * C + 2 * C * kv + 3 * C * inner)
    embeddings = 2 * 32000 * C
    adapters = blocks * r * (2 * (C + C) + 2 * (C + kv) + 3 * (C + inner))  # A and B on all seven projections
    full, lora = 16 * (linear + embeddings), 2 * (linear + embeddings) + 16 * adapters
    qlora = stored.nbytes / W.size * linear + 2 * embeddings + 16 * adapters
    memory[name] = [x / 1e9 for x in (full, lora, qlora)]
    print(f"{name:>4}: full {full / 1e9:6.0f} GB   LoRA {lora / 1e9:5.0f} GB   QLoRA {qlora / 1e9:4.0f} GB   "
          f"(A and B: {adapters / 1e6:,.0f} million)")  # fmt: skip

# %%
figure, (left, right) = subplots(1, 2, figsize=(10, 4.2))
relative = W.reshape(-1, 64) / np.abs(W.reshape(-1, 64)).max(axis=1, keepdims=True)
left.hist(relative.ravel(), bins=80, color=BASE, alpha=0.5)
for level in LEVELS:
    left.axvline(level, color=LORA, linewidth=1)
left.set(title="Weights of one layer, and NF4's levels", xlabel="weight / largest of its block", ylabel="weights")
positions = np.arange(len(memory))
for i, (name, colour, hatch) in enumerate((("full", FULL, ""), ("LoRA", OTHER, "//"), ("QLoRA", LORA, ".."))):
    values = [row[i] for row in memory.values()]
    right.bar(positions + 0.27 * (i - 1), values, 0.25, label=name, color=colour, hatch=hatch, edgecolor="white")
right.axhline(48, color="black", linestyle="--", linewidth=1, label="one 48 GB GPU")
right.set_xticks(positions, list(memory))
right.set(title="Memory without activations", ylabel="GB", yscale="log")
right.legend(fontsize=9)
show_figure(figure, "18_qlora.png")

# %% [markdown]
# ## What to try next
# - Use blocks of 256 instead of 64. What happens to the error, and to the bits per weight?
# - Add one outlier to a block, ten times its largest weight. What happens to its 63 neighbours?
# - Train the LoRA on `dequantize(four_bits)` instead. Why does the loss not change by a single bit?
# - Exercise 32: a block in four bits, and how far off it may be.
# - A real model: `minilora fetch smollm2`, then `minilora train --quantized nf4 --base ... --data ...`.
