# %% [markdown]
# # 14 · Where it fails
#
# **After this lesson you can**
# - say when a small rank is not enough, recognise it from two losses, and name the cure;
# - tell "too small a rank" from "the wrong matrices";
# - see a learning rate that is too high without waiting for a NaN, which may never come;
# - explain what a second merge does, and why it has to be an error.
#
# **You need** `pip install -e ".[plots]"`; lessons 5 to 7. Under a minute to run. This lesson breaks things on purpose;
# each section ends with what would have told you.
#
# **Symbols.** $W_0$: a frozen weight. $\Delta W = \frac{\alpha}{r} B A$: LoRA's update of rank $r$. $W_q$, $W_v$
# and so on: a block's matrices. $V$ = 256: the number of different bytes. `wte`: the table of token embeddings, a row
# for each byte. Losses are in nats per byte.

# %%
import copy
import functools
import statistics
import tempfile
from pathlib import Path

import numpy as np

import minilora as ml
from minilora.plots import BASE, FULL, LORA, OTHER, show_figure, subplots

base, tokenizer = ml.load_base()
SEEDS = (0, 1, 2)
STEPS = 30
T = 64  # bytes in a window

# %% [markdown]
# ## 1. A domain far from pre-training
# **Question.** The paper supposes that the *update* has a low "intrinsic rank". Its reason (section 1):
# over-parametrized models were found to "reside on a low intrinsic dimension", that is, to be fine-tuned well with few
# free numbers (Aghajanyan et al. 2020), for tasks in the language of pre-training. A footnote of section 7.2 warns:
# "if the downstream task were in a different language than the one used for pre-training, retraining the entire
# model ... could certainly outperform LoRA with a small $r$".
#
# We can build that language. *Near* is Python source: other text in known letters. *Far* is the documentation itself,
# but each of the 256 bytes is replaced by another, always the same: the sentences to train on are those that the base
# was trained on (those to test with it has not seen), and it cannot read a letter.

# %%
cipher = np.random.default_rng(5).permutation(256).astype(np.uint8)


def parts(tokens: np.ndarray) -> tuple[ml.TextData, ml.TextData]:
    """The first nine tenths to train on, 4 kB of the rest to test with."""
    cut = len(tokens) * 9 // 10
    return ml.TextData(tokens[:cut], T), ml.TextData(tokens[cut:][:4096], T)


near = parts(tokenizer.encode(ml.python_source(400_000)))
far = parts(cipher[tokenizer.encode(ml.python_docs())])
TEXTS = {"near": near, "far": far}
start = {"near": ml.evaluate(base, near[1]), "far": ml.evaluate(base, far[1])}
print(f"the base: near {start['near']:.2f}, far {start['far']:.2f}; guessing blindly costs ln 256 = {np.log(256):.2f}")
assert start["near"] < np.log(256) < start["far"], "on the far text the base is worse than no model at all"

# %% [markdown]
# Two yardsticks that need no network, counted on the text to train on: the *letter frequencies*, which guess every byte
# by how often it occurs, and a table of *byte pairs*, which guesses it from the byte before.


# %%
def yardsticks(train: ml.TextData, test: ml.TextData) -> dict[str, float]:
    """The held-out losses of letter frequencies and of byte pairs."""
    single = np.bincount(train.tokens, minlength=256) + 1.0  # the 1: no byte is impossible
    single /= single.sum()
    pairs = np.zeros((256, 256))
    np.add.at(pairs, (train.tokens[:-1], train.tokens[1:]), 1)
    pairs += 10 * single  # a pair that never came is as likely as its second byte allows
    pairs /= pairs.sum(axis=1, keepdims=True)
    before, after = test.tokens[:-1], test.tokens[1:]
    return {
        "letter frequencies": float(-np.log(single[after]).mean()),
        "byte pairs": float(-np.log(pairs[before, after]).mean()),
    }


yardstick = {name: yardsticks(*texts) for name, texts in TEXTS.items()}
for name in TEXTS:
    print(f"{name}: " + ", ".join(f"{title} {value:.2f}" for title, value in yardstick[name].items()))
