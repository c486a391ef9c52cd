# %% [markdown]
# # 4 · Full fine-tuning, and what its ΔW looks like
#
# **After this lesson you can**
# - fine-tune a whole model, and count the bytes that training it takes;
# - read a matrix through its singular values: how many directions does it use?
# - compare an update $\Delta W$ with noise of the same size and with $W_0$ itself, and say how they differ;
# - cut an update down to rank $r$, put it back into the model, and measure how much of the gain is left. LoRA is built
#   on this observation.
#
# **You need** `pip install -e ".[plots]"`; lesson 2 (the model) and lesson 3 (Adam). It takes about 40 seconds on two
# idle cores.

# %%
import copy

import numpy as np

import minilora as ml
from minilora.analysis import energy_share, gaussian_control, rank_for_energy, singular_values, training_bytes
from minilora.plots import BASE, FULL, OTHER, plot_spread, show_figure, subplots
from minilora.text import split

# %% [markdown]
# ## 1. Fine-tune everything
# **Question.** The base has read Python's documentation. What happens if we train *all* of its weights on Python's
# source?
#
# **Code.** Adam on every parameter: 48 steps, each on 8 windows of 64 bytes. We try three learning rates on one seed,
# and run the best of them on three seeds. (Fine-tuning needs a lower rate than pre-training, because now there is
# something to lose.)

# %%
base, tokenizer = ml.load_base()
train_tokens, held_out = split(tokenizer.encode(ml.python_source()))
T = 64  # bytes in a window of text
train = ml.TextData(train_tokens, T)
validation = ml.TextData(held_out[: 64 * T + 1], T)
SEEDS = (0, 1, 2)


def fine_tuned(lr: float, seed: int) -> ml.GPT:
    model = copy.deepcopy(base)
    ml.fit(model, train, steps=48, lr=lr, batch_size=8, seed=seed, workers=2, progress=False)
    return model


base_loss = ml.evaluate(base, validation)
tried = {lr: fine_tuned(lr, SEEDS[0]) for lr in (1e-4, 3e-4, 1e-3)}
losses = {lr: ml.evaluate(model, validation) for lr, model in tried.items()}
best = min(losses, key=losses.get)
models = [tried[best], *(fine_tuned(best, seed) for seed in SEEDS[1:])]
full_losses = np.array([ml.evaluate(model, validation) for model in models])
print(f"base: {base_loss:.3f} nats per byte on held-out source")
print(", ".join(f"lr {lr:g}: {loss:.3f}" for lr, loss in losses.items()))
print(f"at {best:g}, three seeds: {full_losses.mean():.3f} ± {full_losses.std(ddof=1):.3f}")
assert (full_losses < base_loss).all()

# %% [markdown]
# ## 2. What training keeps in memory
# **Question.** How much memory did that take, beyond the model itself?
#
# **Formula.** Each parameter needs its weight, its gradient, and Adam's two running means $m$ and $v$ (lesson 3). In
# float32 that is $4 + 4 + 8 = 16$ bytes, four times the model.
#
# **Number.** We count the arrays that one real step leaves in memory. (What forward saves for backward comes on top: it
# depends on the batch, not only on which parameters train.)

# %%
tokens, targets, _ = next(validation.batches(4))
P = sum(parameter.size for parameter in base.named_parameters().values())
kept = training_bytes(base, tokens, targets)
print(f"{P:,} parameters: weights {kept.weights:,}, gradients {kept.gradients:,}, Adam {kept.adam:,} bytes")
print(f"in all {kept.total:,} = {kept.total / P:.0f} bytes for each parameter")
assert (kept.weights, kept.gradients, kept.adam) == (4 * P, 4 * P, 8 * P)

# %% [markdown]
# Three quarters of this exist only because every parameter trains. And the result is another full-size model: a second
# task costs the same disk space again. Does it have to? Look at what has changed.
#
# ## 3. What ΔW looks like
# **Question.** Fine-tuning has turned each matrix $W_0$ into $W_0 + \Delta W$. Does $\Delta W$ have any structure?
#
# **Formula.** Every $d \times k$ matrix is a sum of products of a column and a row, its *singular value decomposition*:
#
# $$ \Delta W = \sum_{i=1}^{\min(d, k)} \sigma_i\, u_i v_i^\top, \qquad \sigma_1 \ge \sigma_2 \ge \dots \ge 0 $$
#
# where the $u_i$ have length 1 and are at right angles to each other, and so do the $v_i$. As a map, $\Delta W$ takes
# the part of its input along $v_i$, multiplies it by $\sigma_i$, and writes it along $u_i$. The number of nonzero
# $\sigma_i$ is the *rank*: how many directions the matrix uses. $\sum_i \sigma_i^2$ is the sum of all squared entries,
# $\|\Delta W\|_F^2$; we call it the *energy*. The first $r$ terms are the best approximation of rank $r$; they lose
# exactly the energy of the other terms (Eckart and Young 1936).
#
# No update has low rank to the last digit, so we compare it with noise: a Gaussian matrix of the same shape and energy.
#
# **Number.** For each kind of matrix in the blocks: the size of $\Delta W$ relative to $W_0$, the share of its energy
# in the first 4 directions, and how many directions hold 90 % of it.

