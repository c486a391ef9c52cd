"""The paper's tables and figures in miniature: `minilora reproduce`.

In reading order:

    engine/run.py         one run: a config in, numbers out; results on disk under a hash of the config
    engine/plan.py        which runs: settings, learning rates, how much; each run once, in order
    engine/pool.py        runs in processes; a killed command continues where it stopped
    engine/experiment.py  what an experiment is; scores over seeds, claims and verdicts
    engine/figures.py     its figures
    engine/report.py      one JSON file per experiment, and the report: the page with every verdict
    tables/               one module per table or figure
    real/                 the same on a real language model and real data
    reproduce.py          all of it, but for the real model
    reproduce_real.py     the real model's runs
"""

from minilora.experiments.engine.plan import QUICK, Scale
from minilora.experiments.engine.report import tell
from minilora.experiments.reproduce import reproduce, write_page
from minilora.experiments.tables import EXPERIMENTS

__all__ = ["EXPERIMENTS", "QUICK", "Scale", "reproduce", "tell", "write_page"]
