# %% [markdown]
# # 20 · Tuned fairly
#
# **After this lesson you can**
# - write DoRA, PiSSA, OLoRA, LoRA+, VeRA and LoRA-XS as one change each to plain LoRA, count their parameters, and say
#   how each starts;
# - say which of LoRA's laws DoRA breaks, and why it must;
# - recognize an unfair comparison, and set up a fair one: the same search of rates, the same seeds, an interval;
# - choose r, alpha, the rate and the matrices for a run of your own, and know when to leave plain LoRA.
#
# **You need** `pip install -e ".[plots]"`; lessons 5, 6 and 8. It takes under a minute: the long runs are stored.
#
# **Symbols.** $W_0$ $(d, k)$, $A$ $(r, k)$, $B$ $(d, r)$, $s = \alpha / r$. $m$ $(d,)$: DoRA's magnitudes.
# $\lambda_d$ $(r,)$ and $\lambda_b$ $(d,)$: VeRA's vectors. Losses are in nats per byte.

# %%
import math
from pathlib import Path

import numpy as np

import minilora as ml
from minilora import methods
from minilora.experiments.engine import report
from minilora.experiments.tables import variants, variants_by_size
from minilora.plots import FULL, LORA, OTHER, show_figure, subplots

HERE = Path(__file__).parent if "__file__" in globals() else Path()  # a notebook runs in its folder
base, tokenizer = ml.load_base()
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
OPTIONS = {
    "lora": {"r": 4, "lora_alpha": 8},
    "dora": {"r": 4, "lora_alpha": 8},
    "pissa": {"r": 4, "lora_alpha": 8},
    "olora": {"r": 4, "lora_alpha": 8},
    "loraplus": {"r": 4, "lora_alpha": 8},
    "vera": {"r": 64},
    "lora_xs": {"r": 32, "lora_alpha": 8},
}


def adapted(name: str) -> ml.GPT:
    """The base with LoRA or a variant on all six matrices."""
    return methods.apply(ml.load_base()[0], name, target_modules=MATRICES, **OPTIONS[name])


# %% [markdown]
# ## 1. One change each
# **Formula.**
#
# | | the layer | what changes | trains |
# |---|---|---|---|
# | LoRA | $W_0 + s B A$ | | $r (d + k)$ |
# | DoRA | $\frac{m}{\lVert V \rVert} \odot V$, $V = W_0 + s B A$ | a row's length is a parameter | $r (d + k) + d$ |
# | PiSSA | $W_0 + s (B A - B_0 A_0)$ | $A, B$ start at $W_0$'s first singular directions | $r (d + k)$ |
# | OLoRA | the same | $A, B$ start at the first rows of $R$ and columns of $Q$ in $W_0 = Q R$ | $r (d + k)$ |
# | LoRA+ | LoRA's | $B$ learns 16 times as fast | $r (d + k)$ |
# | VeRA | $W_0 + \Lambda_b B \Lambda_d A$ | random frozen $A, B$ for all layers; two vectors train | $r + d$ |
# | LoRA-XS | $W_0 + s B R A$ | $A, B$: PiSSA's start, frozen; $R$ between them trains | $r^2$ |
#
# **Code.** Counted from the shapes alone, and on the model. Every one starts as the base, to the last bit.

# %%
tokens = tokenizer.encode("def start(self):")[None]
for name in OPTIONS:
    model = adapted(name)
    count = methods.count(name, base.config, target_modules=MATRICES, **OPTIONS[name])
    trains = sum(p.size for p in model.parameters if p.trainable)
    assert count == trains and np.array_equal(model(tokens), base(tokens))
    print(f"{methods.METHODS[name].label:<8}{count:>8,} parameters train, {count / base.config.parameter_count:.2%}")

# %% [markdown]
# ## 2. The law that DoRA breaks
# LoRA's update has rank $r$ at most. DoRA's is
#
# $$W' - W_0 = \left(g - 1\right) \odot W_0 + g \odot s B A, \qquad g = \frac{m}{\lVert V \rVert},$$
#
# and the first term has the rank of $W_0$ as soon as two rows have different gains. So it cannot be stored as a
# product of two thin matrices, nor be a branch beside $W_0$; merged, it is a weight like any other. Its own law: every
# row of $W'$ is as long as $m$ says. `check_lora(variant="dora")` holds an implementation to these laws.

# %%
rng = np.random.default_rng(0)
for name in ("lora", "pissa", "vera", "lora_xs", "dora"):
    model = adapted(name)
    for parameter in model.parameters:
        if parameter.trainable:
            parameter.data += 0.05 * rng.standard_normal(parameter.shape).astype("float32")
    layer = dict(ml.lora_layers(model))["blocks.1.attn.q_proj"]
    sigma = np.linalg.svd(layer.delta().astype(float), compute_uv=False)
    rank = int((sigma > 1e-5 * sigma[0]).sum())
    print(f"{methods.METHODS[name].label:<8}rank of the update of a {' x '.join(map(str, layer.weight.shape))}: {rank}")
    assert rank > 64 if name == "dora" else rank == {"lora": 4, "pissa": 8, "vera": 64, "lora_xs": 32}[name]
