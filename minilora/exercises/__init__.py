"""The classroom: small tasks, their checks, and a grader that a student's code cannot reach.

In reading order:

    spec.py       what an exercise is: inputs, a float64 reference, hints, and the wrong answers people give
    catalogue/    the exercises, one module each; none of it runs in a student's process
    unsolved/     the files that students fill in (tutorials/exercises is a copy of them)
    worker.py     the student's process: it answers calls and knows neither checks nor verdicts
    sandbox.py    that process seen from outside: limits, calls over a pipe, its end
    checking.py   the verdict: properties on drawn cases, the smallest failing one, the likely slip
    folder.py     a student's folder: which files, which are solved, hints given
    grading.py    many folders, in parallel, resumable
    matrix.py     the checks themselves on trial: every right and every wrong answer of the catalogue
    commands.py   `minilora exercises`, `check`, `hint`, `grade`
"""