# %%
MATRICES = [f"{path}.weight" for path, layer in base.named_modules() if path.endswith("_proj")]
before = {name: base.named_parameters()[name].data for name in MATRICES}
rng = np.random.default_rng(0)
deltas = [{name: model.named_parameters()[name].data - before[name] for name in MATRICES} for model in models]
controls = [{name: gaussian_control(dW, rng) for name, dW in delta.items()} for delta in deltas]
sigma = [{name: singular_values(dW) for name, dW in delta.items()} for delta in deltas]
noise = [{name: singular_values(dW) for name, dW in control.items()} for control in controls]

first = MATRICES[0]
energy = (deltas[0][first] ** 2).sum()
assert np.isclose((sigma[0][first] ** 2).sum(), energy, rtol=1e-4), "energy is the sum of the squares"

print(f"{'':<12}{'|dW| / |W0|':>12}{'energy in 4':>14}{'(noise)':>10}{'90 % in':>10}{'(noise)':>10}")
for kind in ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"):
    names = [name for name in MATRICES if f".{kind}." in name]
    size = np.mean([np.linalg.norm(d[n]) / np.linalg.norm(before[n]) for d in deltas for n in names])
    share, noise_share = (np.mean([energy_share(s[n], 4) for s in each for n in names]) for each in (sigma, noise))
    rank, noise_rank = (np.mean([rank_for_energy(s[n]) for s in each for n in names]) for each in (sigma, noise))
    print(f"{kind:<12}{size:12.3f}{share:14.0%}{noise_share:10.0%}{rank:10.0f}{noise_rank:10.0f}")

for spectra, noise_spectra in zip(sigma, noise, strict=True):
    for name in MATRICES:
        assert energy_share(spectra[name], 4) > energy_share(noise_spectra[name], 4), name
        assert rank_for_energy(spectra[name]) < rank_for_energy(noise_spectra[name]), name

# %% [markdown]
# Two things hold in every matrix and on every seed (asserted): the first 4 directions hold a larger share of the energy
# than those of noise do, and it takes fewer directions to hold 90 % of it. But fewer is not few: 90 % still takes
# between a fifth and a half of all directions, so this $\Delta W$ does *not* have low rank, whatever the paper's idea
# might suggest.
#
# There is one more thing to compare with: $W_0$ itself.

# %%
of_W0 = {name: singular_values(W0) for name, W0 in before.items()}
print("90 % of the energy of W0 in:", end="")
for kind in ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"):
    ranks = [rank_for_energy(of_W0[name]) for name in MATRICES if f".{kind}." in name]
    print(f"  {kind} {np.mean(ranks):.0f}", end="")
print(" directions")

# %% [markdown]
# By this measure, $W_0$ is hardly less concentrated than $\Delta W$. "Weights are not low-rank, updates are" is a
# sentence that you will meet often; the energy does not support it. Section 4 looks for a difference that does exist.
#
# Each term of the decomposition is an *outer product*, a column times a row. This is how they add up to one of the
# updates:

# %%
from minilora import pictures
from minilora.plots import show_animation

show_figure(pictures.added_at_rank(deltas[0]["blocks.0.attn.o_proj.weight"]), "04_added_at_rank.png")

# %% [markdown]
# Rows and columns are sorted along the first term; their order means nothing. A matrix of rank 1 is a single pattern of
# rows times a single pattern of columns. Every further term adds one more.
#
# How does the spectrum come about? We train once more, and look every eight steps.

# %%
growing, on_the_way = copy.deepcopy(base), []
W = growing.blocks[0].attn.o_proj.weight
optimizer, batches = ml.Adam(growing, lr=best), np.random.default_rng(SEEDS[0])
for step in range(49):
    if step % 8 == 0:
        on_the_way.append(singular_values(W.data - before["blocks.0.attn.o_proj.weight"]))
    batch = train.sample(batches, 8)
    _, grads = ml.loss_and_grads(growing, batch.tokens, batch.targets, workers=2)
    optimizer.step(grads)

