# %% [markdown]
# # 12 · One base, many tasks
#
# **After this lesson you can**
# - keep many adapters on one base, swap them, and say what a swap costs and why it is exact;
# - serve one batch whose rows belong to different tasks, and write down the formula for it;
# - add adapters up, and say what the sum can do, what it spoils, and what its rank is;
# - train several adapters at once, and grow a tree of adapters, knowing what each of them forgets.
#
# **You need** `pip install -e ".[plots]"`; lessons 5 (what $A$ and $B$ are) and 7 (merging). It takes about 40 seconds
# on two idle cores.
#
# **Symbols.** $W_0 \in \mathbb{R}^{d \times k}$: a frozen weight. $A \in \mathbb{R}^{r \times k}$,
# $B \in \mathbb{R}^{d \times r}$: an adapter's two factors for it; with several tasks, $A_t$ and $B_t$ for task $t$.
# $s = \alpha/r$: the scaling. $\Delta W_t = s B_t A_t$: the update. $x$ is one input as a row, so a layer computes
# $x W_0^\top$. Losses are in nats per byte: the mean of $-\ln p$ of the byte that came.

# %%
import statistics
import tempfile
from pathlib import Path

import numpy as np

import minilora as ml
from minilora.adapters import AdapterBank, AdapterFolder, compress, fit_side_by_side, weighted_sum
from minilora.machine.blas import single_threaded_blas
from minilora.machine.timing import finest_clock, interleaved
from minilora.plots import BASE, LORA, OTHER, frame_cell, plot_spread, show_figure, subplots, write_cells

# %% [markdown]
# ## 1. Three tasks, three adapters, one base
# **Question.** Can one frozen model serve three tasks, each as well as if it were the only one?
#
# The tasks are small enough to learn in seconds: Python's documentation in capitals, the same with underscores for
# spaces, and Python source. A fourth text has capitals *and* underscores; nothing trains on it until section 6.

# %%
base, tokenizer = ml.load_base()
TASKS = ("capitals", "underscores", "code")
T = 64  # bytes in a window


def parts(text: str) -> tuple[ml.TextData, ml.TextData]:
    """The first nine tenths to train on, 4 kB of the rest to test on."""
    tokens = tokenizer.encode(text)
    cut = len(tokens) * 9 // 10
    return ml.TextData(tokens[:cut], T), ml.TextData(tokens[cut:][:4096], T)


docs = ml.python_docs()
data = {
    "capitals": parts(docs.upper()),
    "underscores": parts(docs.replace(" ", "_")),
    "both": parts(docs.upper().replace(" ", "_")),
    "code": parts(ml.python_source(400_000)),
}


def loss(model: ml.GPT, text: str) -> float:
    return ml.evaluate(model, data[text][1], workers=2)


# %% [markdown]
# **Code.** An `AdapterBank` holds adapters over one base. `bank.view(name)` is a model made of the base's arrays and
# that adapter's, with nothing copied. We train three seeds each, so that we can tell a difference from luck. These are
# the only settings used here: rank 8 on all six matrices of a block, $\alpha = r$, 50 steps. (We also tried rank 8 on
# just $W_q$ and $W_v$; it learned capitals more slowly, and the sum in section 4 behaved the same way.)

# %%
SEEDS = (0, 1, 2)
ALL_SIX = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
r = 8
config = ml.LoraConfig(r=r, lora_alpha=r, target_modules=ALL_SIX)
bank = AdapterBank(base)


def train(name: str, text: str, seed: int, steps: int) -> None:
    ml.fit(bank.view(name), data[text][0], steps=steps, lr=5e-3, batch_size=8, seed=seed, workers=2, progress=False)


for seed in SEEDS:
    for task in TASKS:
        bank.add_adapter(f"{task}-{seed}", config, seed=seed)
        train(f"{task}-{seed}", task, seed, steps=50)

# %% [markdown]
# **Number.** The loss of each adapter on each text. In every task's column, and for every seed, the task's own adapter
# must be the best.

