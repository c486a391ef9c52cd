# %% [markdown]
# # 9 · Do two runs find the same directions?
#
# **After this lesson you can**
# - say which directions an update uses, and how strongly: its singular value decomposition;
# - use the paper's $\phi$ to measure whether two updates use the *same* directions, and tell agreement from chance;
# - explain why $A$ and $B$ answer that question differently;
# - measure how many directions in the space of *all* parameters a task needs: its intrinsic dimension.
#
# **You need** `pip install -e ".[plots]"`; lesson 4 (singular values of an update) and lesson 5 ($A$ and $B$). It takes
# half a minute to run.
#
# **Symbols.** $W_0 \in \mathbb{R}^{d \times k}$: a frozen weight; here $d = k$. $\Delta W = \frac{\alpha}{r} B A$:
# LoRA's update of rank $r$, $A \in \mathbb{R}^{r \times k}$, $B \in \mathbb{R}^{d \times r}$. $W_q$, $W_v$: the
# matrices of a block that compute queries and values. $L$: number of blocks. Losses are in nats per byte.

# %%
import copy
import statistics
from itertools import product

import numpy as np

import minilora as ml
from minilora.analysis import dimension_for_share, random_similarity, similarity_grid, singular_values
from minilora.methods.subspace import fit_in_subspace
from minilora.plots import BASE, FULL, LORA, OTHER, plot_spread, show_figure, subplots, write_cells

base, tokenizer = ml.load_base()
k, L = base.config.n_embd, base.config.n_layer
code = tokenizer.encode(ml.python_source(400_000))
cut = len(code) * 9 // 10
SEEDS, NAMES = (0, 1, 2), ("q_proj", "v_proj")


def windows(T: int) -> tuple[ml.TextData, ml.TextData]:
    """The task, Python source, in windows of T bytes: nine tenths to train on, 4 kB of the rest to test on."""
    return ml.TextData(code[:cut], T), ml.TextData(code[cut:][:4096], T)


# %% [markdown]
# ## 1. Which directions does an update use?
# **Question.** A matrix of rank 64 can use 64 directions. Does a LoRA of rank 64 use them all?
#
# **Formula.** Every matrix is a sum of $n = \min(d, k)$ terms, its *singular value decomposition*:
#
# $$ \Delta W = \sum_{i=1}^{n} \sigma_i\, u_i v_i^\top, \qquad \sigma_1 \ge \sigma_2 \ge \dots \ge 0 $$
#
# The $v_i \in \mathbb{R}^k$ are orthogonal unit vectors, and so are the $u_i \in \mathbb{R}^d$. Each term takes the
# part of the input along $v_i$, multiplies it by $\sigma_i$, and writes it along $u_i$ at the output. The first $i$
# terms are the best approximation of rank $i$.
#
# **Code.** The paper's section 7.2 trains LoRAs of rank 8 and rank 64 on $W_q$ and $W_v$. So do we, three of each, each
# with its own seed. (With the *same* seed, the rank-8 $A$ of the first layer would start as the first eight rows of the
# rank-64 $A$, because both come from the same random stream, and they would agree before training begins.)

# %%
train, test = windows(64)
start = ml.evaluate(base, test)


def untrained(r: int, seed: int) -> ml.GPT:
    config = ml.LoraConfig(r=r, lora_alpha=r, target_modules=NAMES)
    return ml.add_lora(copy.deepcopy(base), config, seed=10 * r + seed)


models = {}
for r, seed in product((8, 64), SEEDS):
    model = models[r, seed] = untrained(r, seed)
    ml.fit(model, train, steps=60, lr=1e-2, batch_size=8, seed=seed, workers=2, progress=False)
    after = ml.evaluate(model, test)
    print(f"r = {r:>2}, seed {seed}: {start:.2f} -> {after:.3f} nats per byte")
    assert after < start


def update(r: int, seed: int, block: int, name: str) -> np.ndarray:
    return getattr(models[r, seed].blocks[block].attn, name).delta()


# %% [markdown]
# **Number.** At rank 64, how much of $\lVert \Delta W \rVert_F^2 = \sum \sigma_i^2$ do the first 1, 8 and 64 directions
# hold? (Means over blocks and seeds.)

