"""The array in hand chooses the library."""

import sys
import types

import numpy as np

from minilora.machine.backend import array_module, to_host


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
