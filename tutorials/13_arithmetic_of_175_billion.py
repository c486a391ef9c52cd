# %% [markdown]
# # 13 · The arithmetic of 175 billion
#
# **After this lesson you can**
# - count the parameters of a GPT, and of a LoRA on it, from five numbers, with a pencil;
# - derive what section 4.2 of the paper reports for GPT-3 (training memory from 1.2 TB to 350 GB, a checkpoint from 350
#   GB to 35 MB, 10,000 times fewer parameters), and name the assumptions behind each number;
# - check the same formulas, to the byte, on a model that you can train here;
# - name what the formulas leave out.
#
# **You need** `pip install -e ".[plots]"`; lesson 3 (what Adam keeps) and lesson 5 (what $A$ and $B$ are). It runs in
# seconds.
#
# **Symbols.** $L$: number of blocks (the loss is $\mathcal{L}$ in this lesson). $C$: width of the model,
# $d_{\text{model}}$ in the paper. $V$: size of the vocabulary. $T_{\max}$: longest text, in tokens. $r$: rank of the
# LoRA. $N$: parameters of the model. $n$: parameters of the LoRA. $\hat L$: number of weight *matrices* that get a
# LoRA. GB and TB are $10^9$ and $10^{12}$ bytes; MiB and TiB are $2^{20}$ and $2^{40}$.

# %%
import tempfile
from pathlib import Path

import numpy as np

import minilora as ml
from minilora.analysis import training_bytes
from minilora.lora import lora_shapes
from minilora.machine.timing import interleaved_medians
from minilora.nn import cache_bytes
from minilora.plots import BASE, FULL, LORA, OTHER, show_figure, subplots

# %% [markdown]
# ## 1. Where are the 175 billion parameters?
# **Question.** GPT-3 is "175B". Can we get that number from its shape alone?
#
# **Formula.** A block has four attention matrices of $C \times C$ and the MLP's two, $4C \times C$ and $C \times 4C$:
# $4C^2 + 8C^2 = 12C^2$ numbers. Their biases are $4C + 4C + C = 9C$, and two LayerNorms have $2C$ each. Outside the
# blocks, there are two embeddings, $V C$ and $T_{\max} C$, and a last LayerNorm, $2C$. The output head reuses the token
# embedding and costs nothing.
#
# $$ N = (V + T_{\max})\, C + L\,(12 C^2 + 13 C) + 2C $$
#
# Brown et al. (2020), table 2.1, gives GPT-3's shape: $L = 96$, $C = 12288$, $T_{\max} = 2048$; its vocabulary is
# GPT-2's, $V = 50257$.

# %%
gpt3 = ml.GPTConfig(vocab_size=50257, block_size=2048, n_layer=96, n_head=96, n_embd=12288)


def parameters(config: ml.GPTConfig) -> int:
    C, L = config.n_embd, config.n_layer
    return (config.vocab_size + config.block_size) * C + L * (12 * C**2 + 13 * C) + 2 * C


N = parameters(gpt3)
assert gpt3.parameter_count == N
in_blocks = gpt3.n_layer * 12 * gpt3.n_embd**2
print(f"N = {N:,}; the matrices of the blocks hold {in_blocks / N:.1%} of them")

# %% [markdown]
# The paper's table 4 gives 175,255.8 million. We are slightly below, and cannot tell where the rest is: GPT-3's weights
# are not public. Two digits are enough for everything that follows. Remember $N \approx 12 L C^2$: the rest is small
# change.

# %%
paper_N = 175_255.8e6
print(f"ours is {1 - N / paper_N:.2%} below the paper's")
assert abs(N / paper_N - 1) < 0.005
assert in_blocks / N > 0.99

# %% [markdown]
# ## 2. How many does LoRA train?
# **Question.** Take $r = 4$ on $W_q$ and $W_v$ of every block. How many numbers is that?
#
# **Formula.** For one matrix $W_0 \in \mathbb{R}^{d \times k}$, $B \in \mathbb{R}^{d \times r}$ has $d r$ numbers and
# $A \in \mathbb{R}^{r \times k}$ has $r k$: together $r(d + k)$. Attention's matrices are square, $d = k = C$, so each
# costs $2 C r$, and adapting $\hat L$ of them costs
#
# $$ n = 2 \hat L\, C\, r \qquad\text{(Hu et al. 2021, section 5.1)} $$
#
# The 2 is there because $B$ *and* $A$ count. $\hat L$ counts matrices: with two in each block, $\hat L = 2L$.