# %%
spectra = {
    (r, name): np.stack([singular_values(update(r, s, b, name)) for s in SEEDS for b in range(L)])
    for r, name in product((8, 64), NAMES)
}
for (r, name), sigma in spectra.items():
    energy = (sigma**2).cumsum(axis=1) / (sigma**2).sum(axis=1, keepdims=True)
    shares = "  ".join(f"first {i}: {energy[:, i - 1].mean():.0%}" for i in (1, 4, 8, 16, 64))
    print(f"r = {r:>2}, {name}: {shares}")
    assert np.allclose(energy[:, r - 1], 1, atol=1e-5), "rank r means r directions and no more"
    if r == 64:
        assert (energy[:, 7] > 3 * 8 / 64).all(), "far more than eight of 64 equal directions would hold"

# %% [markdown]
# ## 2. Do two updates use the same directions?
# **Question.** Two runs, of rank 8 and rank 64, do about equally well. Have they found the same thing?
#
# **Formula.** Let $U_1^i$ be the matrix whose columns are the first $i$ directions of one run, and $U_2^j$ the first
# $j$ of another. Section 7.2, equation 4:
#
# $$ \phi(i, j) = \frac{\lVert (U_1^i)^\top U_2^j \rVert_F^2}{\min(i, j)} \in [0, 1] $$
#
# Entry $(a, b)$ of the product is the cosine between direction $a$ of one run and direction $b$ of the other. So $\phi$
# is 1 if one of the two subspaces lies within the other, and 0 if they are orthogonal.
#
# **Code.** Three cases you can check by hand:

# %%
E = np.diag([3.0, 2.0, 1.0, 0.5])  # directions e1, e2, e3, e4
assert np.allclose(similarity_grid(E[:2], E[:2])[1, 1], 1)  # {e1, e2} and itself
assert np.allclose(similarity_grid(E[:1], E[:3])[0, 2], 1)  # {e1} within {e1, e2, e3}
assert np.allclose(similarity_grid(E[:2], E[2:])[1, 1], 0)  # {e1, e2} and {e3, e4}

# %% [markdown]
# ### What is chance?
# Two random subspaces are not orthogonal either, especially not large ones in a small space. On average, a random unit
# vector has a squared cosine of $1/k$ with any direction. The product has $ij$ entries, so by chance
#
# $$ \mathbb{E}\, \phi(i, j) = \frac{ij/k}{\min(i, j)} = \frac{\max(i, j)}{k} . $$
#
# For GPT-3, with $k = 12288$, that is close to nothing. Here it is not, so every comparison includes the random
# baseline.

# %%
rng = np.random.default_rng(0)
pairs_of_noise = [similarity_grid(rng.standard_normal((8, k)), rng.standard_normal((64, k))) for _ in range(200)]
mean = np.mean(pairs_of_noise, axis=0)
error = np.std(pairs_of_noise, axis=0) / np.sqrt(len(pairs_of_noise))
for i, j in ((1, 1), (8, 8), (8, 64)):
    by_formula = random_similarity(i, j, k)
    print(f"phi({i}, {j}) of random directions: {mean[i - 1, j - 1]:.4f}, max(i, j) / k = {by_formula:.4f}")
    assert abs(mean[i - 1, j - 1] - by_formula) < 5 * error[i - 1, j - 1], "within five standard errors"

# %% [markdown]
# ## 3. Between ranks, and between seeds
# **Question.** The paper's figure 3 compares $r = 8$ with $r = 64$ and finds that they share their *first* direction
# ($\phi > 0.5$) but not the later ones. Its figure 4 compares two seeds. Do we find the same?
#
# The paper takes the right-singular vectors of $A$: directions at a layer's *input*. The $u_i$ give the other side,
# directions at its *output*. We look at both sides, and use $\Delta W$ itself.
#
# **Number.** $\phi(i, i)$ for all pairs of runs with different seeds. Each pair gives a mean over the blocks; the ± is
# the standard deviation over pairs.


# %%
def similarity(r1: int, r2: int, name: str, side: str) -> np.ndarray:
    """phi(i, j) for i, j up to 8, (pairs, 8, 8): every pair of different seeds, each the mean over the blocks."""
    grids = []
    for a, b in product(SEEDS, SEEDS):
        if a != b:
            updates = [(update(r1, a, i, name), update(r2, b, i, name)) for i in range(L)]
            turned = [(M, N) if side == "input" else (M.T, N.T) for M, N in updates]
            grids.append(np.mean([similarity_grid(M, N)[:8, :8] for M, N in turned], axis=0))
    return np.stack(grids)


