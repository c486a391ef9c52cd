# %% [markdown]
# # 19 · Learns less, forgets less?
#
# **After this lesson you can**
# - measure what a model forgets, and compare methods fairly: at equal loss, not after equally many steps;
# - say what the learning rate has to do with it;
# - find *intruder dimensions*, and the control without which their number means nothing;
# - train tasks one after the other, and choose between one adapter, a stack of them, and separate ones.
#
# **You need** `pip install -e ".[plots]"`; lessons 5 and 8. The 36 runs of sections 1 to 3 are stored in
# `results/19_forgetting.json`; `python tutorials/19_learns_less_forgets_less.py --sweep` repeats them, in several
# minutes. The rest takes about half a minute on two idle cores.

# %%
import copy

import numpy as np

import minilora as ml
from minilora.analysis import forgetting_at, gaussian_control, intruder_dimensions
from minilora.plots import FULL, LORA, OTHER, plot_spread, show_figure, subplots
from minilora.text import split

# %% [markdown]
# ## 1. What is forgotten
# The base was trained on Python's *documentation*. Fine-tune it on Python's *source*, and its loss on documentation
# rises: it forgets. Biderman et al. (2024) compared LoRA with full fine-tuning on Llama 2 and found that "LoRA learns
# less and forgets less".
#
# That sentence hides a trap. Whoever has learned less has moved less, and so has forgotten less. After equally many
# steps, a method with a tiny learning rate always wins on forgetting. So we ask a different question: **when two runs
# have reached the same loss on the new text, which of them has lost more of the old?**
#
# Three ways to train, four learning rates each, three seeds. Every 20 steps we note both losses on held-out text.

# %%
base, tokenizer = ml.load_base()
source, source_held_out = split(tokenizer.encode(ml.python_source()))
_, docs_held_out = split(tokenizer.encode(ml.python_docs()))
T, STEPS, EVERY, SEEDS = 64, 240, 20, (0, 1, 2)
new_text, new_held_out, old_held_out = (ml.TextData(text, T) for text in (source, source_held_out, docs_held_out))
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
METHODS = {  # name: (rank or None, learning rates)
    "LoRA r=4": (4, (5e-4, 1e-3, 2e-3, 4e-3)),
    "LoRA r=32": (32, (2.5e-4, 5e-4, 1e-3, 2e-3)),
    "full": (None, (6e-5, 1.2e-4, 2.5e-4, 5e-4)),
}


def losses(model):
    """(new, old): the loss on source and on documentation that the model has not seen, in nats per byte."""
    return tuple(
        ml.evaluate(model, text, batch_size=32, max_batches=4, workers=2) for text in (new_held_out, old_held_out)
    )


def start(r, seed):
    """A copy of the base, with a LoRA on all six matrices, or ready for full fine-tuning if r is None."""
    model = copy.deepcopy(base)
    return model if r is None else ml.add_lora(model, ml.LoraConfig(r=r, lora_alpha=r, target_modules=MATRICES), seed)


def run(r, lr, seed):
    """Train on source; the losses along the way, and the intruders at the end."""
    model = start(r, seed)
    optimizer, rng, along = ml.Adam(model, lr), np.random.default_rng(seed), [losses(model)]
    for step in range(1, STEPS + 1):
        batch = new_text.sample(rng, 8)
        _, grads = ml.loss_and_grads(model, batch.tokens, batch.targets, workers=2)
        ml.clip_grad_norm(grads, 1.0)
        optimizer.step(grads)
        if step % EVERY == 0:
            along.append(losses(model))
    new, old = zip(*along, strict=True)
    return {"new": new, "old": old, **intruders(ml.merge(model) if r else model, r, rng)}


# %% [markdown]
# ## 2. Intruder dimensions
# Shuttleworth et al. (2024) looked at the weights instead. Take the singular vectors of the tuned $W$ that stretch
# most, and compare each with *all* singular vectors of $W_0$. If none is similar, it is an **intruder**: a direction
# that came in from outside. They found them after LoRA, not after full fine-tuning, and linked them to forgetting.
#
# A number of intruders needs a control. A large update of any kind pushes new directions to the top. So we replace each
# $\Delta W$ by a random matrix of the same size and the same rank.

# %%
import json
import sys
from pathlib import Path

TOP = 8