# %%
r = 4
L, C = gpt3.n_layer, gpt3.n_embd
L_hat = 2 * L  # W_q and W_v in each block
n = 2 * L_hat * C * r
print(f"n = 2 x {L_hat} x {C} x {r} = {n:,} = {n / 2**20:g} x 2^20")
assert n == 18 * 2**20, "the budget of '18M' in section 7.1, exactly"
for rank, millions in {1: 4.7, 8: 37.7}.items():  # the two LoRA rows of the paper's table 4
    assert round(2 * L_hat * C * rank / 1e6, 1) == millions

# %% [markdown]
# ### A slip to watch for: a missing factor of 2
# You will see this number written as "$2 \times L \times d_{\text{model}} \times r$ for $W_q$ and $W_v$", with $L$ the
# number of *layers*. That 2 can stand for the two matrices or for the two factors, but it must be both:
# $2 \cdot 2L \cdot C \cdot r$. The paper's own formula is right: its $\hat L$, with the hat, is the number of adapted
# matrices. Instead of arguing, we count, in a model that exists:

# %%
small = ml.GPTConfig(vocab_size=256, block_size=64, n_layer=3, n_head=4, n_embd=32)
config = ml.LoraConfig(r=r, lora_alpha=r, target_modules=("q_proj", "v_proj"))
model = ml.add_lora(ml.GPT(small), config)
counted = sum(p.size for p in model.named_parameters().values() if p.trainable)
slip = 2 * small.n_layer * small.n_embd * r
right = 2 * (2 * small.n_layer) * small.n_embd * r
print(f"counted {counted:,}   2 x 2L x C x r = {right:,}   the slip: 2 x L x C x r = {slip:,}")
assert counted == right == 2 * slip

# %% [markdown]
# ### A second slip: A and B swapped
# In the paper, $B$ is $(d, r)$, $A$ is $(r, k)$, and the update is $BA$. Read from right to left, $A$ takes the input
# down to $r$ numbers and $B$ takes them up to $d$. If you swap the names, $A$ as $(d, r)$ and $B$ as $(r, k)$, the
# *count* $r(d + k)$ stays the same, so counting does not reveal the mistake. The shapes do: $BA$ then multiplies an
# $(r, k)$ matrix by a $(d, r)$ matrix. That product does not exist if $d \ne k$; if $d = k$, it is an $r \times r$
# matrix, which cannot be an update of $W_0$. (Code that works on rows may well *store* a transposed $A$ and write
# $x A$. Just do not mix the shapes of one convention with the formula of the other.)

# %%
rng = np.random.default_rng(0)
d, k = 48, 32
W0, x = rng.standard_normal((d, k)), rng.standard_normal(k)
B, A = rng.standard_normal((d, r)), rng.standard_normal((r, k))
assert (B @ A).shape == W0.shape
assert (W0 @ x + B @ (A @ x)).shape == (d,)

A_slip, B_slip = rng.standard_normal((d, r)), rng.standard_normal((r, k))
assert A_slip.size + B_slip.size == A.size + B.size, "the count does not distinguish the two"
try:
    B_slip @ A_slip
except ValueError as error:
    print("B (r, k) times A (d, r):", error)
else:
    raise AssertionError("these shapes must not multiply")
square = rng.standard_normal((r, k)) @ rng.standard_normal((k, r))
print(f"and where d = k: BA has shape {square.shape}, W0 has shape {(k, k)}")
assert square.shape == (r, r)

# %% [markdown]
# ## 3. 350 GB to 35 MB, and 10,000 times
# **Question.** What must be stored for one more task?
#
# **Formula.** In half precision (fp16), a number takes 2 bytes. Full fine-tuning stores the whole model again, $2N$
# bytes; LoRA stores $A$ and $B$, $2n$ bytes. The ratio does not depend on the bytes per number:
#
# $$ \frac{N}{n} \approx \frac{12 L C^2}{4 L C r} = \frac{3C}{r} $$