cases = list(product(((8, 64), (64, 64)), NAMES, ("input", "output")))
found = {(r1, r2, name, side): similarity(r1, r2, name, side) for (r1, r2), name, side in cases}
chance = {i: random_similarity(i, i, k) for i in (1, 4, 8)}
print(f"{'':<30}" + "".join(f"{f'i = {i}':>15}" for i in chance))
print(f"{'chance':<30}" + "".join(f"{value:>15.3f}" for value in chance.values()))
for (r1, r2, name, side), grids in found.items():
    cells = "".join(f"{c.mean():>8.3f} ± {c.std(ddof=1):.3f}" for c in (grids[:, i - 1, i - 1] for i in chance))
    print(f"{f'r = {r1} and {r2}, {name}, {side}':<30}{cells}")
    for i in (4, 8):
        assert (grids[:, i - 1, i - 1] > 1.3 * chance[i]).all(), "every pair shares more than chance gives"
for r1, r2 in ((8, 64), (64, 64)):
    both = [found[r1, r2, "v_proj", side][:, 7, 7].mean() for side in ("input", "output")]
    assert both[1] > both[0], "outputs are shared more than inputs"

# %% [markdown]
# And the pictures, as in the paper: $\phi(i, j)$ for all $i$ and $j$, next to the same for two random matrices.

# %%
figure, axes = subplots(1, 3, figsize=(8, 3.1), sharey=True)
panels = {
    r"$W_v$, output side": found[8, 64, "v_proj", "output"].mean(axis=0),
    r"$W_v$, input side": found[8, 64, "v_proj", "input"].mean(axis=0),
    "random matrices": mean[:8, :8],
}
for panel, (title, grid) in zip(axes, panels.items(), strict=True):
    image = panel.imshow(grid, cmap="Greys", vmin=0, vmax=0.5, origin="lower")
    shown = ((0, 0), (3, 3), (7, 7), (0, 7), (7, 0))
    write_cells(panel, {place: f"{grid[place]:.2f}"[1:] for place in shown})
    panel.set_xticks([0, 3, 7], [1, 4, 8])
    panel.set_yticks([0, 3, 7], [1, 4, 8])
    panel.set(title=title, xlabel="$j$ of rank 64")
axes[0].set_ylabel("$i$ of rank 8")
figure.colorbar(image, ax=axes, label=r"$\phi(i, j)$")
show_figure(figure, "09_phi.png")

# %% [markdown]
# ## 4. Where the miniature disagrees, and why
# Every pair shares more than chance gives. But the paper's first direction has $\phi > 0.5$, and in the table above it
# stays below that, especially on the input side. Why do the two sides differ?
#
# **Formula.** $B$ starts at zero, so its columns contain only what training put there. $A$ starts random, and the rows
# of $\Delta W = s B A$ lie in the space spanned by the rows of $A$, whatever $B$ is. As long as $A$ has not moved away
# from its start, two seeds look at the input through two random windows.
#
# **Number.** How far has $A$ moved? $\cos(A, A_{\text{start}})$ is 1 if it has not moved at all. For comparison, we
# need runs in which $A$ plays no role: full fine-tuning, whose $\Delta W$ has no $A$.

# %%
for r in (8, 64):
    cosines = []
    for seed in SEEDS:
        layers = zip(ml.lora_layers(untrained(r, seed)), ml.lora_layers(models[r, seed]), strict=True)
        for (_, old), (_, new) in layers:
            a, b = old.lora_A.data.ravel(), new.lora_A.data.ravel()
            cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    print(f"r = {r:>2}: cos(A, its start) = {np.mean(cosines):.2f}; unrelated: 0.00 ± {(r * k) ** -0.5:.2f}")
    assert np.mean(cosines) > 0.3, "A still remembers its start"

fully = []
for seed in SEEDS:
    model = copy.deepcopy(base)
    ml.fit(model, train, steps=20, lr=1e-3, batch_size=8, seed=seed, workers=2, progress=False)
    fully.append([model.blocks[b].attn.v_proj.weight.data - base.blocks[b].attn.v_proj.weight.data for b in range(L)])