# %%
columns = (*TASKS, "both")
base_loss = {text: loss(base, text) for text in columns}
losses = {
    (task, text): [loss(bank.view(f"{task}-{seed}"), text) for seed in SEEDS] for task in TASKS for text in columns
}


def spread(values: list[float], between: str = " ") -> str:
    return f"{statistics.mean(values):.2f}{between}± {statistics.stdev(values):.2f}"


print(f"{'':<14}" + "".join(f"{text:>16}" for text in columns))
print(f"{'base alone':<14}" + "".join(f"{base_loss[text]:>16.2f}" for text in columns))
for task in TASKS:
    print(f"{task:<14}" + "".join(f"{spread(losses[task, text]):>16}" for text in columns))
for i in range(len(SEEDS)):
    for text in TASKS:
        own = losses[text, text][i]
        assert own < base_loss[text]
        assert all(own < losses[other, text][i] for other in TASKS if other != text)

# %% [markdown]
# And nothing was copied: every view reads the very same memory of the base.

# %%
view = bank.view("code-0")
W0 = base.blocks[0].attn.q_proj.weight.data
assert np.shares_memory(view.blocks[0].attn.q_proj.weight.data, W0)
model_bytes = 4 * base.config.parameter_count
print(
    f"base {model_bytes:,} bytes; {len(bank.adapters)} adapters {bank.nbytes:,}; as many full models would be", end=" "
)
print(f"{len(bank.adapters) * model_bytes:,}")
assert model_bytes + bank.nbytes < len(bank.adapters) * model_bytes

# %% [markdown]
# ## 2. Swap
# **Question.** Section 4.1 of the paper: "when we need to switch to another downstream task, we can recover $W_0$ by
# subtracting $BA$ and then adding a different $B'A'$". Is $W_0$ still $W_0$ after a hundred such switches?
#
# **Formula.** In floating-point numbers, $(W_0 + \Delta W) - \Delta W \ne W_0$: each step rounds (lesson 7). A bank
# keeps $W_0$ read-only and computes every merged weight from it afresh, $W_t = W_0 + \Delta W_t$, so errors cannot
# accumulate: $W_t$ depends on $W_0$ and $t$, not on what was merged before.

# %%
before = {name: array.tobytes() for name, array in base.state_dict().items()}
bank.set_adapter("code-0")
bank.merge()  # from here on, every switch merges
path = "blocks.0.attn.q_proj"
first = bank.model.get_submodule(path).weight.data.copy()
drifting = first.copy()  # the paper's way, for comparison
for i in range(100):
    old, new = (bank.adapters[f"{TASKS[j % 3]}-0"] for j in (i + 2, i))
    bank.set_adapter(f"{TASKS[i % 3]}-0")
    for adapter, sign in ((old, -1), (new, 1)):
        B, A = (adapter.tensors[f"{path}.lora_{which}"] for which in "BA")
        drifting += sign * adapter.lora.scaling(path) * (B @ A)
bank.set_adapter("capitals-0")
by_bank = bank.model.get_submodule(path).weight.data
bank.set_adapter("code-0")
assert np.array_equal(bank.model.get_submodule(path).weight.data, first), "the same bits as the first time"
assert {name: array.tobytes() for name, array in base.state_dict().items()} == before, "W0 was never written to"
off = np.abs(drifting - by_bank).max()
print(f"after 100 switches: the bank is exact; subtracting and adding is off by up to {off:.1e}")
assert off > 0
bank.unmerge()

# %% [markdown]
# ## 3. Mix: one batch, many tasks
# **Question.** Requests for different tasks arrive together. The paper lists this as a limitation once $A$ and $B$ are
# merged: "it is not straightforward to batch inputs to different tasks" (section 4.2). It also says what to do: do not
# merge, and choose the adapter for each sample. What does that cost?
#
# **Formula.** Row $i$ of the batch has task $t_i$:
#
# $$ y_i = x_i W_0^\top + s\,(x_i A_{t_i}^\top)\,B_{t_i}^\top $$
#
# All rows share the first product, whichever task they belong to: $d k$ multiplications per row. Only the thin products
# differ by task: $r(d + k)$.
#
# **Number.** Each row of the mixed batch must give what it gives by itself with its adapter. It is the same sum of the
# same products, but a larger matrix product may add them in a different order. float32 has 24 bits, about
# $6 \cdot 10^{-8}$; we allow $10^{-5}$ of the largest logit.