figure, axes = subplots(figsize=(5.5, 3.4))
(line,) = axes.plot(on_the_way[0], color=FULL)
axes.set(xlabel="i", ylabel=r"$\sigma_i$", ylim=(0, 1.05 * on_the_way[-1][0]))


def draw(frame: int) -> None:
    line.set_ydata(on_the_way[frame])
    axes.set_title(rf"Singular values of $\Delta W$ after {8 * frame} steps ($W_o$ of block 0)")


show_animation(figure, draw, len(on_the_way), "04_spectrum_grows.png")

# %% [markdown]
# A few directions run ahead, and a long tail follows. Is Adam a reason for the tail? It moves every entry by about the
# same amount, even where the gradient is almost nothing (lesson 3). We test that: the same 48 batches with plain
# gradient descent, at the better of two rates.


# %%
def descended(lr: float, seed: int = 0) -> ml.GPT:
    """48 steps of w <- w - lr g, on the batches that `fine_tuned` sees."""
    model, rng = copy.deepcopy(base), np.random.default_rng(seed)
    parameters = model.named_parameters()
    for _ in range(48):
        batch = train.sample(rng, 8)
        _, grads = ml.loss_and_grads(model, batch.tokens, batch.targets, workers=2)
        for name, g in grads.items():
            parameters[name].data -= lr * g
    return model


by_descent = {lr: descended(lr) for lr in (0.03, 0.1)}
plain_losses = {lr: ml.evaluate(model, validation) for lr, model in by_descent.items()}
lr_descent = min(plain_losses, key=plain_losses.get)
after = by_descent[lr_descent].named_parameters()
directions = {
    "Adam": [rank_for_energy(sigma[0][name]) for name in MATRICES],
    "gradient descent": [rank_for_energy(singular_values(after[name].data - before[name])) for name in MATRICES],
}
for (name, ranks), loss in zip(directions.items(), (losses[best], plain_losses[lr_descent]), strict=True):
    print(f"{name:<18}loss {loss:.3f}; 90 % of |dW|^2 in {np.mean(ranks):.0f} directions on average")
assert np.mean(directions["gradient descent"]) < 0.8 * np.mean(directions["Adam"])

# %% [markdown]
# Without Adam, the update is concentrated in fewer directions. So part of the long tail is Adam's, and part of it is
# not. (Gradient descent has also learned less in these steps, which is why we use Adam.)
#
# ## 4. Which part of it does the work?
# **Question.** Energy is not usefulness. Is the low-rank part of $\Delta W$ the part that lowers the loss?
#
# **Code.** Add only the first $r$ terms of every $\Delta W$ to the base, leave everything else (embeddings, biases,
# LayerNorms) as it was, and evaluate. For comparison: noise with the energy of the full update.


# %%
def truncated(dW: np.ndarray, r: int) -> np.ndarray:
    """The best approximation of rank r: the first r terms of the decomposition."""
    U, s, Vt = np.linalg.svd(dW, full_matrices=False)
    return (U[:, :r] * s[:r]) @ Vt[:r]


def loss_with(delta: dict[str, np.ndarray]) -> float:
    model = copy.deepcopy(base)
    for name, parameter in model.named_parameters().items():
        if name in delta:
            parameter.data += delta[name].astype(np.float32)
    return ml.evaluate(model, validation)


most = min(before[MATRICES[0]].shape)
RANKS = (1, 2, 4, 8, 16, 32, 64, most)
by_rank = np.array([[loss_with({n: truncated(dW, r) for n, dW in d.items()}) for r in RANKS] for d in deltas])
with_noise = np.array([loss_with(control) for control in controls])
gain = base_loss - by_rank[:, -1]  # from the matrices' complete updates
kept_gain = (base_loss - by_rank) / gain[:, None]
print(f"{'rank':>6}{'loss':>16}{'share of the gain':>19}{'share of numbers':>18}")
whole = sum(dW.size for dW in deltas[0].values())
for i, r in enumerate(RANKS):
    numbers = sum(r * sum(dW.shape) for dW in deltas[0].values())
    mean, deviation = by_rank[:, i].mean(), by_rank[:, i].std(ddof=1)
    print(f"{r:6}{mean:9.3f} ± {deviation:.3f}{kept_gain[:, i].mean():19.0%}{min(numbers / whole, 1):18.0%}")
print(f" noise{with_noise.mean():9.3f} ± {with_noise.std(ddof=1):.3f}{((base_loss - with_noise) / gain).mean():19.0%}")