full_input = [
    np.mean([similarity_grid(fully[a][b], fully[c][b])[7, 7] for b in range(L)]) for a, c in ((0, 1), (0, 2), (1, 2))
]
lora_input = found[64, 64, "v_proj", "input"][:, 7, 7]
print(f"phi(8, 8) on the input side of W_v: LoRA {lora_input.mean():.2f}, full {np.mean(full_input):.2f}", end="")
print(f" ± {np.std(full_input, ddof=1):.2f}, chance {chance[8]:.2f}")
assert min(full_input) > lora_input.max(), "without a random A, different seeds agree on the input too"

# %% [markdown]
# So different runs do look for the same input directions; in a short run, $A$'s random start hides it. If that is the
# reason, longer training must bring $A$'s directions together, and it does: `minilora reproduce figure3_4` compares the
# $A$ of runs four times as long, and finds $\phi(1, 1) = 0.41$ for $W_q$ between rank 8 and rank 64, and 0.57 between
# two seeds (`RESULTS.md`), on a task on which the base has more to learn. The lesson to take away: *compare
# $\Delta W$, compare both of its sides, and always include the random baseline.*
#
# ## 5. How many numbers does the task need? Intrinsic dimension
# **Question.** Rank counts directions within one matrix. How many directions does the task need in the space of *all*
# $D$ parameters at once?
#
# **Formula** (Li et al. 2018; Aghajanyan et al. 2020, on whom the paper's section 4.1 builds). Pick a random matrix
# $P \in \mathbb{R}^{D \times m}$ with orthonormal columns, once, and train only the $m$ numbers $z$ in
#
# $$ \theta = \theta_0 + P z . $$
#
# The gradient is $P^\top \partial L / \partial \theta$. The smallest $m$ that reaches 90 % of the gain of full training
# is called $d_{90}$. With three parameters and a task that fixes one direction of them, it looks like this:

# %%
from minilora import pictures

show_figure(pictures.subspace(), "09_subspace.png")

# %% [markdown]
# Where the grey dot's random line meets the plane of solutions, the task is solved with one number instead of three.
#
# Our $P$ would have $D m$ entries, too many to keep. So we take a sparse one: each parameter follows *one* coordinate,
# chosen at random, with a random sign, and all $n_c$ parameters that follow coordinate $c$ get the factor
# $1/\sqrt{n_c}$. No two columns share a row, so they are orthogonal, and their length is 1. Both products take one pass
# over the parameters.


# %%
class RandomProjection:
    """A random P (D, m) with orthonormal columns, as two arrays of D numbers."""

    def __init__(self, D: int, m: int, rng: np.random.Generator) -> None:
        self.m, self.follows = m, rng.permutation(np.arange(D) % m)  # the coordinate of each parameter
        self.entry = rng.choice([-1.0, 1.0], size=D) / np.sqrt(np.bincount(self.follows))[self.follows]

    def expand(self, z: np.ndarray) -> np.ndarray:
        """P z.  z (m,) -> (D,)."""
        return self.entry * z[self.follows]

    def project(self, g: np.ndarray) -> np.ndarray:
        """P^T g.  g (D,) -> (m,)."""
        return np.bincount(self.follows, self.entry * g, minlength=self.m)


mine = RandomProjection(50, 7, np.random.default_rng(0))
P = np.stack([mine.expand(e) for e in np.eye(7)], axis=1)
g = np.arange(50.0)
print("P has shape", P.shape, "and", np.count_nonzero(P), "entries that are not zero")
assert np.allclose(P.T @ P, np.eye(7)), "orthonormal columns"
assert np.allclose(P.T @ g, mine.project(g))

# %% [markdown]
# To train, walk in $z$: project the gradient, let Adam move $z$, expand, add to $\theta_0$. `fit_in_subspace` is that
# loop around the same two functions.
#
# Adam moves each $z$ by about the learning rate $\eta_z$. Each of the $D/m$ parameters that depend on it then moves by
# $\eta_z / \sqrt{D/m}$. To move them by $\eta$, as full fine-tuning would, use $\eta_z = \eta \sqrt{D/m}$. This gives
# one rule for every $m$, with $\eta = 0.001$ as in full fine-tuning. (We also tried 0.003: about the same up to 4096,
# worse above.)

