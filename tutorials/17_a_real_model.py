# %% [markdown]
# # 17 · LoRA on a real language model
#
# **After this lesson you can**
# - take a real model from prompting to a tuned adapter on real data, and say what each step is worth;
# - search a learning rate before anything else, and say why LoRA's is far above full fine-tuning's;
# - explain how one method can be ahead by the loss and level by BLEU;
# - choose r, alpha, the rate and the matrices for a run of your own, with a measured number behind each choice.
#
# **You need** `pip install -e ".[plots]"`; lessons 5, 6 and 8. It takes seconds: the long runs are stored, as numbers
# without a word of the data.
#
# **Symbols.** $W$ $(d, k)$, $A$ $(r, k)$, $B$ $(d, r)$, $\Delta W = \frac{\alpha}{r} B A$. Losses are in nats per
# token of what people wrote.

# %%
from pathlib import Path

import numpy as np

from minilora import LlamaConfig, methods
from minilora.experiments.real import page
from minilora.experiments.real.plan import WAYS, Cell
from minilora.plots import BASE, FULL, LORA, OTHER, show_figure, subplots

HERE = Path(__file__).parent if "__file__" in globals() else Path()  # a notebook runs in its folder
plan = page.stored(HERE)
assert plan is not None


def show(table: str) -> None:
    """A Markdown table with its columns aligned."""
    lines = table.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [line]
        if not cells[0].startswith("---"):
            print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths or [0], strict=False)).rstrip())


print(f"{len(plan.results)} runs, {sum(run['seconds'] for run in plan.results.values()) / 3600:.1f} hours of one core")

# %% [markdown]
# ## 1. The model, the data, the command
# **SmolLM2-135M-Instruct** has Llama's architecture (lesson 16): 30 blocks, width 576, 9 query heads on 3 key/value
# heads, 49,152 tokens. **E2E** (Novikova et al. 2017, CC BY-SA 4.0) is the paper's own data-to-text task: slots and
# values of a restaurant in, a sentence about it out. We train on `MEANING\n> SENTENCE` with the loss on the sentence
# only (equation 2), each pair once, 8 a step.
#
# ```sh
# minilora fetch smollm2
# minilora reproduce real --data FOLDER --out tutorials     # makes the runs below that are missing
# minilora reproduce real --data FOLDER --out tutorials --test testset_w_refs.csv     # on the official test set
# ```
#
# The whole plan takes about eight hours on two idle cores, and continues where it was stopped. What has not run yet is
# named below each table.
#
# How much trains? Counted from the shapes, without the model:

# %%
config = LlamaConfig()
for way in ("full", "lora", "r1", "r64", "seven", "dora", "vera"):
    label, method, options, _ = WAYS[way]
    count = methods.count(method, config, **options)
    print(f"{label:<24}{count:>12,}  {count / config.parameter_count:8.3%}")
assert methods.count("lora", config, **WAYS["lora"].options) == 30 * 4 * ((576 + 576) + (576 + 192))

# %% [markdown]
# Keys and values are narrow here (192 rows instead of 576), so q and v with r = 4 cost $4 (1152 + 768)$ in each block.
#
# ## 2. First the learning rate
# **Question.** You have an hour. Do you spend it on the rank or on the rate?
#
# The rates below were tried on 200 pairs, half a decade apart, and further while the best was at an end; the loss is
# on meanings kept for this choice.

# %%
show(page.rates_table(plan))
searched = {
    way: {lr: loss for lr, loss in sorted(plan.tried(way, [c.lr for c in plan.search(way)]).items()) if loss}
    for way in WAYS
}
curves = {way: losses for way, losses in searched.items() if len(losses) > 1}

# %% [markdown]
# Adam moves every entry by about the rate (lesson 3). $B$ starts at zero and $\Delta W$ is a product of two small
# matrices, so LoRA has to take larger steps to move $W$ as far as full fine-tuning does with small ones. Schulman et
# al. ("LoRA Without Regret", 2025) find a factor of about ten.

# %%
best = {way: min(losses, key=lambda lr, losses=losses: losses[lr]) for way, losses in curves.items()}
for way, losses in curves.items():
    rates = list(losses)
    place = rates.index(best[way])
    beside = {side: rates[i] for side, i in (("lower", place - 1), ("higher", place + 1)) if 0 <= i < len(rates)}
    costs = ", ".join(f"{losses[lr] - losses[best[way]]:.3f} nats at the {side}" for side, lr in beside.items())
    print(f"{WAYS[way].label}: best at {best[way]:g}; the rate beside it costs {costs}")
if "lora" in best and "full" in best:
    print(f"LoRA's best rate is {best['lora'] / best['full']:.0f} times full fine-tuning's")
    assert best["lora"] > best["full"]