# %%
FP16 = 2
print(f"the model:  {FP16 * N / 1e9:6.1f} GB       the paper says 350 GB")
print(f"the LoRA:   {FP16 * n / 1e6:6.1f} MB = {FP16 * n / 2**20:g} MiB exactly; the paper says 35 MB, 'roughly'")
print(f"the ratio:  {N / n:,.0f}, and 3C/r = {3 * C / r:,.0f}; the paper says 'roughly 10,000' = 350 GB / 35 MB")
assert round(FP16 * N / 1e9, -1) == 350
assert FP16 * n == 36 * 2**20
assert abs(FP16 * n / 35e6 - 1) < 0.08, "35 MB is 36 MiB, rounded down somewhere on the way"
assert abs((3 * C / r) / (N / n) - 1) < 0.01

# %% [markdown]
# A hundred tasks (the footnote of section 4.2) take one model and a hundred adapters, or else a hundred models.

# %%
print(f"LoRA {(FP16 * N + 100 * FP16 * n) / 1e9:.0f} GB, full fine-tuning {100 * FP16 * N / 1e12:.0f} TB")
assert round((FP16 * N + 100 * FP16 * n) / 1e9) == 353  # the paper, from its rounded numbers: about 354 GB
assert round(100 * FP16 * N / 1e12) == 35

# %% [markdown]
# ## 4. 1.2 TB to 350 GB
# **Question.** What uses the memory during training, and which parts does LoRA not need?
#
# **Formula.** Training keeps up to four numbers for each parameter: the weight, its gradient, and Adam's two moments
# $m$ and $v$. A frozen parameter needs only its weight. With $w$, $g$ and $a$ bytes for a weight, a gradient and the
# two moments together,
#
# $$ M_{\text{full}} = (w + g + a)\, N, \qquad M_{\text{LoRA}} = w\,(N + n) + (g + a)\, n . $$
#
# The paper reports the two sums but not $w$, $g$ and $a$. So we try the common choices and see which of them fits.

# %%
choices = {  # bytes of a weight, its gradient, Adam's m and v
    "fp16, gradients dropped as soon as used": (2, 0, 4),
    "fp16 throughout": (2, 2, 4),
    "fp16, Adam's moments in fp32": (2, 2, 8),
    "mixed precision, fp32 master weights": (2 + 4, 2, 8),
    "fp32 throughout": (4, 4, 8),
}
table = {}
print(f"{'':<42}{'bytes':>6}{'full':>10}{'':>11}{'LoRA':>10}{'full / LoRA':>13}")
for name, (w, g, a) in choices.items():
    full, lora = (w + g + a) * N, w * (N + n) + (g + a) * n
    table[name] = full, lora
    in_full = f"{full / 1e12:>7.2f} TB{full / 2**40:>7.2f} TiB"
    print(f"{name:<42}{w + g + a:>6}{in_full}{lora / 1e9:>7.0f} GB{full / lora:>10.2f}")

# %% [markdown]
# Read the LoRA column first: 350 GB is 2 bytes for each weight and almost nothing else. So the weights were in fp16,
# there was no fp32 copy of the frozen ones (the fourth line has one), and the 350 GB contain no activations to speak of
# (section 6). That leaves the first three lines.
#
# Then read the full column. The third line drops out: its 2.1 TB are far above 1.2 TB. And no line gives exactly 1.2
# TB. It lies between the first two:
#
# - **three copies** ($W$, $m$, $v$; 6 bytes): this is exactly the paper's own explanation, "by up to 2/3 ... as we do
#   not need to store the optimizer states", and the abstract's "3 times";
# - **four copies** ($W$, gradient, $m$, $v$; 8 bytes): more than 1.2 TB, though in binary units it is 1.27 TiB.
#
# **The assumption that gives 1.2 TB**: everything is in fp16, and at the peak only part of the gradients exist, because
# the others have not been computed yet or have already been used and dropped. The cell below solves
# $(w + a + \rho g) N = 1.2$ TB for that part $\rho$. A measured peak could be such a number; the paper does not say.
# With everything in fp16 the saving lies between 3 and 4 times, whatever $\rho$ is; the other choices in the table give
# 2.67 to 6 times. In every case the saving comes from *not keeping* gradients and moments of frozen weights.

