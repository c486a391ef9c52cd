# %% [markdown]
# # 10 · What does $\Delta W$ amplify?
#
# **After this lesson you can**
# - measure how much of one matrix lies in the directions of another, and how much would lie there by chance;
# - reproduce the argument of the paper's section 7.3 in miniature: an update strengthens directions that the weight has
#   but does not emphasize;
# - compute the amplification factor, and explain why a *random* matrix has a larger one;
# - find out which inputs have components along those directions.
#
# **You need** `pip install -e ".[plots]"`; lesson 9 (singular vectors, chance). It takes half a minute to run.
#
# **Symbols.** $W \in \mathbb{R}^{d \times k}$: a frozen weight. $\Delta W = \frac{\alpha}{r} B A$: LoRA's update, of
# rank $r$. $\lVert M \rVert_F$: the Frobenius norm, the square root of the sum of all squared entries of $M$.
# $U \in \mathbb{R}^{d \times r}$, $V \in \mathbb{R}^{k \times r}$: the first $r$ left and right singular vectors of a
# matrix, as columns. $W_q$, $W_v$: the matrices of a block that compute queries and values.

# %%
import copy
import statistics
from itertools import product

import numpy as np

import minilora as ml
from minilora import pictures
from minilora.analysis import amplification_factor, gaussian_control, projection_norm
from minilora.plots import BASE, LORA, OTHER, plot_spread, show_figure, subplots

# %% [markdown]
# A weight stretches some directions of its input and shrinks others. An update of rank 1 changes what happens to one of
# them, $a$, and writes the change along one direction of the output, $b$:

# %%
show_figure(pictures.stretched(), "10_stretched.png")

# %% [markdown]
# Here $W_0$ nearly ignored the upward direction, and the update makes it the strongest. Is that what LoRA does?
#
# ## 1. How much of $W$ lies in certain directions?
# **Question.** $\Delta W$ has $r$ directions at the input and $r$ at the output. What did $W$ do with them before?
#
# **Formula.** $U^\top W V$ is the $r \times r$ piece of $W$ that leads from the directions $V$ to the directions $U$.
# How large can $\lVert U^\top W V \rVert_F$ be, and how large should we expect it to be?
#
# - At most, with $W$'s own first singular vectors: $\sqrt{\sigma_1^2 + \dots + \sigma_r^2}$.
# - By chance, with random directions: the squares of all $d k$ entries sum to $\lVert W \rVert_F^2$. In a random basis,
#   all entries have the same expected square, and the piece has $r^2$ of them:
#
# $$ \mathbb{E}\, \lVert U^\top W V \rVert_F^2 = \frac{r^2}{d k} \lVert W \rVert_F^2 \qquad
#   \lVert U^\top W V \rVert_F \approx \frac{r}{\sqrt{d k}} \lVert W \rVert_F $$
#
# **Number.** The paper's table 7 has a column for random directions, for $W_q$ in the 48th layer of GPT-3:
# $\lVert W_q \rVert_F = 61.95$, $d = k = 12288$. The formula reproduces that column:

# %%
PAPER = {
    4: {"dW": 0.32, "W": 21.67, "random": 0.02, "norm": 6.91},
    64: {"dW": 1.90, "W": 37.71, "random": 0.33, "norm": 3.57},
}
PAPER_W = 61.95
for r, row in PAPER.items():
    by_formula = r / 12288 * PAPER_W
    print(f"r = {r:>2}: r / sqrt(d k) ||W|| = {by_formula:.3f}, the paper measured {row['random']}")
    assert abs(by_formula - row["random"]) < 0.01

# %% [markdown]
# ## 2. The same table here
# **Code.** LoRA on $W_q$ and $W_v$, at rank 4 and rank 64 as in the paper, with three seeds each; the task is Python
# source. (The base's loss on it is 1.71 in lessons 9, 10, 12 and 14, and 1.57 in lesson 4: other held-out files.)

