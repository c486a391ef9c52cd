# %% [markdown]
# # 8 · How small can $r$ be, and which matrices?
#
# **After this lesson you can**
# - spend a budget of trainable parameters in several ways, and compare them fairly;
# - draw the plane of *which matrices* × *rank*, with full fine-tuning in its corner, and place the paper's tables 5 and
#   6 in it;
# - prove that LoRA at full rank can express every update, and measure how much of a full update a small rank keeps;
# - start with a low rank and raise it, as a procedure;
# - say what the sufficient rank depends on, and trust a difference only where the seeds allow it.
#
# **You need** `pip install -e ".[plots]"`; lessons 4 (the spectrum of $\Delta W$), 5 and 6 ($\alpha/r$). It takes half
# a minute to run.
#
# **Symbols.** $C$: width of the model. $L$: number of blocks. The matrices of a block: attention's
# $W_q, W_k, W_v, W_o$, each $C \times C$, and the MLP's $W_{up}$, $4C \times C$, and $W_{down}$, $C \times 4C$.
# $\Delta W = \frac{\alpha}{r} B A$: LoRA's update of rank $r$. Losses are in nats per byte.

# %%
import copy
import statistics
from itertools import product
from pathlib import Path

import numpy as np

import minilora as ml
from minilora import methods, pictures
from minilora.experiments.engine import report
from minilora.experiments.tables import table5, table6
from minilora.plots import BASE, FULL, LORA, OTHER, frame_cell, plot_spread, show_figure, subplots, write_cells

base, tokenizer = ml.load_base()
C, L = base.config.n_embd, base.config.n_layer
SEEDS = (0, 1, 2)

# %% [markdown]
# These are the six, to scale, with $A$ and $B$ on $W_q$ and $W_v$ as in most of the paper:

# %%
show_figure(pictures.block(("q_proj", "v_proj"), C), "08_block.png")

# %% [markdown]
# ## 1. One budget, many ways to spend it
# **Question.** You may train 16,384 numbers. Should you put them into one matrix per block at a high rank, or into
# several at a low rank?
#
# **Formula.** A LoRA on one $d \times k$ matrix costs $r(d + k)$ numbers: $2 C r$ for each attention matrix, and
# $5 C r$ for each MLP matrix. So on $\hat L$ square matrices, $n = 2 \hat L C r$: twice the matrices at half the rank
# cost the same.

# %%
ROWS = {
    "$W_q$": ("q_proj",),
    "$W_q, W_v$": ("q_proj", "v_proj"),
    "$W_q, W_k, W_v, W_o$": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "all six": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
}
RANKS = (1, 4, 16, C)
ALPHA = 8


def options(row: str, r: int) -> dict:
    return {"r": r, "lora_alpha": ALPHA, "target_modules": ROWS[row]}


trained = {(row, r): methods.count("lora", base.config, **options(row, r)) for row, r in product(ROWS, RANKS)}
print(f"{'':<24}" + "".join(f"{f'r = {r}':>11}" for r in RANKS))
for row in ROWS:
    print(f"{row:<24}" + "".join(f"{trained[row, r]:>11,}" for r in RANKS))
print(f"full fine-tuning: {base.config.parameter_count:,}")
q, qkvo = "$W_q$", "$W_q, W_k, W_v, W_o$"
assert trained[q, 4] == trained[qkvo, 1] == 2 * L * C * 4, "one matrix at rank 4 = four at rank 1"
assert trained[q, 16] == trained[qkvo, 4]

# %% [markdown]
# At $r = C$, a LoRA trains more numbers than the matrix itself has ($2 C^2$ instead of $C^2$). That saves nothing, but
# it is the corner of the plane that explains the small ranks.
#
# ## 2. The plane
# **Question.** How does the loss depend on both choices at once?
#
# **Code.** All combinations above, and full fine-tuning, for 20 steps on Python source with three seeds. Every LoRA
# gets the same learning rate, 0.01, and the same $\alpha = 8$: the scaling $\alpha/r$ is meant to make that fair
# (lesson 6). Full fine-tuning gets 0.001. None of these was tuned; section 5 reads results in which each cell had its
# own search. (The base's loss on source is 1.80 here and 1.57 in lesson 4: windows of 32 bytes give less context than
# 64, and the held-out files are others.)

# %%
code = tokenizer.encode(ml.python_source(400_000))
cut = len(code) * 9 // 10
train, test = ml.TextData(code[:cut], 32), ml.TextData(code[cut:][:4096], 32)
start = ml.evaluate(base, test)