# %%
names = ["code-0", "capitals-0", None, "underscores-0", "code-0", "capitals-0", "underscores-0", None]
mixed = bank.mixed(names)
texts = ["code" if name is None else name.rpartition("-")[0] for name in names]
rows = np.stack([data[text][1].tokens[i * T : (i + 1) * T] for i, text in enumerate(texts)]).astype(np.int64)
together = mixed(rows)
for i, name in enumerate(names):
    alone = (base if name is None else bank.view(name))(rows[i : i + 1])[0]
    assert np.abs(together[i] - alone).max() <= 1e-5 * np.abs(alone).max()

d = k = base.config.n_embd
print(f"multiplications per row, {d} x {k}: W0 {d * k:,}, adapter {r * (d + k):,}; GPT-3 with r = 4:", end=" ")
print(f"{12288**2:,} and {4 * 2 * 12288:,}, 1/{12288**2 // (4 * 2 * 12288)}")

# %% [markdown]
# Now the time, as a ratio, with all candidates taking turns on one thread: the mixed batch, the same rows under one
# adapter, and the rows served one at a time.

# %%
one = bank.view("code-0")
singles = [(base if name is None else bank.view(name), rows[i : i + 1]) for i, name in enumerate(names)]
candidates = {
    "base": lambda: base(rows),
    "one adapter": lambda: one(rows),
    "mixed": lambda: mixed(rows),
    "one row at a time": lambda: [model(row) for model, row in singles],
}
with single_threaded_blas():
    seconds = interleaved(candidates, rounds=15, clock=finest_clock())
for name in candidates:
    print(f"{name:<20}{seconds[name] / seconds['base']:>6.2f} of the base's time")

# %% [markdown]
# At our width, the thin products are a good part of a layer's work; at GPT-3's they are almost nothing. The advantage
# of *mixing* does not depend on that: $W_0$ is read once for all rows. (On a GPU, where a small batch spends its time
# waiting for the weights to arrive, reading $W_0$ once is most of the gain.)
#
# ## 4. Add
# **Question.** One adapter writes capitals, another writes underscores. Does the *sum* of their updates write both?
#
# **Formula.** $W = W_0 + \Delta W_1 + \Delta W_2$. There is no reason why this should work: the two were trained
# separately, and the network between them is not linear. So we measure it.

# %%
summed = {text: [loss(bank.view(f"capitals-{s}", f"underscores-{s}"), text) for s in SEEDS] for text in columns}
print(f"{'':<14}" + "".join(f"{text:>16}" for text in columns))
print(f"{'base alone':<14}" + "".join(f"{base_loss[text]:>16.2f}" for text in columns))
for task in ("capitals", "underscores"):
    print(f"{task:<14}" + "".join(f"{statistics.mean(losses[task, text]):>16.2f}" for text in columns))
print(f"{'the sum':<14}" + "".join(f"{spread(summed[text]):>16}" for text in columns))
for i in range(len(SEEDS)):
    assert summed["both"][i] < losses["capitals", "both"][i]
    assert summed["both"][i] < losses["underscores", "both"][i]
    for task in ("capitals", "underscores"):
        own, gained = losses[task, task][i], base_loss[task] - losses[task, task][i]
        assert summed[task][i] > own + gained / 2, "more than half of the gain on its own text is lost"
    assert summed["code"][i] > base_loss["code"]

# %% [markdown]
# The answer is yes and no. On the text with capitals *and* underscores, which neither adapter has seen, the sum is far
# better than either of them. But on each adapter's own text, nearly everything it learned is gone: the sum ends near
# the base, and the adapter by itself far below it, because the sum writes capitals, or underscores, where there should
# be none. And on code, the sum is far worse than the base. It is right where both changes are wanted, and nowhere else.
#
# The picture shows who is good at what. Dark is good.