assert start["near"] < yardstick["near"]["byte pairs"], "on the near text the base knows more than pairs"

# %% [markdown]
# **Code.** Full fine-tuning, and LoRA on all six matrices of each block, rank 1 and rank 8, $\alpha = r$: 30 steps,
# three seeds. Learning rates: 0.001 for full fine-tuning and 0.005 for LoRA. They were not searched for, so a few
# hundredths between two methods mean little; sections 2 and 3 try others where it matters.

# %%
ALL_SIX = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")


@functools.cache  # later sections meet some of these models again
def tuned(name: str, seed: int, r: int | None, targets: tuple[str, ...] = ALL_SIX, lr: float = 5e-3) -> ml.GPT:
    """A copy of the base, trained on a text: all of it, or a LoRA of rank r."""
    model = copy.deepcopy(base)
    if r is not None:
        ml.add_lora(model, ml.LoraConfig(r=r, lora_alpha=r, target_modules=targets), seed)
    text = TEXTS[name][0]
    ml.fit(model, text, steps=STEPS, lr=lr, batch_size=8, seed=seed, workers=2, progress=False)
    return model


def losses(name: str, r: int | None, **options: object) -> list[float]:
    """Held-out losses, a seed each."""
    return [ml.evaluate(tuned(name, seed, r, **options), TEXTS[name][1]) for seed in SEEDS]


def show(title: str, values: list[float]) -> None:
    print(f"{title:<36}{statistics.mean(values):>7.3f} ± {statistics.stdev(values):.3f}")


results = {}
for name in ("near", "far"):
    results[name, "full"] = losses(name, None, lr=1e-3)
    results[name, "r = 8"] = losses(name, 8, lr=5e-3)
    results[name, "r = 1"] = losses(name, 1)
    for method in ("full", "r = 8", "r = 1"):
        show(f"{name}, {method}", results[name, method])

# %% [markdown]
# **Number.** What LoRA misses: its loss minus full fine-tuning's. On the far text it is many times what it is on the
# near one, for every seed.

# %%
missed = {
    name: [a - b for a, b in zip(results[name, "r = 8"], results[name, "full"], strict=True)]
    for name in ("near", "far")
}
for name in missed:
    show(f"rank 8 misses on the {name} text", missed[name])
assert all(b > 2 * abs(a) for a, b in zip(missed["near"], missed["far"], strict=True))

# %% [markdown]
# ## 2. Too small a rank, or the wrong matrices?
# **Question.** On the far text, is it the rank that is too small?
#
# On the *near* text, rank 1 trails rank 8 for every seed: there the rank matters. If rank were what is wrong on the far
# text, going from 1 to 8 should close much of the gap to full fine-tuning. It closes little, and a learning rate four
# times as high does not help either.
#
# **Formula.** Think what the far text asks for. In the end, to permute the rows of `wte`, $W_e$, by the cipher: with
# $P W_e$ in its place, $P$ a permutation matrix, the base could read. That is a change of up to full rank, of `wte` and
# of nothing else. And first, to say which letters are common: `wte` is the output head too, the logits are
# $x W_e^\top$ (lesson 2), and a byte's row moves that byte's logit. But all our LoRAs sit in the blocks, which move
# nothing but $x$. So adapt `wte` at the same small rank: beside the six, and alone. (Alone at the rate 0.02.)

# %%
results["far", "r = 8 and wte"] = losses("far", 8, targets=(*ALL_SIX, "wte"))
results["far", "wte alone"] = losses("far", 8, targets=("wte",), lr=2e-2)
for method in ("full", "r = 8 and wte", "wte alone", "r = 8", "r = 1"):
    show(f"far, {method}", results["far", method])
for title, value in yardstick["far"].items():
    print(f"{'far, ' + title:<36}{value:>7.3f}")