lengths = np.linalg.norm(ml.merge(model).blocks[1].attn.q_proj.weight.data, axis=1)
assert np.allclose(lengths, np.abs(layer.lora_magnitude_vector.data), rtol=1e-5)

# %% [markdown]
# ## 3. The trap, and the fair way
# **Question.** A paper trains LoRA and its own method for the same number of steps, at the same learning rate, and
# wins. What has it shown?
#
# That the rate suits the method. A variant that changes the scale of $B A$ (PiSSA's start, LoRA+'s factor, VeRA's
# vectors) changes how far one step of Adam goes. "Learning Rate Matters: Vanilla LoRA May Suffice" (2026, arXiv
# 2602.04998) searched the rate of each method and found most gains gone.
#
# **The protocol here**, for each method alike: train on 2,000 questions with SQL answers, for 240 steps of 8, on all
# six matrices. Try the rates 0.003, 0.01 and 0.03; while the best is at an end, try one half decade further, up to six
# rates, by the validation loss of seed 0. Then three seeds at the best rate, scored on other questions. The gain over
# LoRA is taken seed by seed, since runs with one seed see the same batches, with a 95 % interval (Student's t, two
# degrees of freedom: 4.3 standard errors).
#
# (Steps and alpha are the same for all, and were not searched. Section 4 changes the batch and the rank.)
#
# The runs are stored; `minilora reproduce variants --out tutorials` makes them again.

# %%
results = report.tell(variants.EXPERIMENT, HERE)
assert results is not None
searched = {label: variants.tried(results, family) for family, label in variants.LABELS.items()}
gains = {label: variants.gain(results, family) for family, label in variants.LABELS.items() if family != variants.LORA}

# %% [markdown]
# First the unfair way, from the same runs: everybody at one rate, validation loss of seed 0, gain over LoRA.

# %%
print(f"{'gain over LoRA at the rate':<28}" + "".join(f"{lr:>10g}" for lr in (0.003, 0.01, 0.03)))
for label, losses in searched.items():
    if label != "LoRA":
        apparent = [searched["LoRA"][lr] - losses[lr] for lr in (0.003, 0.01, 0.03)]
        print(f"{label:<28}" + "".join(f"{gain:>+10.4f}" for gain in apparent))
for label in ("PiSSA", "OLoRA", "LoRA+"):
    assert searched["LoRA"][0.003] - searched[label][0.003] > 0.005, "at a rate that is low for LoRA, they seem to win"
    assert searched["LoRA"][0.01] - searched[label][0.01] < 0, "at LoRA's own they seem to lose"
    assert abs(gains[label].mean) < gains[label].half, "each at its own rate, three seeds cannot tell them from LoRA"

# %% [markdown]
# Whoever had tried only 0.003 would have reported that three variants beat LoRA, by up to a quarter of its loss.
# Whoever had tried only 0.01 would have reported that all of them lose, and LoRA+ and VeRA by far.

# %%
figure, (left, right) = subplots(1, 2, figsize=(10, 4.2))
colours = (LORA, FULL, OTHER, "#009E73", "#CC79A7", "#56B4E9", "#000000", "#999999")
for (label, losses), colour, mark in zip(searched.items(), colours, "os^DvPX*", strict=True):
    rates = [lr for lr, loss in losses.items() if math.isfinite(loss)]
    left.plot(rates, [losses[lr] for lr in rates], f"{mark}-", color=colour, label=label)
left.set(
    xscale="log", yscale="log", xlabel="learning rate", ylabel="validation loss, seed 0", title="Each has its rate"
)
left.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.4, -0.16))
places = np.arange(len(gains))[::-1]
right.axvline(0, color=LORA, linewidth=2)
right.errorbar(
    [gain.mean for gain in gains.values()], places, xerr=[gain.half for gain in gains.values()], fmt="o", color="black",
    capsize=4,
)  # fmt: skip
right.set_yticks(places, list(gains))
right.set(xlabel="gain over LoRA, nats per byte (95 % interval)", title="What remains, each at its own rate")
show_figure(figure, "20_tuned_fairly.png")

# %% [markdown]
# **How to read it.** A gain whose interval contains 0 is no gain. Three seeds give wide intervals: they exclude large
# gains, not small ones. And the horizontal distances in the left panel are the trap: at a rate that is right for one
# curve, another is far from its best.

# %%
for label, gain in gains.items():
    if gain.mean > gain.half:
        verdict = "better than LoRA"
    elif gain.mean < -gain.half:
        verdict = "worse than LoRA"
    else:
        verdict = "not to be told from LoRA"
    print(f"{label:<28}{gain!s:>20} nats per byte: {verdict}")