# %%
base, tokenizer = ml.load_base()
k, L = base.config.n_embd, base.config.n_layer
code = tokenizer.encode(ml.python_source(400_000))
cut = len(code) * 9 // 10
train, test = ml.TextData(code[:cut], 64), ml.TextData(code[cut:][:4096], 64)
SEEDS, RANKS, NAMES = (0, 1, 2), (4, 64), ("q_proj", "v_proj")
start = ml.evaluate(base, test)
updates = {}
for r, seed in product(RANKS, SEEDS):
    config = ml.LoraConfig(r=r, lora_alpha=r, target_modules=NAMES)
    model = ml.add_lora(copy.deepcopy(base), config, seed=10 * r + seed)
    ml.fit(model, train, steps=60, lr=1e-2, batch_size=8, seed=seed, workers=2, progress=False)
    after = ml.evaluate(model, test)
    print(f"r = {r:>2}, seed {seed}: {start:.2f} -> {after:.3f} nats per byte")
    assert after < start
    for block, name in product(range(L), NAMES):
        updates[r, seed, block, name] = getattr(model.blocks[block].attn, name).delta()


def weight(block: int, name: str) -> np.ndarray:
    return getattr(base.blocks[block].attn, name).weight.data


# %% [markdown]
# **Number.** $\lVert U^\top W V \rVert_F$ with the directions of $\Delta W$, of $W$ itself, and of a random matrix, all
# divided by $\lVert W \rVert_F$ so that we can average over blocks. The ± is the standard deviation over seeds.

# %%
rng = np.random.default_rng(0)
rows: dict[tuple, list[float]] = {}  # (r, name, whose directions) -> the mean over the blocks, for each seed
for r, name, seed in product(RANKS, NAMES, SEEDS):
    shares: dict[str, list[float]] = {"dW": [], "W": [], "random": []}
    for block in range(L):
        W, dW = weight(block, name), updates[r, seed, block, name]
        for whose, M in (("dW", dW), ("W", W), ("random", gaussian_control(dW, rng))):
            shares[whose].append(projection_norm(W, M, r) / np.linalg.norm(W))
    for whose, values in shares.items():
        rows.setdefault((r, name, whose), []).append(statistics.mean(values))

print(f"{'':<16}{'chance':>9}" + "".join(f"{whose:>18}" for whose in ("random", "dW", "W")))
for r, name in product(RANKS, NAMES):
    cells = [rows[r, name, whose] for whose in ("random", "dW", "W")]
    text = "".join(f"{statistics.mean(c):>10.3f} ± {statistics.stdev(c):.3f}" for c in cells)
    print(f"{f'r = {r}, {name}':<16}{r / k:>9.3f}{text}")
    for random, dW, W in zip(*cells, strict=True):
        assert random < dW < W
        assert abs(random / (r / k) - 1) < 0.5

# %% [markdown]
# Our numbers support the paper's first two conclusions. The directions of $\Delta W$ contain more of $W$ than random
# ones do (so the update works with features that $W$ has), and far less than $W$'s own first directions do (so it does
# not repeat what $W$ already emphasizes). The excess over chance is smaller here than in the paper:

# %%
print(f"{'':<28}{'r = 4':>8}{'r = 64':>8}")
print(f"{'paper, W_q':<28}" + "".join(f"{PAPER[r]['dW'] / (r / 12288 * PAPER_W):>8.1f}" for r in RANKS))
for name in NAMES:
    excess = [statistics.mean(rows[r, name, "dW"]) / (r / k) for r in RANKS]
    print(f"{'here, ' + name:<28}" + "".join(f"{value:>8.1f}" for value in excess))
    assert excess[0] < PAPER[4]["dW"] / (4 / 12288 * PAPER_W)

# %% [markdown]
# **Where the miniature disagrees, and why.** Some of this is unavoidable: 64 of 128 directions are half of all there
# are, so chance alone gives half of $\lVert W \rVert_F$, and no factor above 2 is possible; 64 of 12288 are half a per
# cent. Is $A$'s random start another reason (lesson 9)? Full fine-tuning has no $A$. We compute the same excess for
# the first 4 and 64 directions of its update.

