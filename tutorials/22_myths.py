# %% [markdown]
# # 22 · Six myths, with the arithmetic
#
# **After this lesson you can**
# - say what LoRA makes a thousand times smaller, what it makes a little smaller, and what it leaves as it is;
# - answer six sentences about LoRA that you will meet in articles and talks, each with a number.
#
# **You need** `pip install -e ".[plots]"`; lesson 5 (LoRA). Lesson 13 derives most of the numbers, lesson 18 those in 4
# bits. It runs in seconds.

# %%
import tempfile
from pathlib import Path

import numpy as np

import minilora as ml
from minilora.analysis import training_bytes
from minilora.machine.timing import interleaved_medians
from minilora.nn import cache_bytes
from minilora.plots import BASE, LORA, show_figure, subplots

base, tokenizer = ml.load_base()
again = ml.load_base()[0]  # the same once more: a control for every timing
lora = ml.add_lora(ml.load_base()[0], ml.LoraConfig(r=4, lora_alpha=8, target_modules=("q_proj", "v_proj")), seed=0)
batch = ml.TextData(tokenizer.encode(ml.python_source(100_000)), 128).sample(np.random.default_rng(0), 8)

# %% [markdown]
# ## 1. "LoRA trains a subset of the weights"
# It trains *none* of them. $W_0$ is frozen; $A$ and $B$ are new numbers. And what they do is not confined to a subset
# either: $\Delta W = \frac{\alpha}{r} B A$ changes every entry of the matrix. Few numbers, but a change everywhere:
# that is what *low rank* means, and how it differs from *sparse*.

# %%
optimizer = ml.Adam(lora, lr=1e-3)
for _ in range(3):
    _, grads = ml.loss_and_grads(lora, batch.tokens, batch.targets)
    optimizer.step(grads)
path, layer = next(iter(ml.lora_layers(lora)))
dW = layer.delta()
trained = layer.lora_A.size + layer.lora_B.size
print(f"{path}: {trained:,} trained numbers change {np.count_nonzero(dW):,} of {dW.size:,} entries of W; ", end="")
print(f"the change has rank {np.linalg.matrix_rank(dW)}")
assert not any(name.endswith(".weight") for name in grads)
assert np.count_nonzero(dW) > 0.99 * dW.size

# %% [markdown]
# ## 2. "100 times fewer parameters, 100 times less compute"
# A training step costs $2N$ operations per token forward, $2N$ for the gradients that flow down, and $2N$ for the
# gradients of the weights ($N$ weights, lesson 13). LoRA saves only the last third:
#
# $$ \frac{2N + 2N + 2N}{2N + 2N} = 1.5 $$
#
# is the most that it can be faster by, however few numbers it trains. The text still has to pass through the whole
# model, in both directions.

# %%
step = {"full": base, "full again": again, "LoRA": lora}
times = interleaved_medians(step, lambda model: ml.loss_and_grads(model, batch.tokens, batch.targets), repeats=8)
parameters = sum(p.size for p in base.parameters) / sum(p.size for p in lora.parameters if p.trainable)
faster = times["full"] / times["LoRA"]
print(f"{parameters:.0f} times fewer parameters, and gradients {faster:.2f} times as fast; ", end="")
print(f"full fine-tuning against itself: {times['full'] / times['full again']:.2f}")

# %% [markdown]
# ## 3. "1 TB becomes 25 MB"
# Two true numbers about two different things. The paper's are these, for GPT-3 with $r = 4$ on $W_q$ and $W_v$ (section
# 4.2):
#
# | | full fine-tuning | LoRA | ratio |
# |---|---|---|---|
# | memory while training | 1.2 TB | 350 GB | 3.4 |
# | a checkpoint on disk | 350 GB | 35 MB | 10,000 |
#
# A sentence that starts in the first row and ends in the second compares memory with a file. While you train, the
# frozen weights must be in memory, and they are most of it. Here are both rows for our model, in bytes:

# %%
full_bytes, lora_bytes = (training_bytes(model, batch.tokens, batch.targets) for model in (base, lora))
with tempfile.TemporaryDirectory() as folder:
    ml.save_model(base, Path(folder) / "model.npz")
    ml.save_adapter(lora, Path(folder) / "adapter.npz")
    files = [(Path(folder) / f"{name}.npz").stat().st_size for name in ("model", "adapter")]
