"""The classroom: small tasks, their checks, and a grader out of reach of the code it grades.

In reading order:

    spec.py       what an exercise is: inputs, a float64 reference, hints, common wrong answers
    catalogue/    the exercises, one module each; none of this runs in a student's process
    unsolved/     the files that students fill in; `minilora exercises start DIR` copies them
    worker.py     the student's process: it answers calls, without the checks or verdicts
    sandbox.py    that process from outside: limits, calls over a pipe, its end
    checking.py   the verdict: properties of many cases, the smallest failing one, the likely slip
    workbook.py   a student's folder: files, what is solved, hints given
    grading.py    a class: many folders, in parallel, resumable

The commands are in `cli/exercises.py`.
"""
