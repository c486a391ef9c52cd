"""The paper's measures of an update, against their definitions, laws and controls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora import analysis
from minilora.methods.subspace import RandomSubspace, fit_in_subspace
from minilora.testing.bounds import unit_roundoff
from tests.models import TINY, bits, gpt, seeds

u = unit_roundoff("float64")


def orthonormal(rng, k, r):
    return np.linalg.qr(rng.standard_normal((k, r)))[0]
