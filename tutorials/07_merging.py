# %% [markdown]
# # 7 · Merging: the update disappears into the weight
#
# **After this lesson you can**
# - merge an adapter, and bound how far the merged layer can differ from the unmerged one, before you measure it;
# - count what an unmerged adapter costs at inference, and show that a merged one costs nothing;
# - take an adapter out again exactly, and say what subtracting it does instead: once, a thousand times, in float32 and
#   in float16;
# - explain why merging and unmerging the same adapter forever does *not* drift, while a series of different ones does.
#
# **You need** `pip install -e ".[test]"`; lesson 5 (what $A$, $B$ and $s = \alpha/r$ are). It takes about 20 seconds on
# two idle cores.

# %%
import copy

import numpy as np

import minilora as ml
from minilora.machine.timing import interleaved_medians
from minilora.plots import BASE, LORA, OTHER, plot_spread, show_figure, subplots
from minilora.testing import forward_error_bound, merge_error_bound, unit_roundoff, unmerge_drift_bound
from minilora.text import split

# %% [markdown]
# First we need an adapter that has learned something: rank 4 on all attention matrices of the base, trained for 60
# steps on Python's source.

# %%
base, tokenizer = ml.load_base()
train_tokens, held_out = split(tokenizer.encode(ml.python_source()))
T = 64  # bytes in a window of text
validation = ml.TextData(held_out[: 64 * T + 1], T)
tokens, targets, _ = next(validation.batches(8))

CONFIG = ml.LoraConfig(r=4, lora_alpha=4, target_modules=("q_proj", "k_proj", "v_proj", "o_proj"))
model = ml.add_lora(copy.deepcopy(base), CONFIG)
ml.fit(model, ml.TextData(train_tokens, T), steps=60, lr=4e-3, batch_size=8, workers=2, progress=False)
base_loss, adapted_loss = ml.evaluate(base, validation), ml.evaluate(model, validation)
print(f"held-out loss: base {base_loss:.3f}, with the adapter {adapted_loss:.3f} nats per byte")
assert adapted_loss < base_loss

# %% [markdown]
# ## 1. Is merged the same as unmerged?
# **Question.** The adapter adds a second path next to $W_0$. Can we fold that path into the weight?
#
# **Formula.** Matrix products distribute over sums, so (Hu et al. 2021, section 4.1)
#
# $$ W_0 x + s B A x = (W_0 + s B A)\, x = W x $$
#
# This is exact for real numbers. A computer rounds each product and each sum: unless something underflows, the result
# is the true one times $1 + \delta$ with $|\delta| \le u$. $u$ is the *unit roundoff*: $2^{-53}$ in float64, $2^{-24}$
# in float32, $2^{-11}$ in float16. A term that goes through $m$ roundings on its way into the result is therefore off
# by a factor of at most $(1 + u)^m$, that is, by at most $(1 + u)^m - 1$ times itself. To get rid of the power, note
# that $(1 + u)^m - 1 \le mu + (mu)^2 + \dots = mu / (1 - mu)$ if $mu < 1$; call that $\gamma_m$. For all terms
# together:
#
# $$ |\hat h_i - h_i| \;\le\; \gamma_m \Big( |W_0|\,|x| + s\,|B|\,|A|\,|x| \Big)_i,
#    \qquad \gamma_m = \frac{m u}{1 - m u}, $$
#
# where $|\cdot|$ takes the absolute value of every entry (Higham 2002, lemma 3.1). It remains to count $m$. A term
# $s B_{ip} A_{pj} x_j$ is rounded once for each product and each sum: up to $k$ times in the sum over the $k$ inputs,
# up to $r$ times in the sum over the rank, twice for the scaling, and up to $k + 1$ more times if the base's $k$ terms
# are added in the same sum. So $m = 2k + r + 3$. Merged and unmerged are each within the bound of the true result, so
# they are within twice the bound of each other. We assumed nothing about the order of the sums, so the bound holds for
# every BLAS (the library that multiplies matrices for NumPy) and every number of threads.
#
# **Number.** We check every entry in each of the 16 matrices of the trained model, and print the largest fraction of
# its bound that any entry uses up.

# %%
x = np.random.default_rng(0).standard_normal((64, base.config.n_embd)).astype(np.float32)
worst = 0.0
for _, layer in ml.lora_layers(model):
    W0, A, B, s = layer.weight.data, layer.lora_A.data, layer.lora_B.data, layer.scaling
    unmerged = x @ W0.T + s * (x @ A.T) @ B.T
    merged = x @ (W0 + s * (B @ A)).T
    bound = merge_error_bound(x, W0, A, B, s)
    difference = np.abs(merged.astype(np.float64) - unmerged)
    assert (difference <= bound).all()
    worst = max(worst, float((difference / bound).max()))