# %%
D = base.config.parameter_count
ETA, STEPS = 1e-3, 30
train, test = windows(32)
start = ml.evaluate(base, test)
sizes = (256, 4096, 65536)
losses: dict[int, list[float]] = {m: [] for m in sizes}
full = []
for seed in SEEDS:
    for m in sizes:
        model = copy.deepcopy(base)
        fit_in_subspace(model, train, m, steps=STEPS, lr=ETA * (D / m) ** 0.5, batch_size=8, seed=seed, workers=2)
        losses[m].append(ml.evaluate(model, test))
    model = copy.deepcopy(base)
    ml.fit(model, train, steps=STEPS, lr=1e-3, batch_size=8, seed=seed, workers=2, progress=False)
    full.append(ml.evaluate(model, test))
gained = {m: [(start - x) / (start - f) for x, f in zip(losses[m], full, strict=True)] for m in sizes}
means = {m: statistics.mean(losses[m]) for m in sizes}
for m in sizes:
    print(f"m = {m:>5}, {m / D:>7.3%} of D: {means[m]:.3f} ± {statistics.stdev(losses[m]):.3f}", end="")
    print(f", {statistics.mean(gained[m]):>4.0%} of the gain")
d50, d90 = (dimension_for_share(means, start, statistics.mean(full), share) for share in (0.5, 0.9))
print(f"all {D:,}: {statistics.mean(full):.3f} ± {statistics.stdev(full):.3f}")
print(f"the smallest size tried that gets half of the gain: {d50}; the smallest that gets 90 %: {d90}")
for i in range(len(SEEDS)):
    assert losses[65536][i] < losses[4096][i] < losses[256][i] < start, "more directions, more gained"
    assert gained[4096][i] > 0.3, "less than a hundredth of the dimensions gains this much"

# %%
figure, (left, right) = subplots(1, 2, figsize=(7.5, 3.2))
for (r, color), (name, style) in product(((64, LORA), (8, OTHER)), (("q_proj", "-"), ("v_proj", "--"))):
    relative = spectra[r, name][:, :r] / np.linalg.norm(spectra[r, name], axis=1, keepdims=True)
    left.plot(range(1, r + 1), relative.mean(axis=0), style, color=color, label=f"$W_{name[0]}$, r = {r}")
left.axhline(1 / 8, color=BASE, linewidth=1, linestyle=":")
left.text(64, 0.13, "64 equal values", ha="right", va="bottom", color=BASE, fontsize=9)
left.set(xlabel="i", ylabel=r"$\sigma_i\,/\,\|\Delta W\|_F$", title=r"Singular values of LoRA's $\Delta W$")
left.legend()
percent = {m: [100 * share for share in gained[m]] for m in sizes}
plot_spread(right, percent, "o-", color=LORA, capsize=4, label="random subspace")
right.plot(D, 100, "s", color=FULL, label="all parameters")
right.axhline(90, color=BASE, linestyle="--", linewidth=1, label="90 %")
right.set(title="Intrinsic dimension", xscale="log", xlabel="trained dimensions $m$", ylim=(0, 108))
right.set_ylabel("gain, % of full fine-tuning's")
right.legend(loc="lower right")
show_figure(figure, "09_spectra_and_dimension.png")

# %% [markdown]
# A subspace chosen *blindly*, with less than a hundredth of the dimensions, gets a good part of the gain. LoRA's
# directions are not blind: with the same number of parameters, it can choose $A$ and $B$. Is the intrinsic dimension of
# a larger model smaller? Aghajanyan et al. (2020, section 5) find that it is: the better the pre-training, the fewer
# directions are left to find.
#
# ## What to try next
# - Exercises 20 (the similarity of two subspaces) and 21 (training in a random subspace).
# - Freeze $A$ at its start and train only $B$ (`layer.lora_A.trainable = False`). How much loss does that cost? Then
#   give two seeds the *same* $A$: is the output side shared more?
# - Train for 600 steps. Do the input sides come together, as the paper's do?
# - Set $m = D$. The losses are those of full fine-tuning, nearly to the bit, although $P$ shuffles all parameters and
#   flips half of their signs. Which property of Adam causes this?
# - Find $d_{90}$ with a random subspace of LoRA's own parameters. $D$ is small now. Is $d_{90}$?
