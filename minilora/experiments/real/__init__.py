"""The paper on a real language model and real data: `minilora reproduce real --data FOLDER`.

In reading order:

    data.py     the E2E files' meanings: which train, which choose learning rates, which test; prompts as tokens
    run.py      one run: a config in, numbers out
    scores.py   what is measured on the test meanings, and intervals over them
    updates.py  what is measured on the weights that changed
    plan.py     which runs, in which order; learning rates
    page.py     the tables, as Markdown
"""
