"""Speed and memory, as ratios taken in one run.  Not part of the test suite: nothing here is timed there.

    python -m tests.benchmarks                    everything; --only train,memory for a part; --json FILE
    python -m tests.benchmarks --help

With the packages of the extra `parity` installed (torch, transformers, peft) the same step is timed there too;
without them those columns are left out.
"""