# %% [markdown]
# **What this does not show.** One small base, one task, 240 steps.
#
# ## 4. Another batch size, another rank
# A variant might shine elsewhere: in large batches, where a step must go further, or at rank 1, where a better start or
# a length of its own could matter more. So: the same examples in batches of 32 (60 steps), and r = 1 and 16, each
# method with a search of its own each time. (`minilora reproduce variants_by_size --out tutorials`)

# %%
sizes = report.tell(variants_by_size.EXPERIMENT, HERE)
assert sizes is not None
ours = [gain for of in variants_by_size.gains(sizes).values() for family, gain in of.items() if family != "full"]
ahead = [gain for gain in ours if gain.mean > gain.half]
print(f"{len(ahead)} of {len(ours)} comparisons have a variant ahead of LoRA by more than its interval")
at_rank_1 = variants_by_size.gains(sizes)["r = 1"]["all_dora"]
assert ahead == [at_rank_1]

# %% [markdown]
# One is ahead: **DoRA at r = 1**, its paper's strongest case. It also trains half as many numbers again there, 13,824
# against 9,216, for a magnitude per row; plain LoRA of rank 4 does better than either. At r = 16 nothing is left of it.
# In batches of 32 the intervals are too wide to tell anybody apart: 60 steps depend much on the seed. LoRA's own best
# rate moves by half a decade from r = 1 to r = 4, and not at all from there to r = 16.

# %% [markdown]
# ## 5. What a step costs
# Forward and backward on 8 rows of 128 tokens, one thread; the methods take turns, and each number is a ratio to LoRA's
# median. LoRA+ is LoRA with another optimizer setting, and LoRA appears twice: the second row is noise.

# %%
from minilora.machine.timing import interleaved_medians

models = {"LoRA": adapted("lora"), "LoRA, again": adapted("lora")}
models |= {methods.METHODS[name].label: adapted(name) for name in ("dora", "pissa", "vera", "lora_xs")}
batch = rng.integers(256, size=(8, 129))
times = interleaved_medians(models, lambda m: ml.loss_and_grads(m, batch[:, :-1], batch[:, 1:]), repeats=7)
for label, milliseconds in times.items():
    print(f"{label:<12}{milliseconds:7.1f} ms {milliseconds / times['LoRA']:6.2f}")

# %% [markdown]
# DoRA computes $V$ and the lengths of its rows in every step, a cost that a larger batch shares out. PiSSA (and OLoRA)
# carry the frozen pair $A_0, B_0$; the authors write the residual over $W_0$ instead, which saves that and loses $W_0$.
# VeRA's rank is 16 times LoRA's here. Merged, all of them cost nothing.
#
# ## 6. One page to keep
# - **Matrices: all of them.** At equal parameters, adapt every linear layer with a small r rather than attention with a
#   large one ("LoRA Without Regret", 2025). Our last row points the same way, inside its interval; see also lesson 8.
# - **r: small first.** 4 or 8. Double it while that lowers the validation loss. r is capacity, not quality: lesson 8.
#   `use_rslora=True` is for ranks above 64, where $\alpha / r$ makes the update too small.
# - **alpha: set it once.** r or 2 r of the first r that you try, and leave it: tuning it is tuning the rate (lesson 6).
# - **The rate: search it, always.** Half a decade at a time, until the best is not at an end. On this task, LoRA's on
#   attention is 0.01 and full fine-tuning's 0.001 (`results/table4.json`); "LoRA Without Regret" also finds a factor of
#   ten. With alpha fixed it hardly moves with r (section 4, `results/lr_transfer.json`).
# - **Seeds:** three at the chosen rate. A difference inside their interval is none.
# - **Leave plain LoRA** for a reason that you can name, and search the new method's rate as well:
#   - VeRA, when thousands of adapters must be stored: a sixth of the numbers here (section 1), at a higher loss;
#   - PiSSA or OLoRA, when steps are few: that is their papers' case, and at a low rate they are ahead (section 3);
#   - DoRA, when r must be 1 or 2 (section 4) and a slower step is no matter (section 5);
#   - LoRA+, which costs nothing, when one more number to search is no burden;
#   - full fine-tuning, when the domain is far from what the base knows (lesson 14).
# - AdaLoRA and other ways to move rank from layer to layer are not in this package.
#
# ## What to try next
# - Add `norm_gradient=True` to DoRA. Does the loss change? What does a step cost now?
# - Give LoRA+ a ratio of 1, 4 and 64, and search the rate again each time.
# - Run the protocol on `nli`: change `TASK` in `minilora/experiments/tables/variants.py`.
# - Read `searched`: how large is PiSSA's gain if LoRA must use PiSSA's best rate, and the other way round?
# - Exercises 33 (DoRA) and 34 (PiSSA's start).