def intruders(model, r, rng):
    """Intruders among the TOP leading directions, per matrix: in the tuned model, and for random updates as large."""
    found, by_chance, sizes = [], [], []
    for name, W0 in base.state_dict().items():
        if name.removesuffix(".weight").endswith(MATRICES):
            W = model.named_parameters()[name].data
            noise = gaussian_control(W - W0, rng)
            if r is not None:  # the nearest matrix of rank r, as large as dW
                U, sigma, Vt = np.linalg.svd(noise, full_matrices=False)
                noise = U[:, :r] * sigma[:r] @ Vt[:r]
                noise *= np.linalg.norm(W - W0) / np.linalg.norm(noise)
            found.append(intruder_dimensions(W0, W, TOP))
            by_chance.append(intruder_dimensions(W0, W0 + noise, TOP))
            sizes.append(float(np.linalg.norm(W - W0) / np.linalg.norm(W0)))
    return {"intruders": np.mean(found), "by chance": np.mean(by_chance), "size": np.mean(sizes)}


RESULTS = Path(__file__ if "__file__" in globals() else "x").resolve().parent / "results" / "19_forgetting.json"
settings = [(method, lr, seed) for method, (_, rates) in METHODS.items() for lr in rates for seed in SEEDS]
runs = {} if "--sweep" in sys.argv or not RESULTS.exists() else json.loads(RESULTS.read_text(encoding="utf-8"))
for method, lr, seed in settings:  # each run is stored as it ends: an interrupted sweep goes on without --sweep
    key = f"{method}, rate {lr:g}, seed {seed}"
    if key not in runs:
        runs[key] = run(METHODS[method][0], lr, seed)
        RESULTS.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
        print(f"{key}: source {runs[key]['new'][-1]:.3f}, documentation {runs[key]['old'][-1]:.3f}")
seeds_of = {(method, lr): [] for method, lr, _ in settings}
for method, lr, seed in settings:
    seeds_of[method, lr].append(runs[f"{method}, rate {lr:g}, seed {seed}"])

# %% [markdown]
# ## 3. Two readings
# Side by side: after equally many steps, and at the lowest loss on source that all 36 runs reach.

# %%
LEVEL = max(min(each["new"]) for each in runs.values())
print(f"{'':<11}{'rate':>8}   {'after 240 steps':^17}   when source reaches {LEVEL:.3f}   intruders among {TOP}")
print(
    f"{'':<11}{'':>8}   {'source':>8}{'docs':>9}   {'docs rise by':<24}{'found':>6}{'by chance':>11}{'|dW|/|W0|':>11}"
)
rise = {}
for (method, lr), same in seeds_of.items():
    rise[method, lr] = np.array([forgetting_at(each["new"], each["old"], LEVEL) for each in same])
    last = [np.mean([each[kind][-1] for each in same]) for kind in ("new", "old")]
    rest = [np.mean([each[kind] for each in same]) for kind in ("intruders", "by chance", "size")]
    print(f"{method:<11}{lr:>8g}   {last[0]:8.3f}{last[1]:9.3f}   ", end="")
    print(f"{rise[method, lr].mean():+.3f} ± {rise[method, lr].std(ddof=1):.3f}         ", end="")
    print(f"{rest[0]:6.2f}{rest[1]:11.2f}{rest[2]:11.2f}")
gentlest = {method: rise[method, rates[0]] for method, (_, rates) in METHODS.items()}
boldest = {method: rise[method, rates[-1]] for method, (_, rates) in METHODS.items()}
for method in METHODS:
    assert gentlest[method].max() < boldest[method].min(), "within each method, a higher rate forgets more"
assert gentlest["full"].max() < min(gentlest["LoRA r=4"].min(), gentlest["LoRA r=32"].min())
assert boldest["full"].min() > boldest["LoRA r=4"].max()

# %% [markdown]
# Read the two columns against each other.
#
# *After equally many steps*, LoRA with $r = 4$ and a low rate has forgotten little, and has learned little: "learns
# less, forgets less", as a figure with steps on its axis would show it.
#
# *At equal loss*, the method matters less than the **learning rate**. Within each method, the lowest rate forgets
# from an eighth to a little over half of what the highest does, for the same loss on source. At its lowest rate, full
# fine-tuning forgets the least of all; at its highest, the most. So "LoRA forgets less" is not a fact about low rank
# here: it depends on the rates that one compares. Biderman et al. searched rates too, on models of 7 billion weights
# and far longer runs; what we can say is that their conclusion does not follow from low rank by itself.
#
# A likely reason: many small steps add up where the batches agree and cancel where they do not, while a large step also
# moves the model where only one batch asked for it. $\lVert\Delta W\rVert$ fits that: with $r = 32$, the rates 0.0005
# and 0.002 end at the same loss on source, and the second update is two and a half times as long.
#
# *Intruders* appear here only at the highest rates, and mostly with $r = 4$; full fine-tuning has none. That agrees
# with Shuttleworth et al. But look at the control: a random update of the same rank and size brings half as many. A low
# rank puts all its length into a few directions, so they come out on top.

