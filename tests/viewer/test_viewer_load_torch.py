"""Torch imported beside a window: by itself first, as a system's library, and without looking for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from napari_st2msi.viewer.load_torch import _no_collecting, load_torch

_LOADED = """
import sys
from napari_st2msi.viewer import load_torch
load_torch._load_library()
assert "torch" not in sys.modules
print(any("libtorch_python" in line for line in open("/proc/self/maps")))
load_torch.load_torch()
print(sys.modules["torch"].ones(2).sum().item())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's list of libraries")
def test_the_libraries_are_there_before_the_import_which_then_works() -> None:
    said = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, timeout=120)
    assert said.stdout.split() == ["True", "2.0"], said.stderr


def test_what_is_made_meanwhile_is_old_afterwards_and_garbage_is_looked_for_again() -> None:
    with _no_collecting():
        assert not gc.isenabled()
        made = [[number] for number in range(5000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    old = gc.get_objects(generation=2)
    assert any(one is made[0] for one in old)


def test_what_others_keep_apart_stays_apart() -> None:
    gc.freeze()
    try:
        with _no_collecting():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with _no_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_can_be_asked_again() -> None:
    load_torch()
    before = sys.modules["torch"]
    load_torch()
    assert sys.modules["torch"] is before
