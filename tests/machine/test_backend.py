"""The array in hand chooses the library; a BLAS that was told to use one thread is told back."""

import sys
import types

import numpy as np
import pytest

from minilora.machine import blas
from minilora.machine.backend import array_module, to_host
from minilora.machine.blas import blas_thread_controls, short_turns, single_threaded_blas


def test_numpy_owns_its_arrays_and_scalars():
    assert array_module(np.zeros(2)) is np and array_module(np.float32(1)) is np


def test_another_librarys_array_is_that_librarys_and_comes_to_the_host_by_get(monkeypatch):
    device = types.ModuleType("device")
    monkeypatch.setitem(sys.modules, "device", device)
    DeviceArray = type("DeviceArray", (), {"__module__": "device.core", "get": lambda self: np.ones(2)})
    assert array_module(DeviceArray()) is device
    np.testing.assert_array_equal(to_host(DeviceArray()), np.ones(2))


def test_a_host_array_is_its_own_copy_on_the_host():
    array = np.zeros(2)
    assert to_host(array) is array


def test_the_number_of_blas_threads_comes_back_after_an_error():
    controls = blas_thread_controls()
    if controls is None:
        pytest.skip("this NumPy's BLAS has no thread control that we know")
    get, set_ = controls
    before = get()
    set_(2)
    try:
        with pytest.raises(RuntimeError, match="inside"), single_threaded_blas():
            assert get() == 1
            raise RuntimeError("inside")
        assert get() == 2
    finally:
        set_(before)


def test_a_blas_that_cannot_be_told_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas, "blas_thread_controls", lambda: None)
    with single_threaded_blas():
        pass


def test_the_length_of_a_turn_comes_back_after_an_error():
    before = sys.getswitchinterval()
    with pytest.raises(RuntimeError, match="inside"), short_turns():
        assert sys.getswitchinterval() < before
        raise RuntimeError("inside")
    assert sys.getswitchinterval() == before