# %%
three, lora = table["fp16, gradients dropped as soon as used"]
four, _ = table["fp16 throughout"]
rho = (1.2e12 - three) / (2 * N)
print(f"rho = {rho:.2f}; 1.2 TB / 350 GB = {1200 / 350:.2f}, between {three / lora:.2f} and {four / lora:.2f}")
assert three < 1.2e12 < four
assert 0 < rho < 1
assert round(lora / 1e9, -1) == 350
assert abs((1 - lora / three) - 2 / 3) < 1e-3, "'up to 2/3'"
others = [lora for name, (_, lora) in table.items() if not name.startswith("fp16")]
assert min(others) > 600e9, "with more than 2 bytes per weight, no choice gives 350 GB"
assert table["fp16, Adam's moments in fp32"][0] > 2e12, "and this one is far above 1.2 TB"
savings = [round(full / lora, 2) for full, lora in table.values()]
assert (min(savings), max(savings)) == (2.67, 6)

# %% [markdown]
# Here is the picture for GPT-3 in fp16, part by part.

# %%
parts = {
    "weights": (2, BASE, ""),
    "Adam's $m$": (2, FULL, "//"),
    "Adam's $v$": (2, OTHER, ".."),
    "gradients": (2, "white", "xx"),
}
figure, (left, right) = subplots(1, 2, figsize=(7.5, 3.4), width_ratios=(1, 1.25))
bottom = 0.0
for label, (size, color, hatch) in parts.items():
    height = size * N / 1e12
    left.bar(0, height, bottom=bottom, color=color, hatch=hatch, edgecolor="black", label=label, width=0.6)
    bottom += height
left.bar(1, lora / 1e12, color=BASE, edgecolor="black", width=0.6)
left.axhline(1.2, color="black", linestyle="--", linewidth=1)
left.text(1.35, 1.215, "paper: 1.2 TB", ha="right", va="bottom", fontsize=9)
left.text(1, lora / 1e12 + 0.02, f"{lora / 1e9:.0f} GB", ha="center", va="bottom", fontsize=9)
left.set_xticks([0, 1], ["full", f"LoRA, r={r}"])
left.set(ylabel="kept while training (TB)", title="GPT-3 in fp16", xlim=(-0.5, 1.5), ylim=(0, 2.25))
left.legend(fontsize=8, ncols=2, loc="upper center")

family = {  # L, C, V, T_max
    "minilora's base": ml.load_base()[0].config,
    "GPT-2 small": ml.GPTConfig(50257, 1024, 12, 12, 768),
    "GPT-2 medium": ml.GPTConfig(50257, 1024, 24, 16, 1024),
    "GPT-2 large": ml.GPTConfig(50257, 1024, 36, 20, 1280),
    "GPT-2 XL": ml.GPTConfig(50257, 1024, 48, 25, 1600),
    "GPT-3": gpt3,
}
ratios = {name: c.parameter_count / (4 * c.n_layer * c.n_embd * r) for name, c in family.items()}
right.plot([c.n_embd for c in family.values()], list(ratios.values()), "o", color=LORA)
for name, label, offset, side in (
    ("minilora's base", "minilora's base", (10, -4), "left"),
    ("GPT-2 small", "GPT-2, small to XL", (-2, 9), "right"),
    ("GPT-3", "GPT-3", (-8, 4), "right"),
):
    at = family[name].n_embd, ratios[name]
    right.annotate(label, at, xytext=offset, textcoords="offset points", ha=side, fontsize=9)
widths = np.geomspace(80, 20000)
right.plot(widths, 3 * widths / r, "--", color=BASE, label=f"$3C/r$, r={r}")
right.set(xscale="log", yscale="log", xlabel="width $C$", title="The wider, the more LoRA saves")
right.set_ylabel("model / LoRA, in parameters")
right.legend(loc="upper left")
show_figure(figure, "13_arithmetic.png")
for name, ratio in ratios.items():
    print(f"{name:<16} N / n = {ratio:>7,.0f}   3C/r = {3 * family[name].n_embd / r:>7,.0f}")