# %%
seeds_of = {
    **{task: [losses[task, c] for c in columns] for task in TASKS},
    "capitals +\nunderscores": [summed[c] for c in columns],
}
table = np.array([[base_loss[c] for c in columns], *(np.mean(values, axis=1) for values in seeds_of.values())])
texts = {(0, j): f"{base_loss[c]:.2f}" for j, c in enumerate(columns)}
texts |= {(i, j): spread(v, "\n") for i, values in enumerate(seeds_of.values(), 1) for j, v in enumerate(values)}
figure, axes = subplots(figsize=(6.4, 4))
image = axes.imshow(table, cmap="Greys_r", vmin=table.min() - 0.3, vmax=table.max(), aspect="auto")
write_cells(axes, texts)
for j, best in enumerate(table.argmin(axis=0)):
    frame_cell(axes, best, j, OTHER)
axes.set_xticks(range(len(columns)), columns)
axes.set_yticks(range(len(table)), ["base alone", *seeds_of])
axes.set(xlabel="held-out text", ylabel="adapter")
figure.colorbar(image, ax=axes, label="loss (nats per byte)")
show_figure(figure, "12_who_is_good_at_what.png")

# %% [markdown]
# Mean and standard deviation over three seeds. Framed: the best of each column.
#
# ## 5. The sum of low-rank updates need not be low-rank
# **Question.** $\Delta W_1$ and $\Delta W_2$ have rank $r$. What is the rank of their sum?
#
# **Formula.** Put the factors side by side:
#
# $$ B_1 A_1 + B_2 A_2 = \begin{bmatrix} B_1 & B_2 \end{bmatrix} \begin{bmatrix} A_1 \\ A_2 \end{bmatrix} $$
#
# The middle dimension is $2r$, so the rank is at most $2r$, and it is exactly $2r$ unless the two share a direction.
# For $K$ adapters it is at most $\min(K r, d, k)$: add enough of them and the matrix is full, and the update is no
# longer small.

# %%
adapters = [bank.adapters[f"{task}-{seed}"] for seed in SEEDS for task in TASKS]
rng = np.random.default_rng(0)


def update(adapter: object) -> np.ndarray:
    B, A = (adapter.tensors[f"{path}.lora_{which}"].astype(np.float64) for which in "BA")
    return adapter.lora.scaling(path) * B @ A


total, ranks = np.zeros((d, k)), []
for i in range(20):  # our nine trained adapters, then random ones, to reach full rank
    if i < len(adapters):
        total += update(adapters[i])
    else:
        total += rng.standard_normal((d, r)) @ rng.standard_normal((r, k)) / k
    ranks.append(int(np.linalg.matrix_rank(total)))
print("rank of the sum of 1, 2, 3, ... adapters:", *ranks)
assert ranks == [min((i + 1) * r, d, k) for i in range(20)]

# %% [markdown]
# Can we bring the sum back to rank 8? The closest matrix of rank $r$ keeps the $r$ largest singular values $\sigma_i$
# (Eckart and Young 1936). What we lose is the rest: $\sqrt{\sigma_{r+1}^2 + \sigma_{r+2}^2 + \dots}$.
# `minilora.adapters.compress` computes this from the thin factors, without forming $\Delta W$. How much loss does it
# cost?

# %%
RANKS = (1, 2, 4, 8, 12, 16)
compressed: dict[int, list[float]] = {}
kept: dict[int, list[float]] = {}
pair = {s: weighted_sum([bank.adapters[f"{t}-{s}"] for t in TASKS[:2]], [1.0, 1.0]) for s in SEEDS}
for rank in RANKS:
    compressed[rank], kept[rank] = [], []
    for s in SEEDS:
        smaller, lost = compress(pair[s], rank)
        scratch = AdapterBank(base)
        scratch.insert("sum", smaller)
        compressed[rank].append(loss(scratch.view("sum"), "both"))
        kept[rank].append(1 - sum(c.error**2 for c in lost.values()) / sum(c.norm**2 for c in lost.values()))
