"""The paper's tables and figures in miniature: `minilora reproduce`.

In reading order:

    run.py         one run: a config in, numbers out; results on disk under a hash of the config
    plan.py        what is run: settings, learning rates, how much; the runs in order, each once
    pool.py        runs in processes, continued after a kill
    experiment.py  what an experiment is; scores over seeds, claims and verdicts
    table*.py, figure*.py, ...   one module an experiment; all_methods.py has what tables 3 and 4 share
    catalogue.py   all of them, in the order in which they run
    figures.py     their figures
    report.py      a JSON file an experiment, and the page with every verdict
    commands.py    `minilora reproduce`
"""