faster = ml.evaluate(tuned("far", SEEDS[0], 8, lr=2e-2), far[1])
print(f"far, r = 8, seed {SEEDS[0]}: {faster:.3f} at the rate 0.02, {results['far', 'r = 8'][0]:.3f} at 0.005")
closed = {}
for name, worse, better in (
    ("near", "r = 1", "r = 8"),
    ("far", "r = 1", "r = 8"),
    ("far", "r = 8", "r = 8 and wte"),
):
    closed[name, better] = [
        (a - b) / (a - f)
        for a, b, f in zip(results[name, worse], results[name, better], results[name, "full"], strict=True)
    ]
    print(f"{name}: from {worse} to {better} closes {statistics.mean(closed[name, better]):.0%} of the gap to full")
extra = 8 * (256 + base.config.n_embd)
C = base.config.n_embd
before = base.config.n_layer * 8 * (4 * (C + C) + 2 * (4 * C + C))  # four square matrices and the MLP's two
print(f"wte's A and B have {extra:,} numbers; the blocks' have {before:,} at rank 8")
frequencies, pairs = yardstick["far"].values()
for i in range(len(SEEDS)):
    assert results["near", "r = 8"][i] < results["near", "r = 1"][i]
    assert closed["far", "r = 8 and wte"][i] > 0.5 > closed["far", "r = 8"][i]
    assert results["far", "wte alone"][i] < results["far", "r = 8"][i], "3,072 numbers against 73,728"
    assert results["far", "r = 8"][i] > frequencies + 0.5, "the blocks do not even get the letter frequencies"
    assert abs(results["far", "r = 8 and wte"][i] - frequencies) < 0.2
    assert abs(results["far", "full"][i] - frequencies) < 0.2
    assert all(values[i] > pairs for (name, _), values in results.items() if name == "far"), "nobody reads"
assert faster > frequencies + 0.5
assert 10 * extra < before

# %% [markdown]
# What has been learned? Look at the yardsticks: **in 30 steps this is a race to the letter frequencies.** Full
# fine-tuning and LoRA with `wte` get about there. The blocks alone do not, at either rank; `wte` alone, with a small
# part of their numbers, comes much closer. So which matrices were adapted mattered more than the rank.
#
# That is all that this shows. Nobody has undone the cipher: a table of byte pairs would beat all five, and the base
# reads the same documentation in plain letters far better still. Whether LoRA or full fine-tuning gets *that* far, and
# at which rank, is a matter of many more steps than a lesson has. The footnote's "retraining the entire model" is just
# that.
#
# **What would have told you:** the loss of the base before training (above $\ln V$: it does not know the language);
# a gap that does not close as $r$ grows; and a loss no better than that of the letter frequencies, which cost a line to
# count.

# %%
figure, axes = subplots(1, 2, figsize=(8.5, 3.6), width_ratios=(3, 5))
marks = {
    "full": (FULL, "s"),
    "r = 8 and wte": (OTHER, "D"),
    "wte alone": (OTHER, "P"),
    "r = 8": (LORA, "o"),
    "r = 1": (LORA, "v"),
}
for panel, name, title in zip(axes, ("near", "far"), ("near: Python source", "far: a secret alphabet"), strict=True):
    methods = [m for m in marks if (name, m) in results]
    for x, method in enumerate(methods):
        values, (color, marker) = results[name, method], marks[method]
        panel.errorbar(
            x, statistics.mean(values), statistics.stdev(values), fmt=marker, color=color, capsize=4, markersize=8
        )
    panel.axhline(start[name], color=BASE, linestyle="--")
    panel.text(len(methods) - 0.5, start[name], "the base", ha="right", va="bottom", color=BASE, fontsize=9)
    panel.set_xticks(range(len(methods)), [m.replace(" and ", "\nand ").replace(" alone", "\nalone") for m in methods])
    panel.set(title=title, xlim=(-0.5, len(methods) - 0.5))
    panel.margins(y=0.12)
for title, value in yardstick["far"].items():
    axes[1].axhline(value, color="black", linestyle=":", linewidth=1)
    axes[1].text(len(marks) - 0.5, value, title, ha="right", va="bottom", fontsize=9)
axes[0].set_ylabel("held-out loss (nats per byte)")
show_figure(figure, "14_near_and_far.png")