print(f"{'rank':>6}{'share of |Delta W|^2 kept':>27}{'loss on both':>18}")
for rank in RANKS:
    print(f"{rank:>6}{statistics.mean(kept[rank]):>27.1%}{spread(compressed[rank]):>18}")
for i in range(len(SEEDS)):
    assert abs(compressed[2 * r][i] - summed["both"][i]) < 1e-3, "rank 2r loses nothing but rounding"
    assert kept[1][i] < kept[2][i] < kept[4][i] < kept[8][i] < kept[16][i] + 1e-12
    assert compressed[1][i] > compressed[2 * r][i], "and rank 1 loses a lot"

figure, (left, right) = subplots(1, 2, figsize=(7.5, 3.2))
count = np.arange(1, 21)
left.plot(count[:9], ranks[:9], "o", color=LORA, label="trained adapters")
left.plot(count[9:], ranks[9:], "s", color=OTHER, label="plus random ones")
left.plot(count, np.minimum(count * r, d), "--", color=BASE, label=r"$\min(Kr, d, k)$")
left.set(xlabel="adapters in the sum, $K$", ylabel=f"rank of the sum ({d} × {k})", title=f"Each adapter has rank {r}")
left.set_xticks([1, 5, 10, 15, 20])
left.legend()
plot_spread(right, compressed, "o-", color=LORA, label="the sum, cut to this rank")
alone = min(statistics.mean(losses[task, "both"]) for task in TASKS[:2])
right.axhline(alone, color=BASE, linestyle="--", label="the better adapter alone")
right.set(xlabel="rank kept", ylabel='loss on "both" (nats per byte)', title="Capitals + underscores")
right.set_xticks(RANKS)
right.legend()
show_figure(figure, "12_rank_of_a_sum.png")

# %% [markdown]
# Right: means of three seeds, with bars of one standard deviation.
#
# ## 6. Stack: an adapter on top of an adapter
# **Question.** Someone gives you the adapter for capitals, and you want capitals with underscores. Do you have to start
# from the base?
#
# **Formula.** $W = (W_0 + \Delta W_{\text{parent}}) + \Delta W_{\text{child}}$, with everything in parentheses frozen.
# To the child, the parent is simply part of the base. In a bank, a parent is frozen as soon as it has a child.
#
# **Number.** 20 steps on "both", for a child of capitals and for a fresh adapter on the bare base.

# %%
parent_bits = [array.tobytes() for array in bank.adapters["capitals-0"].tensors.values()]
stacked, fresh = [], []
for seed in SEEDS:
    bank.add_adapter(f"child-{seed}", config, seed=seed, parent=f"capitals-{seed}")
    bank.add_adapter(f"fresh-{seed}", config, seed=seed)
    for name, results in ((f"child-{seed}", stacked), (f"fresh-{seed}", fresh)):
        train(name, "both", seed, steps=20)
        results.append(loss(bank.view(name), "both"))
for title, values in (("child of capitals", stacked), ("fresh, on the base", fresh)):
    print(f"{title:<20}{spread(values)} nats per byte on both")
assert all(a < b for a, b in zip(stacked, fresh, strict=True))
assert [array.tobytes() for array in bank.adapters["capitals-0"].tensors.values()] == parent_bits
assert bank.lineage("child-0") == ["capitals-0", "child-0"]

# %% [markdown]
# The child is not an adapter for the base: its file names its parent, and a bank refuses it if the parent is missing or
# has changed. Its update and its parent's together have rank $2r$, as in section 5.
#
# A bank is therefore a *tree*: the base is the root, and every adapter may have children. What does a node know, and
# what has it forgotten? We add a second branch, a child of "code" that learns code in capitals, and look at every node
# on every text.

# %%
data["code in capitals"] = parts(ml.python_source(400_000).upper())
bank.add_adapter("code-child", config, seed=0, parent="code-0")
train("code-child", "code in capitals", 0, steps=20)
tree = {"base": (), "capitals": ("capitals-0",), "code": ("code-0",), "child of capitals": ("child-0",)}
tree |= {"child of code": ("code-child",)}
shown = ("capitals", "both", "code", "code in capitals")
print(f"{'':<20}" + "".join(f"{text:>18}" for text in shown))
node_loss = {}
for node, names in tree.items():
    model = bank.view(*names) if names else base
    node_loss[node] = [loss(model, text) for text in shown]
    print(f"{node:<20}" + "".join(f"{value:>18.2f}" for value in node_loss[node]))