def fitted(seed: int, lr: float, row: str | None = None, r: int = 0) -> ml.GPT:
    """A copy of the base after training: with a LoRA, or all of it."""
    model = copy.deepcopy(base)
    if row is not None:
        methods.apply(model, "lora", seed, **options(row, r))
    ml.fit(model, train, steps=20, lr=lr, batch_size=8, seed=seed, workers=2, progress=False)
    return model


plane = {(row, r): [ml.evaluate(fitted(seed, 1e-2, row, r), test) for seed in SEEDS] for row, r in product(ROWS, RANKS)}
full_models = [fitted(seed, 1e-3) for seed in SEEDS]
full = [ml.evaluate(model, test) for model in full_models]


def cell(values: list[float], between: str = " ") -> str:
    return f"{statistics.mean(values):.3f}{between}± {statistics.stdev(values):.3f}"


print(f"the base: {start:.3f}; nats per byte, mean ± standard deviation over {len(SEEDS)} seeds")
print(f"{'':<24}" + "".join(f"{f'r = {r}':>16}" for r in RANKS))
for row in ROWS:
    print(f"{row:<24}" + "".join(f"{cell(plane[row, r]):>16}" for r in RANKS))
print(f"{'full fine-tuning':<24}{cell(full):>{16 * len(RANKS)}}")
for i, r in product(range(len(SEEDS)), RANKS):
    assert plane["all six", r][i] < plane[q, r][i], "at every rank and seed, six matrices beat one"
for values in plane.values():
    assert max(values) < start

# %% [markdown]
# **Number.** We put two questions to the plane. Along a row: what does a rank 4 (or $C/16$) times higher gain? Down a
# column, or along equal budgets: what do more matrices gain?