# %% [markdown]
# On every seed, we assert three things: rank 4 keeps a larger share of the gain than of the energy; rank 16 keeps most
# of the gain; and noise of the same energy gains next to nothing.

# %%
for i in range(len(SEEDS)):
    energy = np.mean([energy_share(sigma[i][name], 4) for name in MATRICES])
    part = kept_gain[i, RANKS.index(4)]
    print(f"seed {SEEDS[i]}: rank 4 holds {energy:.0%} of the energy and {part:.0%} of the gain")
    assert part > energy
assert (with_noise > by_rank[:, -1]).all()
assert (with_noise > base_loss - 0.1 * gain).all()
assert (kept_gain[:, RANKS.index(16)] > 0.5).all()

# %% [markdown]
# And the weights? We cut every $W_0$ down to its first $r$ terms, without any update.

# %%
W0_cut = {r: loss_with({name: truncated(W0, r) - W0 for name, W0 in before.items()}) for r in (128, 64, 32, 16)}
print(", ".join(f"W0 cut to rank {r}: {loss:.3f}" for r, loss in W0_cut.items()), "nats per byte")
frequency = np.bincount(train_tokens, minlength=256) / len(train_tokens)
frequency = frequency[frequency > 0]
print(f"the counts of single bytes (lesson 3): {-(frequency * np.log(frequency)).sum():.3f}")
assert abs(W0_cut[128] - base_loss) < 1e-3
assert W0_cut[32] > base_loss + 1

# %% [markdown]
# That is the difference between weights and updates, and it is one of *function*. Cut to rank 32, the update keeps
# nearly all of its gain; cut to rank 32, the weights have lost most of what they knew. The model needs the small
# directions of $W_0$, and hardly needs those of $\Delta W$.
#
# So the useful part of an update is concentrated in a few directions. Aghajanyan et al. (2020) found that large models
# can be fine-tuned in a surprisingly small random subspace (lesson 9); from this, Hu et al. (2021, section 4.1)
# hypothesized that the *update of each matrix* has a low "intrinsic rank". If so, why train all $dk$ entries and cut
# the update down afterwards? Train only a few directions from the start. That is LoRA, lesson 5. It can do better than
# the truncation here, because it chooses its $r$ directions to lower the loss, not to match the energy of an update
# that had all directions available.
#
# ## 5. The picture

# %%
figure, (left, right) = subplots(1, 2, figsize=(9, 3.8))
for spectra, color, style, label in (
    (sigma, FULL, "-", r"$\Delta W$ of full fine-tuning"),
    (noise, BASE, "--", "noise"),
):
    stack = np.stack([s[name] / np.linalg.norm(s[name]) for s in spectra for name in MATRICES])
    index = np.arange(1, stack.shape[1] + 1)
    left.plot(index, stack.mean(axis=0), style, color=color, label=label)
    left.fill_between(index, *np.quantile(stack, (0.1, 0.9), axis=0), color=color, alpha=0.2, linewidth=0)
left.set(title="Singular values", xlabel="i", ylabel=r"$\sigma_i\,/\,\|\Delta W\|_F$", ylim=(0, None))
left.legend(title=f"{len(MATRICES)} matrices, 3 seeds:\nmean, middle 80 %", fontsize=9)
plot_spread(
    right, dict(zip(RANKS, by_rank.T, strict=True)), "o-", color=FULL, label=r"first $r$ terms of every $\Delta W$"
)
right.axhline(base_loss, color=BASE, linestyle="-.", label="base")
right.axhline(full_losses.mean(), color=FULL, linestyle=":", linewidth=2, label="full fine-tuning, all parameters")
plot_spread(right, {most: with_noise}, "s", color=OTHER, label="noise instead")
right.set_xscale("log", base=2)
right.set_xticks(RANKS, [str(r) for r in RANKS])
right.set(title="How much of the gain is left", xlabel="rank r", ylabel="held-out loss (nats per byte)")
right.legend(fontsize=8)
show_figure(figure, "04_full_fine_tuning.png")

# %% [markdown]
# Left: the singular values of the update fall faster than those of noise, but have a long tail. Right: the loss when
# only the first $r$ terms are kept; means of three seeds, with bars of one standard deviation.
#
# ## What to try next
# - Train ten times as long. Does $\Delta W$ gain directions, or do its directions grow?
# - Leave *out* the first 4 terms and keep the others: how much of the gain remains?
# - Exercises 9 (Adam's memory) and 10 (SVD truncation).
