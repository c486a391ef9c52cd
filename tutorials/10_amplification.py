# %% [markdown]
# # 10 · What does $\Delta W$ amplify?
#
# **After this lesson you can**
# - say how much of one matrix lies in the directions of another, and what chance would give;
# - reproduce the argument of the paper's section 7.3 in miniature: an update strengthens directions which the
#   weight has, but does not stress;
# - compute the amplification factor, and explain why a *random* matrix has a larger one;
# - look at which inputs those directions see.
#
# **You need** `pip install -e ".[plots]"`; lesson 9 (singular vectors, chance). Half a minute to run.
#
# **Symbols.** $W \in \mathbb{R}^{d \times k}$: a frozen weight. $\Delta W = \frac{\alpha}{r} B A$: LoRA's update, of
# rank $r$. $\lVert M \rVert_F$: the Frobenius norm, the root of the sum of all squared entries of $M$.
# $U \in \mathbb{R}^{d \times r}$, $V \in \mathbb{R}^{k \times r}$: the first $r$ left and right singular vectors of a
# matrix, as columns. $W_q$, $W_v$: the matrices of a block that make queries and values.

# %%
import copy
import statistics
from itertools import product

import numpy as np

import minilora as ml
from minilora.analysis import amplification_factor, gaussian_control, projection_norm
from minilora.plots import BASE, LORA, OTHER, show_figure, subplots

# %% [markdown]
# ## 1. How much of $W$ lies in some directions?
# **Question.** $\Delta W$ has $r$ directions at the input and $r$ at the output. What did $W$ do with them before?
#
# **Formula.** $U^\top W V$ is the $r \times r$ piece of $W$ that leads from the directions $V$ to the directions $U$.
# How large can and should $\lVert U^\top W V \rVert_F$ be?
#
# - At most, with $W$'s own first singular vectors: $\sqrt{\sigma_1^2 + \dots + \sigma_r^2}$.
# - By chance, with random directions: the squares of all $d k$ entries sum to $\lVert W \rVert_F^2$; turned into a
#   random basis they are all alike on average, and the piece has $r^2$ of them:
#
# $$ \mathbb{E}\, \lVert U^\top W V \rVert_F^2 = \frac{r^2}{d k} \lVert W \rVert_F^2 \qquad
#   \lVert U^\top W V \rVert_F \approx \frac{r}{\sqrt{d k}} \lVert W \rVert_F $$
#
# **Number.** The paper's table 7 has a column of random directions, for $W_q$ in the 48th layer of GPT-3:
# $\lVert W_q \rVert_F = 61.95$, $d = k = 12288$. The formula gives that column:

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
# **Code.** LoRA on $W_q$ and $W_v$, rank 4 and rank 64 as in the paper, three seeds of each; the task is Python source.

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
# divided by $\lVert W \rVert_F$ so that blocks can be averaged. The deviation is over seeds.

# %%
rng = np.random.default_rng(0)
rows: dict[tuple, list[float]] = {}  # (r, name, whose directions) -> a mean over the blocks for each seed
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
    cells = (rows[r, name, whose] for whose in ("random", "dW", "W"))
    print(
        f"{f'r = {r}, {name}':<16}{r / k:>9.3f}"
        + "".join(f"{statistics.mean(c):>10.3f} ± {statistics.stdev(c):.3f}" for c in cells)
    )
for r, name in product(RANKS, NAMES):
    for i in range(len(SEEDS)):
        assert rows[r, name, "random"][i] < rows[r, name, "dW"][i] < rows[r, name, "W"][i]
        assert abs(rows[r, name, "random"][i] / (r / k) - 1) < 0.5

# %% [markdown]
# The paper's first two conclusions, in our numbers: $\Delta W$'s directions have more of $W$ in them than random ones
# (it works with features that $W$ has), and far less than $W$'s own first directions (it does not repeat what $W$
# stresses already). The excess over chance is smaller here than the paper's:

# %%
print(f"{'':<28}{'r = 4':>8}{'r = 64':>8}")
print(f"{'paper, W_q':<28}" + "".join(f"{PAPER[r]['dW'] / (r / 12288 * PAPER_W):>8.1f}" for r in RANKS))
for name in NAMES:
    excess = [statistics.mean(rows[r, name, "dW"]) / (r / k) for r in RANKS]
    print(f"{'here, ' + name:<28}" + "".join(f"{value:>8.1f}" for value in excess))
    assert excess[0] < PAPER[4]["dW"] / (4 / 12288 * PAPER_W)

# %% [markdown]
# **Where the miniature disagrees, and why.** In part it must: 64 of 128 directions are half of all there are, so chance
# alone gives half of $\lVert W \rVert_F$, and no factor above 2 is possible; of 12288 they are half a per cent. And our
# $A$ is still in part its random start (lesson 9), so its directions are in part random ones.
#
# ## 3. The amplification factor
# **Question.** How much stronger is the update in its directions than the weight was?
#
# **Formula** (section 7.3).
#
# $$ \text{amplification} = \frac{\lVert \Delta W \rVert_F}{\lVert U^\top W V \rVert_F}, \qquad
#    U, V \text{ from } \Delta W $$
#
# The paper finds about 21 at $r = 4$ ($6.91 / 0.32$) and about 2 at $r = 64$, and reads: few directions, those that the
# task needs, are amplified by a huge factor.
#
# **The control.** A *random* matrix of the same norm. $W$ has next to nothing in random directions, so the quotient
# is larger still! By the formula of section 1 it is $\lVert \Delta W \rVert_F \sqrt{dk} / (r \lVert W \rVert_F)$.

# %%
factors: dict[tuple, list[float]] = {}
for r, name, seed in product(RANKS, NAMES, SEEDS):
    pairs = [(weight(b, name), updates[r, seed, b, name]) for b in range(L)]
    noise = [(W, gaussian_control(dW, rng)) for W, dW in pairs]
    factors.setdefault((r, name, "dW"), []).append(statistics.mean(amplification_factor(*pair, r) for pair in pairs))
    factors.setdefault((r, name, "random"), []).append(
        statistics.mean(amplification_factor(*pair, r) for pair in noise)
    )
for r, name in product(RANKS, NAMES):
    a, b = factors[r, name, "dW"], factors[r, name, "random"]
    print(f"r = {r:>2}, {name}: dW {statistics.mean(a):>6.2f} ± {statistics.stdev(a):.2f}", end="")
    print(f", random matrix of that norm {statistics.mean(b):>6.2f} ± {statistics.stdev(b):.2f}")
    assert all(x < y for x, y in zip(a, b, strict=True)), "the random matrix 'amplifies' more"
for name, i in product(NAMES, range(len(SEEDS))):
    assert factors[4, name, "dW"][i] > factors[64, name, "dW"][i], "the factor falls with r, as in the paper"
for r, row in PAPER.items():
    print(f"paper, r = {r:>2}: dW {row['norm'] / row['dW']:>6.1f}, random {row['norm'] / (r / 12288 * PAPER_W):>6.1f}")
    assert row["norm"] / row["dW"] < row["norm"] / (r / 12288 * PAPER_W)

# %% [markdown]
# So a large factor alone says little: noise has a larger one. Neither number stands without the other. *Together*
# they say it: the directions are **not** random (section 2: they have more of $W$ than chance) and **not** the ones
# that $W$ stresses, and in them the update is as strong as the weight or stronger.

# %%
figure, (left, right) = subplots(1, 2, figsize=(7.8, 3.5))
kinds = {"random": (BASE, "x", "random"), "dW": (LORA, "o", r"of $\Delta W$"), "W": (OTHER, "s", "of $W$")}
places = {(4, "q_proj"): 0, (4, "v_proj"): 1, (64, "q_proj"): 2, (64, "v_proj"): 3}
for whose, (color, marker, label) in kinds.items():
    values = [rows[r, name, whose] for r, name in places]
    left.errorbar(
        list(places.values()),
        [statistics.mean(v) for v in values],
        [statistics.stdev(v) for v in values],
        fmt=marker,
        color=color,
        capsize=4,
        markersize=8,
        label=label,
    )