# %%
fully = copy.deepcopy(base)
ml.fit(fully, train, steps=60, lr=3e-4, batch_size=8, workers=2, progress=False)
print(f"{'full, first directions':<28}{'4':>8}{'64':>8}")
for name in NAMES:
    tuned = [getattr(fully.blocks[b].attn, name).weight.data - weight(b, name) for b in range(L)]
    excess = []
    for r in RANKS:
        norms = [projection_norm(weight(b, name), tuned[b], r) / np.linalg.norm(weight(b, name)) for b in range(L)]
        excess.append(statistics.mean(norms) / (r / k))
    print(f"{'here, ' + name:<28}" + "".join(f"{value:>8.1f}" for value in excess))

# %% [markdown]
# So it is a reason: without an $A$ in the way, the excess at rank 4 is larger, for $W_q$ twice as large. It is not the
# only one: the paper's 15.9 is larger still.
#
# ## 3. The amplification factor
# **Question.** How much stronger is the update, in its own directions, than the weight was there?
#
# **Formula** (section 7.3).
#
# $$ \text{amplification} = \frac{\lVert \Delta W \rVert_F}{\lVert U^\top W V \rVert_F}, \qquad
#    U, V \text{ from } \Delta W $$
#
# The paper finds about 21 at $r = 4$ ($6.91 / 0.32$) and about 2 at $r = 64$, and interprets it this way: a few
# directions, those that the task needs, are amplified by a huge factor.
#
# **The control.** A *random* matrix of the same norm. $W$ has almost nothing in random directions, so the ratio is even
# larger! By the formula of section 1, it is $\lVert \Delta W \rVert_F \sqrt{dk} / (r \lVert W \rVert_F)$.

# %%
factors: dict[tuple, list[float]] = {}
for r, name, seed in product(RANKS, NAMES, SEEDS):
    pairs = [(weight(b, name), updates[r, seed, b, name]) for b in range(L)]
    noise = [(W, gaussian_control(dW, rng)) for W, dW in pairs]
    for whose, both in (("dW", pairs), ("random", noise)):
        factor = statistics.mean(amplification_factor(W, M, r) for W, M in both)
        factors.setdefault((r, name, whose), []).append(factor)
for r, name in product(RANKS, NAMES):
    a, b = factors[r, name, "dW"], factors[r, name, "random"]
    print(f"r = {r:>2}, {name}: dW {statistics.mean(a):>6.2f} ± {statistics.stdev(a):.2f}", end="")
    print(f", random matrix of the same norm {statistics.mean(b):>6.2f} ± {statistics.stdev(b):.2f}")
    assert all(x < y for x, y in zip(a, b, strict=True)), "the random matrix 'amplifies' more"
for name, i in product(NAMES, range(len(SEEDS))):
    assert factors[4, name, "dW"][i] > factors[64, name, "dW"][i], "the factor falls with r, as in the paper"
for r, row in PAPER.items():
    print(f"paper, r = {r:>2}: dW {row['norm'] / row['dW']:>6.1f}, random {row['norm'] / (r / 12288 * PAPER_W):>6.1f}")
    assert row["norm"] / row["dW"] < row["norm"] / (r / 12288 * PAPER_W)

# %% [markdown]
# So a large factor proves little by itself: noise has a larger one. Each number needs the other. *Together* they show
# that the directions are **not** random (section 2: they contain more of $W$ than chance) and **not** the ones that $W$
# emphasizes, and that in them the update is as strong as the weight or stronger.

# %%
figure, (left, right) = subplots(1, 2, figsize=(7.8, 3.5))
kinds = {"random": (BASE, "x", "random"), "dW": (LORA, "o", r"of $\Delta W$"), "W": (OTHER, "s", "of $W$")}
places = {(4, "q_proj"): 0, (4, "v_proj"): 1, (64, "q_proj"): 2, (64, "v_proj"): 3}
paper_factors = {
    "random": [PAPER[r]["norm"] / (r / 12288 * PAPER_W) for r in RANKS],
    "dW": [PAPER[r]["norm"] / PAPER[r]["dW"] for r in RANKS],
}
for whose, (color, marker, label) in kinds.items():
    look = dict(color=color, markersize=8)
    plot_spread(left, {x: rows[(*key, whose)] for key, x in places.items()}, marker, label=label, **look)
    left.plot([4, 5], [PAPER[r][whose] / PAPER_W for r in RANKS], marker, **look)
    if whose in paper_factors:
        label = {"dW": r"$\Delta W$", "random": "random, same norm"}[whose]
        plot_spread(right, {x: factors[(*key, whose)] for key, x in places.items()}, marker, label=label, **look)
        right.plot([4, 5], paper_factors[whose], marker, **look)