assert node_loss["child of capitals"][1] < node_loss["capitals"][1], "the child learned its own text"
assert node_loss["child of capitals"][0] > node_loss["capitals"][0], "and forgot some of its parent's"
assert node_loss["child of code"][2] > node_loss["code"][2]

# %% [markdown]
# Read along a branch: each child is best on its own text, and has forgotten part of its parent's. But nothing is lost,
# because the parent is still there, frozen: serve it, and its loss is what it was, to the bit. In a tree you pay for
# memory with adapters, not with forgetting. (Lesson 19 trains one task after the other without a tree.)
#
# ## 7. Train several at once
# **Question.** Three adapters on three texts: must the base compute everything three times?
#
# **Formula.** In a forward pass, the rows of all three batches share the product with $W_0$, as in section 3; only the
# thin products differ. The same holds in the backward pass: $dy\, W_0$ is one product for all rows. So
# `fit_side_by_side` stacks the three batches, reads each $W_0$ once per step, and gives every adapter its own gradients
# and its own Adam. Each must end where it would have ended by itself, up to rounding.

# %%
for task in TASKS:
    bank.add_adapter(f"{task}-together", config, seed=0)
streams = {f"{task}-together": data[task][0] for task in TASKS}
fit_side_by_side(bank, streams, steps=10, lr=5e-3, batch_size=8, seed=0, progress=False)
for task in TASKS:
    bank.add_adapter(f"{task}-apart", config, seed=0)
    train(f"{task}-apart", task, 0, steps=10)
    both = [loss(bank.view(f"{task}-{how}"), task) for how in ("together", "apart")]
    print(f"{task:<14} together {both[0]:.5f}, by itself {both[1]:.5f}")
    assert abs(both[0] - both[1]) < 1e-2, "rounding, which ten steps of training have amplified"

# %% [markdown]
# ## 8. What is stored, what is moved
# **Question.** A server has a thousand adapters on disk and memory for only a few. What must it load when a request
# comes?
#
# **Formula.** Swapping a whole model moves $N$ numbers; swapping an adapter moves $n$ (lesson 13): $N/n \approx 3C/r$
# with two matrices per block. `AdapterFolder` keeps the most recently used adapters in memory.

# %%
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for task in TASKS:
        bank.save_adapter(f"{task}-0", folder / f"{task}.npz")
    size = (folder / "code.npz").stat().st_size
    server = AdapterFolder(base, folder, max_bytes=2 * bank.adapters["code-0"].nbytes)  # enough for two
    for task in ("code", "code", "capitals", "code", "underscores", "code", "capitals"):
        server.view(task)
        print(f"{task:<14}hits {server.hits}, misses {server.misses}, evictions {server.evictions}", end="; ")
        print(f"in memory {server.nbytes:,} bytes")
        assert server.nbytes <= server.max_bytes
assert (server.hits, server.misses, server.evictions) == (3, 4, 2)
print(f"an adapter's file {size:,} bytes, the model {model_bytes:,}: 1/{model_bytes / size:.1f}")

# %% [markdown]
# **Where the miniature disagrees.** An adapter here, with all six matrices at rank 8, is nowhere near a ten-thousandth
# of the model, as the last line shows. Lesson 13 computes the ratio and explains why it depends on the width.
#
# ## What to try next
# - Exercises 25 (switching two adapters) and 26 (a batch of mixed tasks).
# - Weights: `weighted_sum([...], [w, 1 - w])`. Plot the loss on each text against `w`.
# - *Subtract* the adapter for capitals, with weight $-1$, and evaluate on the ordinary documentation. Does the model
#   unlearn capitals, or English?
# - Train underscores as a child of capitals, and capitals as a child of underscores. Do the two orders end up the same?