one_side = forward_error_bound(x, W0, A, B, s)
assert np.array_equal(bound, 2 * one_side)
print(f"every entry is within its bound; the worst uses {worst:.1%} of it")

# %% [markdown]
# The bound covers the worst case, in which all roundings push the same way. In fact they push both ways, so little of
# it is used. Even a bound that is never reached is worth having: an error *above* it is definitely a bug.
#
# The same for the whole model, in two precisions: the difference between the logits shrinks with $u$, so it is rounding
# error.


# %%
def in_float64(model: ml.GPT) -> ml.GPT:
    """The same numbers in double precision."""
    double = ml.add_lora(ml.GPT(ml.GPTConfig(**{**vars(model.config), "dtype": "float64"})), CONFIG)
    double.load_state_dict(model.state_dict())
    return double


gap = {}
for dtype, adapted in (("float32", model), ("float64", in_float64(model))):
    logits = adapted(tokens)
    gap[dtype] = float(np.abs(ml.merge(copy.deepcopy(adapted))(tokens) - logits).max())
    print(f"{dtype}: |merged - unmerged| logit <= {gap[dtype]:.1e}, logits up to {np.abs(logits).max():.0f}")
assert gap["float64"] < gap["float32"] * 1e-6, "u is 2^-29, about 2e-9, times as large"

# %% [markdown]
# ## 2. What does it cost to run?
# **Question.** A layer with its adapter beside it does more work. How much more, and how much is left after merging?
#
# **Formula.** Multiplications for one input: $dk$ for the base, $r(d + k)$ for the adapter. For a square matrix, that
# is $2r/d$ of the base's work. It is little arithmetic, but it takes two more products in a row, and a small product
# leaves most of a machine idle. Merged: $dk$, as before.
#
# **Number.** First, the count. Second, we show that the merged model *is* a plain model: without $A$ and $B$ it gives
# the same bits. Last, the median time of a forward pass on one window, with all models taking turns. Times depend on
# your computer and on what else it is doing, so we also time a copy of the base. Whatever difference appears between
# the base and its copy is noise, and no smaller difference means anything.

# %%
layers = [layer for _, layer in ml.lora_layers(model)]
extra = sum(layer.lora_A.size + layer.lora_B.size for layer in layers)
work = sum(p.size for name, p in base.named_parameters().items() if p.data.ndim == 2 and not name.startswith("wpe"))
print(f"multiplications by weights, per byte of text: base {work:,}, the adapter {extra:,} more ({extra / work:.1%})")

merged = ml.merge(copy.deepcopy(model))
plain = ml.remove_lora(ml.merge(copy.deepcopy(model)))
assert set(plain.named_parameters()) == set(base.named_parameters())
assert merged(tokens).tobytes() == plain(tokens).tobytes(), "merged is a plain model, to the bit"

timed = {"base": base, "base again": copy.deepcopy(base), "unmerged": model, "merged": merged}
times = interleaved_medians(timed, lambda m: m(tokens[:1]), repeats=200)
for name, milliseconds in times.items():
    print(f"  {name:<11}{milliseconds:6.2f} ms  {milliseconds / times['base'] - 1:+.1%}")
noise = max(abs(times[name] / times["base"] - 1) for name in ("base again", "merged"))  # both are plain models
unmerged = times["unmerged"] / times["base"] - 1
verdict = "more than" if unmerged > noise else "indistinguishable from"
print(f"the adapter costs {unmerged:+.1%} of the time: {verdict} the noise of ±{noise:.1%}")

# %% [markdown]
# The count and the bits are certain; a clock can at best confirm them, and on a busy computer not even that. Where the
# clock does show something beyond the noise, it is more than the count suggests: thin products take longer than their
# few multiplications should. Lesson 11 compares this with other methods.
#
# An adapter layer as in Houlsby et al. (2019) has a nonlinearity inside. No matrix is equal to it, so it cannot be
# merged and its latency stays. That is the paper's argument for a *linear* update: "Our simple linear design allows us
# to merge the trainable matrices with the frozen weights when deployed" (section 1).
#
# ## 3. Taking it out again
# **Question.** The next request needs a different adapter. How do we get $W_0$ back?
#
# **Two ways.** The paper subtracts: "we can recover $W_0$ by subtracting $BA$ and then adding a different $B'A'$"
# (section 4.1). minilora keeps $W_0$ aside when it merges, and puts it back. That computes nothing, so nothing can
# round.

# %%
merged = ml.merge(copy.deepcopy(model))  # keep_base=True
aside = sum(layer.base_weight.nbytes for _, layer in ml.lora_layers(merged))
ml.unmerge(merged)
subtracted = ml.unmerge(ml.merge(copy.deepcopy(model), keep_base=False))
off = total = 0
for (_, kept), (_, new), (_, old) in zip(*(ml.lora_layers(m) for m in (merged, subtracted, model)), strict=True):
    assert kept.weight.data.tobytes() == old.weight.data.tobytes()
    off += int((new.weight.data != old.weight.data).sum())
    total += old.weight.size