ticks = ["$W_q$\nr=4", "$W_v$\nr=4", "$W_q$\nr=64", "$W_v$\nr=64", "GPT-3\nr=4", "GPT-3\nr=64"]
for panel in (left, right):
    panel.axvline(3.5, color="black", linewidth=0.8, linestyle=":")
    panel.set_xticks(range(6), ticks, fontsize=8)
left.set(yscale="log", ylabel=r"$\|U^\top W V\|_F\,/\,\|W\|_F$", title="How much of $W$ is in the directions ...")
left.legend(fontsize=8, loc="lower left")
right.set(yscale="log", ylabel="amplification factor", title="How much stronger is the update?")
right.legend(fontsize=8)
show_figure(figure, "10_amplification.png")

# %% [markdown]
# ## 4. What do these directions see?
# **Question.** Does the *task's* text have more in these directions than the text that the base was trained on?
#
# **Formula.** Let $x$ be an input of the layer, minus its mean over the text. The share of its squared length that lies
# in the directions $V$ is $\lVert V^\top x \rVert^2 / \lVert x \rVert^2$; for a random $V$ it is $r/k$ on average. We
# compute it on unseen source and on documentation, both run through the frozen base.

# %%
docs = tokenizer.encode(ml.python_docs())
texts = {"source": test, "documentation": ml.TextData(docs[-4096:], 64)}


def layer_inputs(tokens: np.ndarray) -> list[np.ndarray]:
    """What each block's q and v read, (tokens, k): the block's input after its first LayerNorm."""
    x = base.wte.forward(tokens)[0] + base.wpe.weight.data[: tokens.shape[1]]
    inputs = []
    for block in base.blocks:
        inputs.append(block.ln_1.forward(x)[0].reshape(-1, k))
        x = block.forward(x)[0]
    return inputs


seen = {name: layer_inputs(next(iter(text.batches(64))).tokens) for name, text in texts.items()}


def share(x: np.ndarray, V: np.ndarray) -> float:
    x = x - x.mean(axis=0)
    return float(((x @ V) ** 2).sum() / (x**2).sum())


r = 4
print(f"chance: {r / k:.3f}")
for name in NAMES:
    found = {text: [] for text in texts}
    for text, seed in product(texts, SEEDS):
        directions = [np.linalg.svd(updates[r, seed, b, name])[2][:r].T for b in range(L)]
        found[text].append(statistics.mean(share(seen[text][b], directions[b]) for b in range(L)))
        assert found[text][-1] > r / k, "the update looks where the inputs are"
    for text, values in found.items():
        print(f"{name}, {text:<14} {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}")
    ratios = [a / b for a, b in zip(found["source"], found["documentation"], strict=True)]
    print(f"{name}, ratio          {statistics.mean(ratios):.2f} ± {statistics.stdev(ratios):.2f}")

# %% [markdown]
# On both texts, the directions see more of the input than chance would. The ratio shows how much more they see of the
# task's text than of the other: where it is clearly above 1, the update responds to what is characteristic of the task.
# Is a ratio like that large or small? The text itself sets a limit: take the 4 directions in which the source varies
# most, and compute their ratio as well.

# %%
limit = []
for source, documentation in zip(seen["source"], seen["documentation"], strict=True):
    top = np.linalg.svd(source - source.mean(axis=0), full_matrices=False)[2][:4].T
    limit.append(share(source, top) / share(documentation, top))
print(f"the 4 directions that see most of the source: ratio {statistics.mean(limit):.2f}")

# %% [markdown]
# So between 1 and about 1.9, the update's ratio is in the lower half: it responds to what marks the task, but less than
# the directions in which the task's text varies most.
#
# ## What to try next
# - Exercise 22: the amplification factor.
# - Plot the factor for $r = 1, 2, 4, \dots, 128$, with one seed each. Where does it fall below 1? Must it?
# - Multiply $\Delta W$ by 10. Which of this lesson's numbers change, and which cannot?