assert ratios["GPT-2 small"] < 1000
assert all(ratio > 3 * family[name].n_embd / r for name, ratio in ratios.items())

# %% [markdown]
# The points lie above the line because $N$ includes the embeddings, which matter a lot for a small model and not at all
# for GPT-3. **"10,000 times" is a statement about width.** On GPT-2 small, the same LoRA is not even a thousand times
# smaller than its model.
#
# ## 5. The same formulas, in bytes that exist
# **Question.** Do the formulas hold for a program that runs? minilora keeps everything in float32: $w = g = 4$,
# $a = 8$. So we expect exactly $16 N$ bytes for full fine-tuning and $4N + 16 n$ for LoRA.
#
# **Number.** `training_bytes` takes one real step and adds up the arrays that remain.

# %%
base, tokenizer = ml.load_base()
tokens = tokenizer.encode(ml.python_source(100_000))
batch = ml.TextData(tokens, 128).sample(np.random.default_rng(0), 8)
adapted = ml.add_lora(ml.load_base()[0], config)
N_here = base.config.parameter_count
n_here = sum(a * b for a, b in lora_shapes(base.shapes(), config).values())
full_bytes = training_bytes(base, batch.tokens, batch.targets)
lora_bytes = training_bytes(adapted, batch.tokens, batch.targets)
print(f"N = {N_here:,}, n = {n_here:,}")
print(f"{'':<12}{'full':>14}{'LoRA':>14}{'full / LoRA':>14}")
for part in ("weights", "gradients", "adam", "total"):
    f, a = getattr(full_bytes, part), getattr(lora_bytes, part)
    print(f"{part:<12}{f:>14,}{a:>14,}{f / a:>14.2f}")
assert full_bytes.total == 16 * N_here
assert lora_bytes.total == 4 * N_here + 16 * n_here

# %% [markdown]
# On disk, a file also names its tensors and records which base it belongs to. That is a fixed cost per tensor, so it
# weighs more in a small adapter than in a large one:

# %%
with tempfile.TemporaryDirectory() as folder:
    ml.save_model(base, Path(folder) / "model.npz")
    ml.save_adapter(adapted, Path(folder) / "adapter.npz")
    model_file, adapter_file = ((Path(folder) / f"{name}.npz").stat().st_size for name in ("model", "adapter"))
for name, size, numbers in (("model", model_file, N_here), ("adapter", adapter_file, n_here)):
    print(f"{name:<8} file {size:>10,} bytes = 4 x {numbers:,} + {size - 4 * numbers:,} of names and header")
    assert size > 4 * numbers
print(f"ratio of the files {model_file / adapter_file:.0f}, of the parameters {N_here / n_here:.0f}")
assert model_file / adapter_file < N_here / n_here

# %% [markdown]
# **Where the miniature disagrees.** Not in any formula, but in the sizes that go into them: our width is a hundredth of
# GPT-3's, so $3C/r$ is a hundredth too. The ratio of training memory cannot exceed four copies to one, and here it is
# already close to that:

# %%
print(f"N / n: {N_here / n_here:.0f} here, {N / n:,.0f} for GPT-3")
print(f"training memory, full / LoRA: {full_bytes.total / lora_bytes.total:.2f} here, {four / lora:.2f} for GPT-3")
assert full_bytes.total / lora_bytes.total < 4

# %% [markdown]
# ## 6. What the arithmetic leaves out: activations
# **Question.** Backward also needs what forward computed: the activations. Does LoRA save those too?
#
# **Formula.** The gradient of a weight is $\partial \mathcal{L}/\partial W = (\partial \mathcal{L}/\partial y)^\top x$,
# so a layer that trains must keep its input $x$. A frozen layer need not: the gradient that it passes down,
# $(\partial \mathcal{L}/\partial y)\, W$, does not contain $x$. But what attention, GELU and LayerNorm keep does not
# depend on which weights train, and it grows with the batch, not with $N$.

