"""The classroom: small tasks, their checks, and a grader out of reach of the code it grades.

In reading order:

    spec.py       what an exercise is: inputs, the right answer, hints, common slips
    catalogue/    the exercises, one module each; none of this runs in a student's process
    unsolved/     the files that students fill in; `minilora exercises start DIR` copies them
    drawing.py    the cases that an exercise is tried on
    findings.py   does a property hold in one case? Comparing within what rounding explains
    worker.py     the student's process: it answers calls, without the checks or verdicts
    fence.py      what the kernel refuses that process
    sandbox.py    that process from outside: limits, calls over a pipe, its end
    in_process.py the same without a process, for a browser
    attempt.py    a student's functions tried on one case
    slips.py      the likely slip
    checking.py   the verdict: properties of many cases, the smallest failing one
    workbook.py   a student's folder: files, what is solved, hints given
    handins.py    a class's messy folders: which file is whose answer to what
    grading.py    all of them graded: in parallel, resumable, each result sealed
    marks.py      points, and the tables that other programs read
    feedback.py   the page that a student gets back

The commands are in `cli/exercises.py`.
"""
