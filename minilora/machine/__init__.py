"""What the machine does for the book: NumPy or CuPy, BLAS threads, workers over pieces, MPI, clocks, progress.

It is handed arrays and names, never a model.
"""