# %% [markdown]
# ## 4. One task after another
# **Question.** First the source, then a second task: the documentation in CAPITALS. What is left of the first?
#
# Four ways: full fine-tuning twice; one LoRA trained on both in turn; a *stack* (merge the first LoRA, then train a
# second on top); and two *separate* LoRAs on the same base, of which you pick the one that fits the text.

# %%
capitals = tokenizer.encode(ml.python_docs().upper())
capitals_text, capitals_held_out = (ml.TextData(part, T) for part in split(capitals))
TEXTS = {"documentation": old_held_out, "source": new_held_out, "CAPITALS": capitals_held_out}


def train(model, text):
    lr = 2e-3 if any(ml.lora_layers(model)) else 2.5e-4
    ml.fit(model, text, steps=120, lr=lr, batch_size=8, workers=2, progress=False)
    return model


def on_all_texts(model):
    return [ml.evaluate(model, text, batch_size=32, max_batches=4, workers=2) for text in TEXTS.values()]


first, second = (train(start(4, seed=0), text) for text in (new_text, capitals_text))
stacked = ml.remove_lora(ml.merge(copy.deepcopy(first)))
stacked = ml.add_lora(stacked, ml.LoraConfig(r=4, lora_alpha=4, target_modules=MATRICES), seed=1)
ends = {
    "base": on_all_texts(base),
    "full, then full": on_all_texts(train(train(start(None, 0), new_text), capitals_text)),
    "one LoRA, both": on_all_texts(train(copy.deepcopy(first), capitals_text)),
    "a stack of two": on_all_texts(train(stacked, capitals_text)),
    "two separate": np.min([on_all_texts(model) for model in (base, first, second)], axis=0),
}
print(f"{'':<17}" + "".join(f"{text:>15}" for text in TEXTS))
for name, values in ends.items():
    print(f"{name:<17}" + "".join(f"{value:15.3f}" for value in values))
separate = ends["two separate"]
assert separate[0] == ends["base"][0], "what is switched off forgets nothing"
assert all(ends[way][1] > ends["base"][1] for way in ends if "separate" not in way and way != "base")

# %% [markdown]
# The second task is a harsh one: nearly every byte changes. Whoever trains both in turn has lost the first task
# altogether, and is worse on source than the untouched base. A stack does not help: the merged first update is only
# weights, and the second LoRA moves the model away from them like any other training. Separate adapters forget nothing,
# by construction. You pay with a decision: someone has to say which adapter a text needs (lesson 12).
#
# ## 5. The picture

# %%
figure, (left, right) = subplots(1, 2, figsize=(10, 4))
for (method, (_, rates)), color, style in zip(METHODS.items(), (LORA, OTHER, FULL), ("o-", "s--", "^:"), strict=True):
    plot_spread(left, {lr: rise[method, lr] for lr in rates}, style, color=color, label=method)
    found = {lr: [each["intruders"] for each in seeds_of[method, lr]] for lr in rates}
    by_chance = [np.mean([each["by chance"] for each in seeds_of[method, lr]]) for lr in rates]
    plot_spread(right, found, style, color=color, label=method)
    right.plot(rates, by_chance, style[0], color=color, fillstyle="none", markersize=10)
left.set(xscale="log", xlabel="learning rate", ylabel="rise of the loss on documentation", ylim=(0, None))
left.set_title(f"Forgotten when source reaches {LEVEL:.2f} nats")
right.set(xscale="log", xlabel="learning rate", ylabel=f"intruders among {TOP} directions")
right.set_title("Intruders (hollow: by chance)")
left.legend(fontsize=9)
show_figure(figure, "19_forgetting.png")

# %% [markdown]
# ## What to try next
# - Exercise 36: forgetting at equal loss.
# - Mix a tenth of documentation into the batches of source. How much of the forgetting goes away, and what does it
#   cost?
# - Continue the gentlest full fine-tuning for 2,000 steps. Is it still the one that forgets least?
# - Raise the threshold for an intruder from 0.5 to 0.8. Does the order of the methods change, and does the control's?