# %% [markdown]
# ![near and far](figures/14_near_and_far.png)
#
# Mean and standard deviation over three seeds (often smaller than the mark).
#
# ## 3. A learning rate that is too high
# **Question.** LoRA was trained at five times full fine-tuning's learning rate above, and often takes ten times. How
# does it look when that is overdone?
#
# **Formula.** Adam moves each number by at most about the learning rate $\eta$ at every step, whatever the gradient's
# size. $B$ starts at 0 and $A$ at $a = 1/\sqrt{k}$, so after $t$ steps the entries of
# $\Delta W = \frac{\alpha}{r} B A$, sums of $r$ products, are at most of the order of $\alpha\, \eta t\, (a + \eta t)$,
# while those of $W_0$ stay what they were. Four times the rate makes that between 4 times ($\eta t \ll a$: $A$ is still
# the one that was drawn) and 16 times ($\eta t \gg a$: nothing is left of it) as large.

# %%
RATES = (5e-3, 2e-2, 8e-2, 0.32)
by_rate, sizes, reach = {}, {}, {}
W0 = base.blocks[0].attn.q_proj.weight.data
undone = ml.add_lora(copy.deepcopy(base), ml.LoraConfig(r=8, lora_alpha=8, target_modules=ALL_SIX), seed=SEEDS[0])
drawn = undone.blocks[0].attn.q_proj.lora_A.data
print(
    "block 0's W_q, seed 0:  |Delta W| / |W0|, how far A moved / |A| as drawn, and the formula, times the first rate's"
)
for rate in RATES:
    by_rate[rate] = losses("near", 8, lr=rate)
    layer = tuned("near", SEEDS[0], 8, lr=rate).blocks[0].attn.q_proj
    sizes[rate] = float(np.linalg.norm(layer.delta()) / np.linalg.norm(W0))
    moved = np.linalg.norm(layer.lora_A.data - drawn) / np.linalg.norm(drawn)
    reach[rate] = rate * STEPS * (drawn.shape[1] ** -0.5 + rate * STEPS)
    show(f"lr {rate:g}; finite: {np.isfinite(by_rate[rate]).all()}", by_rate[rate])
    print(f"{'':<24}{sizes[rate]:>7.2f}, A moved by {moved:.2f}; ", end="")
    print(f"{sizes[rate] / sizes[RATES[0]]:,.0f} times the first, formula {reach[rate] / reach[RATES[0]]:,.0f}")
for i in range(len(SEEDS)):
    assert by_rate[RATES[0]][i] < start["near"], "a good rate learns"
    assert by_rate[RATES[-1]][i] > start["near"], "the highest ends above the base"
assert np.isfinite(by_rate[RATES[-1]]).all(), "and no NaN gave it away"
assert sizes[RATES[0]] < 1 < sizes[RATES[-1]]
assert sizes[RATES[-1]] / sizes[RATES[0]] < reach[RATES[-1]] / reach[RATES[0]]

# %% [markdown]
# The formula says how far Adam *can* go, not how far it goes: steps that disagree cancel. From one rate to the next it
# is no good guess, as the printed factors show. That the update outgrows the weight is the point.
#
# No overflow, no NaN, no error: LayerNorm and softmax keep every number finite. A run at such a rate ends with a model
# that is worse than the untrained one. With LoRA the untrained one is to be had at once: $W_0$ was not touched.
#
# **What would have told you:** the base's loss drawn into the plot, and $\lVert \Delta W \rVert / \lVert W_0 \rVert$.
#
# ## 4. Merged twice
# **Question.** A server merges an adapter when it starts. Somebody starts it on weights that were merged already. What
# happens?
#
# **Formula.** $W_0 + \Delta W$ becomes $W_0 + 2 \Delta W$, and nothing in the arrays says so: shapes, dtypes and the
# file's size are right. More generally put $c$ times the update into the weights: $c = 0$ is the base, 1 is what was
# trained, 2 is merged twice, $-1$ is *unmerged* twice.

# %%
AMOUNTS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


def carelessly_merged(model: ml.GPT, c: float) -> ml.GPT:
    """W <- W0 + c Delta W in arrays of its own, as one would write it in a hurry."""
    plain = copy.deepcopy(base)
    for path, layer in ml.lora_layers(model):
        plain.get_submodule(path).weight.data += np.float32(c) * layer.delta()
    return plain