paper_x = [4, 5]
for whose, (color, marker, _) in kinds.items():
    left.plot(paper_x, [PAPER[r][whose] / PAPER_W for r in RANKS], marker, color=color, markersize=8)
left.axvline(3.5, color="black", linewidth=0.8, linestyle=":")
ticks = ["$W_q$\nr=4", "$W_v$\nr=4", "$W_q$\nr=64", "$W_v$\nr=64", "GPT-3\nr=4", "GPT-3\nr=64"]
left.set_xticks(range(6), ticks, fontsize=8)
left.set(yscale="log", ylabel=r"$\|U^\top W V\|_F\,/\,\|W\|_F$", title="$W$ in whose directions?")
left.legend(title="directions", fontsize=8, title_fontsize=8, loc="lower left", ncols=1)
for whose, (color, marker, _) in list(kinds.items())[:2]:
    values = [factors[r, name, whose] for r, name in places]
    right.errorbar(
        list(places.values()),
        [statistics.mean(v) for v in values],
        [statistics.stdev(v) for v in values],
        fmt=marker,
        color=color,
        capsize=4,
        markersize=8,
        label={"dW": r"$\Delta W$", "random": "random, same norm"}[whose],
    )
right.plot(paper_x, [PAPER[r]["norm"] / PAPER[r]["dW"] for r in RANKS], "o", color=LORA, markersize=8)
right.plot(paper_x, [PAPER[r]["norm"] / (r / 12288 * PAPER_W) for r in RANKS], "x", color=BASE, markersize=8)
right.axvline(3.5, color="black", linewidth=0.8, linestyle=":")
right.set_xticks(range(6), ticks, fontsize=8)
right.set(yscale="log", ylabel="amplification factor", title="how much stronger is the update?")
right.legend(fontsize=8)
show_figure(figure, "10_amplification.png")

# %% [markdown]
# ![amplification](figures/10_amplification.png)
#
# ## 4. What do these directions see?
# **Question.** Are they directions that the *task's* text has, more than the text which the base grew up with?
#
# **Formula.** Let $x$ be an input of the layer, with its mean over the text taken off. The share of its square that
# lies in the directions $V$ is $\lVert V^\top x \rVert^2 / \lVert x \rVert^2$: on average $r/k$ if $V$ is random. We
# compute it on unseen source and on documentation, both through the frozen base.

# %%
docs = tokenizer.encode(ml.python_docs())
texts = {"source": test, "documentation": ml.TextData(docs[-4096:], 64)}


def layer_inputs(tokens: np.ndarray) -> list[np.ndarray]:
    """What each block's q and v read, (tokens, k): the block's input through its first LayerNorm."""
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
    quotients = [a / b for a, b in zip(found["source"], found["documentation"], strict=True)]
    print(f"{name}, quotient        {statistics.mean(quotients):.2f} ± {statistics.stdev(quotients):.2f}")

# %% [markdown]
# The directions see more of the input than chance would, on both texts. The quotient says how much more of the task's
# text than of the other: where it is clearly above 1, the update listens for what marks the task. It is no large
# number, since the same letters and words occur in both texts, and much of what an update does is to change their
# *use*.
#
# ## What to try next
# - Exercise 22: the amplification factor.
# - Draw the factor for $r = 1, 2, 4, \dots, 128$ with one seed each. Where does it fall below 1? Must it?
# - Scale $\Delta W$ by 10. Which of the numbers of this lesson change, and which cannot?
# - The same for the update of a *full* fine-tuning, with its first 4 directions (lesson 4). Is the excess over chance
#   larger when no random $A$ stands in the way?