print(f"W0 kept aside: restored bit for bit, at the price of {aside:,} bytes while merged")
print(f"subtracted: {off:,} of {total:,} entries differ from W0 ({off / total:.0%})")
assert off > 0

# %% [markdown]
# ## 4. A thousand times
# **Question.** Each of these entries is off in its last digit. Does that matter if a server swaps adapters all day?
#
# **Formula.** One cycle is $W \leftarrow \mathrm{fl}(W + \Delta)$, then $W \leftarrow \mathrm{fl}(W - \Delta)$, with
# $\Delta = \mathrm{fl}(s B A)$, where fl means "as rounded by the computer". Without rounding, the two steps cancel. As
# in section 1, each step is off by at most $\gamma_{r+3} (|W| + s |B| |A|)$: $r$ roundings in the sum over the rank,
# two in the scaling, one in the addition. Before the addition, $|W|$ is at most $|W_0|$ plus the drift so far; before
# the subtraction, it has grown by $|\Delta|$. To first order, after $n$ cycles:
#
# $$ \text{drift} \;\le\; n\, \gamma_{r+3} \big( 2 |W_0| + 3 s |B| |A| \big) $$
#
# `unmerge_drift_bound` computes this, including the higher orders.
#
# Two cases behave differently.
# - **The same adapter every time.** Assume rounding to nearest, ties to even, which is what every computer does. By a
#   theorem of Reiser and Knuth (Knuth, *The Art of Computer Programming* 2, section 4.2.2, theorem D),
#   $((((w \oplus \delta) \ominus \delta) \oplus \delta) \ominus \delta) = (w \oplus \delta) \ominus \delta$. The first
#   cycle moves $W$; no later one does.
# - **A different adapter every time.** The theorem does not apply. Each cycle adds new errors of either sign: if they
#   are independent, their sum grows like $\sqrt{n}$, as a random walk does, while the bound grows like $n$.
#
# **Code.** We take one matrix of the trained model. For the "different adapters" we use the trained one and reorder the
# columns of $A$ each time, which gives different numbers of the same sizes. We run a thousand cycles, in float32 and
# float16, on three seeds.


# %%
def cycle(W, A, B, s):
    """Merge and unmerge as the paper does.  All arrays in one precision."""
    W = W + s * (B @ A)
    return W - s * (B @ A)


layer = dict(ml.lora_layers(model))["blocks.0.attn.q_proj"]
by_hand = cycle(layer.weight.data, layer.lora_A.data, layer.lora_B.data, np.float32(layer.scaling))
library = dict(ml.lora_layers(subtracted))["blocks.0.attn.q_proj"].weight.data
assert by_hand.tobytes() == library.tobytes(), "this cycle does what the library does"

CYCLES, SEEDS = 1000, (0, 1, 2)
MARKS = np.unique(np.geomspace(1, CYCLES, 16).round().astype(int))  # the cycles after which we look


def drift(dtype, different: bool, seed: int = 0):
    """(largest drift, root mean square of the drift, largest entry of the bound), at each of the marks."""
    s = dtype(layer.scaling)
    W0, A, B = (array.astype(dtype) for array in (layer.weight.data, layer.lora_A.data, layer.lora_B.data))
    size = np.abs(W0).astype(np.float64)
    rng, W, bound, seen = np.random.default_rng(seed), W0, np.zeros(W0.shape), []
    for n in range(1, CYCLES + 1):
        if different:
            A = A[:, rng.permutation(A.shape[1])]
        W = cycle(W, A, B, s)
        bound = bound + unmerge_drift_bound(size + bound, A, B, float(s))
        if n in MARKS:
            moved = np.abs(W.astype(np.float64) - W0)
            assert (moved <= bound).all(), "no entry may leave its bound"
            seen.append((moved.max(), np.sqrt((moved**2).mean()), bound.max()))
    return np.array(seen).T


drifts = {}
for dtype in (np.float32, np.float16):
    drifts[dtype, "same"] = drift(dtype, different=False)[None]
    drifts[dtype, "different"] = np.array([drift(dtype, different=True, seed=seed) for seed in SEEDS])

update = float(np.sqrt((layer.delta() ** 2).mean()))  # what the adapter itself changes: our yardstick
print(f"the update itself: {update:.1e} (root mean square of an entry)\n")
print(f"{'':<20}{'cycles':>7}{'largest drift':>15}{'rms drift':>11}{'rms / update':>14}{'bound':>10}")
for (dtype, kind), values in drifts.items():
    for i in (0, -1):
        largest, rms, bound = values.mean(axis=0)[:, i]
        name = f"{dtype.__name__}, {kind}"
        print(f"{name:<20}{MARKS[i]:7}{largest:15.1e}{rms:11.1e}{rms / update:14.1e}{bound:10.1e}")