# %%
print(f"{'tokens in the batch':>20}{'full':>12}{'LoRA':>12}{'LoRA / full':>13}{'all else, LoRA':>16}")
activations = {}
for rows in (1, 4, 16):
    some = ml.TextData(tokens, 128).sample(np.random.default_rng(0), rows).tokens
    kept = [cache_bytes(m.forward(some)[1]) for m in (base, adapted)]
    activations[rows] = kept
    print(f"{some.size:>20,}{kept[0] / 2**20:>8.1f} MiB{kept[1] / 2**20:>8.1f} MiB{kept[1] / kept[0]:>13.2f}", end="")
    print(f"{lora_bytes.total / 2**20:>12.1f} MiB")
assert all(0.5 < kept_lora / kept_full < 1 for kept_full, kept_lora in activations.values())
assert activations[16][0] > 3.5 * activations[4][0] > 12 * activations[1][0], "nearly proportional to the batch"

# %% [markdown]
# LoRA saves little here: $A$ needs its layer's input too, and $W_q$, $W_k$ and $W_v$ share one. With a model as small
# as ours and a batch of a few thousand tokens, activations are most of the memory. Then how can the paper quote 350 GB?
# If each block keeps only its input, and computes the rest again in the backward pass (*checkpointing*, Chen et al.
# 2016), a token costs $2 L C$ bytes in fp16, plus one block's full activations at a time. Our own count above says how
# much a block keeps if nothing is computed again: about as many numbers per token as this, in units of $C$.

# %%
per_token = activations[16][1] / 4 / (16 * 128)  # numbers that LoRA's forward keeps for each token, here
in_units_of_C = per_token / (base.config.n_layer * base.config.n_embd)
C, L = gpt3.n_embd, gpt3.n_layer
for tokens_at_once in (2048, 16 * 2048):
    everything = FP16 * in_units_of_C * C * L * tokens_at_once
    checkpointed = FP16 * C * L * tokens_at_once + everything / L
    print(f"GPT-3, {tokens_at_once:>6,} tokens at once: {everything / 1e9:>7,.0f} GB if all is kept", end=", ")
    print(f"{checkpointed / 1e9:>5,.0f} GB if only each block's input is")
assert FP16 * C * L * 2048 < 0.05 * 350e9, "for one text of 2,048 tokens, a few per cent of 350 GB"

# %% [markdown]
# With one text at a time and checkpointing, activations are a few per cent of 350 GB, and the paper's number can leave
# them out. With many texts at once they are not. The paper does not say which it did.
#
# ## 7. And time: 25 % faster?
# **Question.** Section 4.2 reports "a 25 % speedup" in training. How much does the arithmetic allow?
#
# **Formula.** For each token and parameter, forward does one multiplication and one addition. Backward does one of each
# for the gradient that it passes down, $\mathrm{d}x = \mathrm{d}y\, W$, and one of each for the weight's own,
# $\mathrm{d}W$. That is $2N + 2N + 2N$ operations. A frozen weight has no $\mathrm{d}W$: $2N + 2N$, and LoRA's own
# operations are few. So at best LoRA processes $6N/4N = 1.5$ times as many tokens per second. The paper's footnote
# reports 43.1 tokens/s per GPU, up from 32.5.

# %%
faster, less = 43.1 / 32.5, 1 - 32.5 / 43.1
print(f"paper: {faster:.2f} times the tokens per second, or {less:.0%} less time per token: this is its '25 %'")
assert faster < 1.5
assert round(less, 2) == 0.25
few = ml.TextData(tokens, 128).sample(np.random.default_rng(0), 4)
models = {
    "full": base,
    "LoRA": adapted,
}  # they take turns on one thread, so that other programs count as little as can be
times = interleaved_medians(models, lambda model: ml.loss_and_grads(model, few.tokens, few.targets), repeats=12)
print(f"here: LoRA computes a step's gradients {times['full'] / times['LoRA']:.2f} times as fast; the limit is 1.5")

# %% [markdown]
# ## What to try next
# - Exercise 27: the size of a LoRA checkpoint.
# - How much would $r = 4$ on *all six* matrices of every block take for GPT-3? (The MLP's are not square.)
# - Adam with 8-bit moments needs $a = 2$. How much does LoRA save then, and by what factor? At which $a$ does it save
#   nothing but the gradients?
# - Which rank makes LoRA's training memory equal to full fine-tuning's, with $w = g = 2$, $a = 4$? Why is it not $C$?