trained = [tuned("near", seed, 8, lr=RATES[0]) for seed in SEEDS]
merged = {c: [ml.evaluate(carelessly_merged(model, c), near[1]) for model in trained] for c in AMOUNTS}
for c in AMOUNTS:
    show(f"W0 + {c:g} Delta W", merged[c])
for i, model in enumerate(trained):
    assert abs(merged[1.0][i] - ml.evaluate(model, near[1])) < 1e-3, "merged once: the same to rounding"
    assert merged[2.0][i] > merged[1.0][i], "merged twice: worse than merged once"
    assert merged[3.0][i] > merged[2.0][i]

# %%
figure, (left, right) = subplots(1, 2, figsize=(7.5, 3.3))
left.errorbar(
    RATES,
    [statistics.mean(by_rate[rate]) for rate in RATES],
    [statistics.stdev(by_rate[rate]) for rate in RATES],
    fmt="o-",
    color=LORA,
    capsize=3,
    label="LoRA, r = 8",
)
left.axhline(start["near"], color=BASE, linestyle="--", label="the base")
left.set(xscale="log", xlabel="learning rate", ylabel="held-out loss (nats per byte)", title="too high a rate: no NaN")
left.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
left.minorticks_off()
left.legend()
right.errorbar(
    AMOUNTS,
    [statistics.mean(merged[c]) for c in AMOUNTS],
    [statistics.stdev(merged[c]) for c in AMOUNTS],
    fmt="o-",
    color=LORA,
    capsize=3,
)
for c, text, place in ((0, "base", (8, 8)), (1, "merged", (0, -14)), (2, "twice", (6, -12))):
    right.annotate(text, (c, statistics.mean(merged[float(c)])), xytext=place, textcoords="offset points", fontsize=9)
right.set(
    xlabel=r"$c$ in $W_0 + c\,\Delta W$", ylabel="held-out loss (nats per byte)", title="how often was it merged?"
)
right.margins(y=0.15)
show_figure(figure, "14_rate_and_merge.png")

# %% [markdown]
# ![rate and merge](figures/14_rate_and_merge.png)
#
# Merging must therefore know its state. In minilora a second merge is an error, and so are its relatives: training
# while merged (the optimizer would move $B$, and the forward would not see it), and an adapter on another base than its
# own (an adapter is an *update*: it means nothing elsewhere; files carry the base's hash).


# %%
def refused(work: object, *arguments: object) -> str:
    """The message that `work` refuses with; an error if it does not."""
    try:
        work(*arguments)
    except (ml.LoraError, ml.CheckpointError) as error:
        return str(error).splitlines()[0]
    raise AssertionError("this must be refused")


model = trained[0]
batch = near[0].sample(np.random.default_rng(0), 2)
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "adapter.npz"
    ml.save_adapter(model, file)
    other = copy.deepcopy(base)
    other.wte.weight.data[0, 0] += 1  # one number of 867,072 differs
    print("another base:   ", refused(ml.load_adapter, other, file).replace(f"{folder}/", ""))
ml.merge(model)
print("merged twice:   ", refused(ml.merge, model))
print("trained merged: ", refused(ml.loss_and_grads, model, batch.tokens, batch.targets))
print("saved merged:   ", refused(ml.save_model, model, "merged.npz"))
ml.unmerge(model)

# %% [markdown]
# ## What to try next
# - Section 1 with *half* of the bytes permuted. Is LoRA's gap half as large?
# - The far text for 120 steps, then for 1,000. Who gets below the byte pairs first, and at which rank?
# - Section 2 with rank 64 in the blocks. Why does even $r = C$ on all six matrices not reach full fine-tuning here, and
#   which parameters are missing? (`bias="all"` adds some of them.)
# - In section 4, $c = 1.5$ may be better than $c = 1$ after a very short training. When, and is it a bargain?
# - Write the check that your own server needs: given two models and an adapter, tell base, merged and merged twice
#   apart. How large must $\Delta W$ be, next to the rounding of $W_0$, for it to be sure?