memory = full_bytes.total / lora_bytes.total
print(f"memory   {full_bytes.total:>12,} -> {lora_bytes.total:>10,} bytes: {memory:.1f} times less")
print(f"the file {files[0]:>12,} -> {files[1]:>10,} bytes: {files[0] / files[1]:.0f} times less")
assert memory < 4, "four arrays per weight (W, gradient, m, v) can become one, but not less"

# %% [markdown]
# ## 4. "LoRA needs less memory for activations"
# Backward needs what forward computed. A frozen layer need not keep its input *for its own gradient*, but $A$ sits
# beside it and needs that same input; and attention, GELU and LayerNorm keep what they kept before. What makes
# activations smaller is a smaller batch, shorter texts, or computing them twice; LoRA does little.

# %%
kept_full, kept_lora = (cache_bytes(model.forward(batch.tokens)[1]) for model in (base, lora))
print(f"activations of {batch.tokens.size:,} tokens: {kept_full:,} -> {kept_lora:,} bytes, a factor of ", end="")
print(f"{kept_full / kept_lora:.2f}")
assert kept_full / kept_lora < 2

# %% [markdown]
# ## 5. "With LoRA, a 30-billion model trains on one GPU"
# Count only the frozen weights. On a GPU of 24 GB they do not fit in 16 bits, and LoRA has not made them any smaller.
# In 4 bits they do: what puts a large model on one GPU is the quantization (QLoRA, lesson 18). LoRA is what makes it
# possible to *train* on top of weights that cannot change.

# %%
N = 30e9
for bits, name in ((16, "16-bit weights"), (4.127, "NF4, with its scales")):
    print(f"{name:<22}{N * bits / 8 / 1e9:6.1f} GB for W0, before the first activation")
assert N * 4.127 / 8 < 24e9 < N * 16 / 8

# %% [markdown]
# ## 6. "LoRA adds no latency"
# Merged, it adds none: the model has the shapes of the base, and runs the same products. Unmerged, each adapted layer
# does two thin products more. And you cannot merge if neighbouring texts in one batch use different adapters, which is
# how they are often served (lesson 12).

# %%
merged = ml.merge(ml.add_lora(ml.load_base()[0], ml.LoraConfig(r=4, target_modules=("q_proj", "v_proj")), seed=0))
served = {"base": base, "base again": again, "merged": merged, "unmerged": lora}
one_text = batch.tokens[:1]
latency = interleaved_medians(served, lambda model: model(one_text), repeats=30)
for name in ("base again", "merged", "unmerged"):
    print(f"{name:<11}{latency[name] / latency['base'] - 1:+6.1%} against the base")

# %% [markdown]
# ## What LoRA makes smaller
# One picture for all six. A bar shows how many times smaller something becomes on this model, with $r = 4$ on $W_q$
# and $W_v$.

# %%
ratios = {
    "trained numbers": parameters,
    "gradients to exchange": full_bytes.gradients / lora_bytes.gradients,
    "Adam's state": full_bytes.adam / lora_bytes.adam,
    "file to keep per task": files[0] / files[1],
    "memory between steps": memory,
    "time of a step": faster,
    "activations": kept_full / kept_lora,
    "weights in memory": full_bytes.weights / lora_bytes.weights,
}
figure, axes = subplots(figsize=(8, 3.8))
names = list(ratios)[::-1]
bars = axes.barh(names, [ratios[name] for name in names], color=[LORA if ratios[n] > 10 else BASE for n in names])
for bar, name in zip(bars, names, strict=True):
    axes.text(ratios[name] * 1.06, bar.get_y() + bar.get_height() / 2, f"{ratios[name]:.3g}", va="center")
axes.axvline(1, color="black", linewidth=1)
axes.set(xscale="log", xlim=(0.7, 400), xlabel="full fine-tuning / LoRA")
show_figure(figure, "22_myths.png")

# %% [markdown]
# Blue: what follows the trained numbers, and shrinks with the width of the model (for GPT-3, by 10,000). Grey: what
# follows the model, and hardly shrinks at any width.
#
# ## What to try next
# - Redo the picture with $r = 64$ on all six matrices. Which bars move?
# - Someone writes: "LoRA with $r = 8$ uses 8 times the memory of $r = 1$." Which bytes does that hold for? What is the
#   right number for this model?
# - Find a seventh: a sentence about LoRA in a talk or an article, and the number that decides it.
# - Exercises 14 (how many numbers LoRA trains) and 27 (the size of a checkpoint).