# %%
def compare(title: str, a: list[float], b: list[float]) -> None:
    """Print the mean of a - b over seeds with its standard error, deviation / sqrt(seeds)."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean, error = statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5
    print(f"{title:<62}{mean:>+8.3f} ± {error:.3f}")


print("how much lower the loss gets (± standard error of the paired difference)")
for row in ROWS:
    compare(f"{row}: r = 1 to 4 (4 times the numbers)", plane[row, 1], plane[row, 4])
compare("r = 4: only W_q to all six (9 times the numbers)", plane[q, 4], plane["all six", 4])
for r in (4, 16):
    compare(f"{trained[q, r]:,} numbers: only W_q to four matrices", plane[q, r], plane[qkvo, r // 4])
few, many = plane["all six", 1], plane[q, C]
compare(f"W_q at r = {C} ({trained[q, C]:,}) to all six at r = 1 ({trained['all six', 1]:,})", many, few)
assert trained[q, C] > 14 * trained["all six", 1]
for i in range(len(SEEDS)):
    assert few[i] < many[i], "a fourteenth of the numbers does more, if it is in all six matrices"

# %% [markdown]
# Here is a picture of the plane. In one corner is full fine-tuning, in the opposite one the base: rank 0, no matrices.

# %%
names, columns = ["nothing", *ROWS, "everything"], (0, *RANKS)
texts = {(names.index(row), columns.index(r)): cell(plane[row, r], "\n") for row, r in plane}
texts |= {(names.index("everything"), columns.index(C)): cell(full, "\n"), (0, 0): f"{start:.3f}\nthe base"}
table = np.full((len(names), len(columns)), np.nan)
for place, text in texts.items():
    table[place] = float(text.split()[0])
figure, axes = subplots(figsize=(7.4, 4.4))
image = axes.imshow(table, cmap="Greys_r", vmin=np.nanmin(table) - 0.05, vmax=np.nanmax(table) + 0.05, aspect="auto")
write_cells(axes, texts, fontsize=9)
frame_cell(axes, names.index("everything"), columns.index(C), FULL)
frame_cell(axes, 0, 0, BASE)
frame_cell(axes, names.index(q), columns.index(4), OTHER, "--")
frame_cell(axes, names.index(qkvo), columns.index(1), OTHER, "--")
axes.set_xticks(range(len(columns)), [str(r) if r < C else f"{r} (full)" for r in columns])
axes.set_yticks(range(len(names)), names)
axes.set(xlabel="rank r", ylabel="trained matrices of each block")
figure.colorbar(image, ax=axes, label="held-out loss (nats per byte)")
show_figure(figure, "08_plane.png")

# %% [markdown]
# Mean ± standard deviation over three seeds; dark is good. Solid frames: the base and full fine-tuning. Dashed frames:
# two ways to spend the same budget.
#
# The last comparison is the clearest: $W_q$ at full rank, where more rank cannot help, loses to all six matrices at the
# smallest possible rank. Here, which matrices you adapt matters more than the rank. And full fine-tuning, in the
# corner, does not have the lowest loss: LoRA on all six matrices ends slightly lower from $r = 16$ on. That contradicts
# nothing: we did not search for full fine-tuning's learning rate, the difference lies within the spread over seeds, and
# being able to express an update (section 3) is not the same as reaching it in 20 steps.
#
# ## 3. The corner: full rank can express everything
# **Question.** Section 4.1 of the paper says that with all matrices adapted, all biases trained and $r$ as high as the
# rank of the matrices, LoRA "roughly" has the expressiveness of full fine-tuning. Is that exact?
#
# **Formula.** Let $\Delta W \in \mathbb{R}^{d \times k}$ be any update, and $\Delta W = U \Sigma V^\top$ its singular
# value decomposition with $n = \min(d, k)$ terms (lesson 4). Set $B = \frac{r}{\alpha} U \Sigma$ and $A = V^\top$ at
# $r = n$; then $\frac{\alpha}{r} B A = \Delta W$. So every update of these matrices is a LoRA of full rank. What
# remains is what none of our LoRAs adapts: embeddings, biases, LayerNorms.
#
# The first $r < n$ terms give the best possible approximation of rank $r$. That answers another question: if an update
# is not *trained* at rank $r$ but *cut down* to it, how much of full fine-tuning is left?

# %%
SIX = ROWS["all six"]


def cut_down(model: ml.GPT, r: int) -> ml.GPT:
    """The fine-tuned model, with the update of every block matrix replaced by its best rank-r approximation."""
    model = copy.deepcopy(model)
    before, after = base.named_parameters(), model.named_parameters()
    for name in before:
        if name.endswith(tuple(f"{layer}.weight" for layer in SIX)):
            W0, W = before[name].data, after[name].data
            U, sigma, Vt = np.linalg.svd((W - W0).astype(np.float64), full_matrices=False)
            W[...] = W0 + (U[:, :r] * sigma[:r]) @ Vt[:r]
    return model


CUTS = (0, 1, 2, 4, 8, 16, 32, 64, C)
kept = {r: [ml.evaluate(cut_down(model, r), test) for model in full_models] for r in CUTS}
for r in CUTS:
    print(f"updates cut to rank {r:>3}: {cell(kept[r])}")
for i in range(len(SEEDS)):
    assert abs(kept[C][i] - full[i]) < 1e-4, "all of the terms: the update itself, up to rounding"
    assert kept[0][i] > kept[16][i] > kept[C][i] - 0.02
share = statistics.mean((kept[0][i] - kept[16][i]) / (kept[0][i] - full[i]) for i in range(len(SEEDS)))
print(f"rank 16 of {C} keeps {share:.0%} of what the matrices' updates gain")

# %%
figure, axes = subplots(figsize=(6.2, 3.6))
for values, color, style, label in (
    (kept, FULL, "s--", "full fine-tuning, cut to rank r"),
    ({r: plane["all six", r] for r in RANKS}, LORA, "o-", "LoRA on all six, trained at rank r"),
    ({r: plane["$W_q, W_v$", r] for r in RANKS}, LORA, "v:", "LoRA on $W_q, W_v$"),
):
    plot_spread(axes, {CUTS.index(r): values[r] for r in values}, style, color=color, label=label)
axes.axhline(start, color=BASE, linestyle="--", linewidth=1)
axes.text(len(CUTS) - 1, start, "the base", ha="right", va="bottom", color=BASE, fontsize=9)
axes.set_xticks(range(len(CUTS)), [str(r) for r in CUTS])
axes.set(xlabel="rank r", ylabel="held-out loss (nats per byte)")
axes.margins(y=0.1)
axes.legend(loc="upper right", fontsize=9, bbox_to_anchor=(1, 0.93))
show_figure(figure, "08_cut_and_trained.png")

# %% [markdown]
# Is it better to train *at* a rank than to cut a full update down to it? Training can make the best of the little it
# has, but full fine-tuning also moves embeddings, biases and LayerNorms, which the cut leaves as trained. Measured:

# %%
for r in (1, 4, 16):
    compare(f"r = {r}: full fine-tuning cut down - LoRA on all six", kept[r], plane["all six", r])

# %% [markdown]
# ## 4. Start low and raise r
# **Question.** You have a new task. Which rank do you take?
#
# **Procedure.** Start at $r = 1$ on all six matrices. Multiply the rank by 4 and compare, seed by seed, as `compare`
# does. Go on as long as the held-out loss falls by more than its standard error (two of them, to be strict; more seeds
# make it smaller); then take the rank before. Because of $\alpha/r$, the learning rate stays as it is (lesson 6). In
# section 2, "all six: r = 1 to 4" is the first comparison of this procedure.
#
# ## 5. The paper's tables 5 and 6 at full length
# `minilora reproduce table5 table6 --out tutorials` trains on tasks with answers and searches for the learning rate. It
# takes a long time; its results are committed in `results/`. The next cell reads them, prints our rows next to the
# paper's, and says for each of the paper's claims whether our numbers support it. It also draws table 5, seven ways to
# spend one budget, as `08_table5.png`.


# %%
def draw(results) -> None:
    """Table 5: the loss of each choice of matrices at equal budget."""
    figure, axes = subplots(figsize=(5.5, 3.3))
    for x, letters in enumerate(table5.CHOICES):
        score = results.score(table5.setting(letters), "loss")
        color, marker = (LORA, "o") if len(letters) == 1 else (OTHER, "s")
        error = score.std if score.n > 1 else None  # one seed has no spread
        axes.errorbar(x, score.mean, error, fmt=marker, color=color, capsize=4, markersize=8)
    labels = [f"{letters}\n{r}" for letters, r in table5.CHOICES.items()]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(title=table5.TASK, xlabel="adapted matrices, and their rank", ylabel="loss (nats per byte)")
    show_figure(figure, "08_table5.png")


HERE = Path(__file__).parent if "__file__" in globals() else Path()  # a notebook runs in its folder
for experiment in (table5.EXPERIMENT, table6.EXPERIMENT):
    results = report.tell(experiment, HERE)
    if results and experiment is table5.EXPERIMENT:
        draw(results)

# %% [markdown]
# ## 6. Why we need more rank than the paper
# **Question.** In the paper's table 6, $r = 1$ does about as well as $r = 64$ on GPT-3, with one exception: $W_q$ on
# its own gains from a larger $r$. The paper concludes that the update "could have a very small 'intrinsic rank'"
# (section 7.2). In our table 6 it does not. Why?
#
# It is tempting to say that rank 1 is a smaller part of our matrices than of GPT-3's. But it is the other way round:
# one of 128 directions is a larger part than one of 12,288. Another reason is more likely. GPT-3 can nearly write SQL
# before any tuning. Our base scores 0, so it must learn SQL from nothing, and the update is no small correction:
# $\lVert \Delta W \rVert$ is 87 % of $\lVert W \rVert$ at $r = 4$, where the paper's is 11 % (table 7).
#
# **Code.** That can be measured: `minilora reproduce skill`. One task (sql, its queries written with other keywords),
# the same data, the same methods, and two bases: ours, which knows no SQL, and a copy of it that was taught ordinary
# SQL before, for 60 steps.

# %%
from minilora.experiments.tables import skill

results = report.tell(skill.EXPERIMENT, HERE)
print(skill.finding(results))

# %% [markdown]
# The same task, the same data: on the base that can do more of it, a small rank costs less than half as much. Rank 1 is
# not enough there either: the taught base is still far from GPT-3. A footnote of section 7.2 says that "we do not
# expect a small $r$ to work for every task or dataset". This is the main finding of the course. When somebody reports
# that rank 1 is enough, or that it is not, ask first what the base could do before.
#
# ## 7. What we can conclude, and what we cannot
# Here, which matrices are adapted matters more than the rank, and rank matters more than in the paper, because our base
# starts with less. That is one task and one small model: we cannot say which rank *your* task needs, only how to find
# out (section 4).
#
# A difference only counts when it is large compared with its standard error. With three seeds, even two standard errors
# are weak evidence; that is why the tables say "not worse" for anything within a deviation.
#
# ## What to try next
# - Add rows to the plane for $W_v$ by itself and for the MLP by itself. Which single matrix is best at equal budget?
# - Train each cell for 200 steps. Does rank matter more, or less, when there is time to use it?
# - `rank_pattern` gives individual layers their own rank. Spend one budget on the first two blocks, or on the last two.
# - Exercises 14 (how many numbers LoRA trains) and 17 (what $\alpha$ means).