# %% [markdown]
# ## 3. From prompting to a tuned model
# BLEU, NIST, ROUGE-L and CIDEr are the challenge's own; a slot error is a value left out, wrong or added. In brackets:
# the bootstrap's 95 % interval over 43 meanings. It is wide. 43 meanings can tell prompting from tuning; they cannot
# tell two good methods apart.

# %%
show(page.prompts_table(plan))

# %%
show(page.methods_table(plan))
print()
show(page.cells_table(plan, plan.sections()["sizes"]))

# %% [markdown]
# ## 4. Why the loss and BLEU disagree
# A loss asks: what probability had the next word *of a person's sentence*? BLEU asks: do the words that the model
# writes *by itself* occur in some person's sentence? A greedy answer uses only the largest probability of each step, so
# BLEU does not see how sure the model was. The loss sees little else. What stands beside the loss:

# %%
show(page.why_table(plan))

# %% [markdown]
# Read a row from the left. *On copied names* and *elsewhere* split the loss: names are nearly free once a model has
# learned to copy. *Next token right* is what a greedy answer depends on. *Its mean p* against it is calibration: above
# it, the model is too sure. The loss at other temperatures says the same in nats: if 1.25 is better than 1, the model
# is too sure; if 0.8 is better, not sure enough.

# %%
figure, (left, right) = subplots(1, 2, figsize=(10, 4.2))
styles = {"lora": (LORA, "o-"), "full": (FULL, "s--"), "r1": (OTHER, "^-."), "r64": ("#009E73", "D:")}
for way, (colour, style) in styles.items():
    if way in curves:
        left.plot(list(curves[way]), list(curves[way].values()), style, color=colour, label=WAYS[way].label)
left.set(xscale="log", xlabel="learning rate", ylabel="loss where rates are chosen", title="Each has its rate")
left.legend(fontsize=9)
right.plot([0, 1], [0, 1], color="black", linewidth=0.8, label="as right as it is sure")
zero_shot = plan.results.get(plan.prompts()["zero-shot, as in training"].text)
drawn = [("the base, zero-shot", BASE, "x:", zero_shot)]
for way in ("lora", "full"):
    sizes = [N for N in (plan.scale.usual, plan.scale.search) if page.runs(plan, Cell(way, N))][:1]
    drawn += [(f"{WAYS[way].label}, {N} pairs", *styles[way], page.runs(plan, Cell(way, N))[0]) for N in sizes]
for label, colour, style, run in drawn:
    if run is not None:
        counts, confidence, correct = np.array(run["test"]["pairs"]["bins"]).T
        shown = counts > 20
        right.plot(confidence[shown], correct[shown], style, color=colour, label=label)
right.set(xlabel="largest probability", ylabel="share of right tokens", title="Calibration, seed 0")
right.legend(fontsize=9)
show_figure(figure, "17_a_real_model.png")

# %% [markdown]
# ## 5. Which rank, which matrices
# At alpha = 8 for every rank the scale is alpha / r, so A and B of r = 1 are scaled eight times as much as those of
# r = 8. A shared rate hides what a rank can do. So each rank has its own search, and the last columns show what one
# rate for all would have told.

# %%
show(page.ranks_table(plan))
print()
show(page.beside_lora(plan, "matrices"))

# %% [markdown]
# ## 6. How large is the update?
# The course's shipped base has to learn its tasks from scratch, and its update is nearly as large as the weight
# (lesson 8). A real model adapts: it knows English, and learns a format.

# %%
show(page.updates_table(plan))

# %% [markdown]
# ## 7. A page to decide by
# The last column names where it was measured. Where this model's rows are still missing, the course's small base has
# them: its numbers are in `RESULTS.md`.
#
# | choice | do | measured in |
# |---|---|---|
# | prompt or tune? | prompt first: it costs nothing; then tune on a few hundred examples | section 3 |
# | rate | search it before anything else, half a decade at a time, past the ends | section 2, lesson 20 |
# | full or LoRA? | LoRA, unless memory is no matter *and* the loss itself is what you need | sections 3 and 4 |
# | r | 4 or 8; compare ranks only at their own rates | section 5, lesson 8 |
# | alpha | fix it; changing it is changing the rate | lesson 6 |
# | matrices | all linear layers with a small r if you can; q and v are the paper's cheap start | section 5, lesson 20 |
# | score | the one you will be judged by, with an interval; the loss for choosing rates | section 4 |
# | seeds | three before you call one method better | the ± in every table |
#
# ## What to try next
# - Score the official test: `--test testset_w_refs.csv`. 630 meanings make the intervals about four times narrower.
# - Run `minilora reproduce real --quick` and read the JSON files: which numbers would you need for a new metric?
# - Take a stored run's `bins` and compute its calibration error by hand.
# - Talk to the base (`minilora chat`), then `minilora train` on 500 lines of your own.