# %% [markdown]
# What must hold: no entry ever leaves its bound (asserted inside the loop, for all entries); the same adapter drifts in
# its first cycle and never again; different adapters keep drifting, but more slowly than the bound; and float16 drifts
# more than float32 by the ratio of their $u$, a factor of $2^{13}$, give or take the luck of the roundings.

# %%
for dtype in (np.float32, np.float16):
    same, different = drifts[dtype, "same"][0], drifts[dtype, "different"]
    assert (same[:2] == same[:2, :1]).all(), "theorem D: nothing after the first cycle"
    assert (different[:, 1, -1] > 5 * different[:, 1, 0]).all(), "different adapters keep drifting"
    growth = different[:, 1, -1] / different[:, 1, 0]
    grown = different[:, 2, -1] / different[:, 2, 0]
    power, bound_power = (np.log(g.mean()) / np.log(CYCLES) for g in (growth, grown))
    print(f"{dtype.__name__}: different adapters drift like n^{power:.2f}; the bound grows like n^{bound_power:.2f}")
    assert (growth < grown).all()
ratio = drifts[np.float16, "different"][:, 1, -1] / drifts[np.float32, "different"][:, 1, -1]
roundoffs = unit_roundoff(np.float16) / unit_roundoff(np.float32)
print(f"drift in float16 / in float32: {ratio.mean():,.0f}; ratio of the unit roundoffs: {roundoffs:,.0f}")
assert (roundoffs / 4 < ratio).all()
assert (ratio < roundoffs * 4).all()

# %% [markdown]
# And now a thousand cycles of the whole model with $W_0$ kept aside:

# %%
again = copy.deepcopy(model)
for _ in range(CYCLES):
    ml.unmerge(ml.merge(again))
for (_, new), (_, old) in zip(ml.lora_layers(again), ml.lora_layers(model), strict=True):
    assert new.weight.data.tobytes() == old.weight.data.tobytes()
print(f"W0 kept aside: after {CYCLES:,} cycles every bit is where it was")

# %% [markdown]
# ## 5. The picture

# %%
figure, panels = subplots(1, 2, figsize=(9, 4), sharey=True)
for panel, dtype in zip(panels, (np.float32, np.float16), strict=True):
    different, same = drifts[dtype, "different"], drifts[dtype, "same"][0]
    panel.plot(MARKS, different[0, 2], "-.", color=BASE, label="bound, different adapters")
    for row, style, name in ((0, "^-", "largest"), (1, "o--", "rms")):
        samples = dict(zip(MARKS, different[:, row].T, strict=True))
        plot_spread(panel, samples, style, color=LORA, markersize=5, label=f"different adapters, {name}")
    panel.plot(MARKS, same[1], "s:", color=OTHER, markersize=5, label="the same adapter, rms")
    panel.axhline(update, color="black", linewidth=1)
    panel.text(0.97, 0.03, r"$W_0$ kept aside: always 0", fontsize=9, ha="right", transform=panel.transAxes)
    panel.set(title=dtype.__name__, xlabel="cycles of merging and subtracting", xscale="log", yscale="log")
panels[0].text(1, 1.5 * update, "the update itself (rms)", fontsize=9)
panels[0].set_ylim(bottom=2e-11)
panels[0].set(ylabel=r"drift $|W - W_0|$ of an entry")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
show_figure(figure, "07_drift.png")

# %% [markdown]
# Means of three seeds, with bars of one standard deviation (small). The column "rms / update" above puts the drift in
# proportion: how large the leftovers of a thousand swaps are compared with one adapter. In float32 nobody will notice
# them. In float16 they are thousands of times larger, and they grow. bfloat16, the format in which most models are
# served in 2026, has 8 significant bits where float16 has 11: its $u$ is $2^{-8}$, and drift goes with $u$. (The bound
# grows faster than $n$ there, because its own higher orders have become large.) Keeping $W_0$ aside costs the bytes
# counted in section 3. If even that is too much, you can read $W_0$ again from the base's file, which is on the disk
# anyway.
#
# ## What to try next
# - Merge twice without unmerging. What does minilora do, and what would happen if it allowed it (lesson 14)?
# - Let all 16 matrices drift for a thousand cycles in float16, and evaluate the base on held-out text. Does the loss
#   get worse?
# - Why is `W + s * (B @ A) - s * (B @ A)` in one expression no different from the function `cycle`? (Which operation
#   goes first?) What would Kahan's compensated summation cost, in bytes?
# - Prove theorem D for the easy case in which $w \oplus \delta$ and $w$ have the same exponent.
# - Exercises 18 (merge), 19 (exact unmerge) and 35 (a training loop from end to end: inject, step, merge).
