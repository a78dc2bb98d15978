"""Import torch on a background thread without stopping the window."""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBRARIES = {"linux": "libtorch_python.so", "darwin": "libtorch_python.dylib"}


def load_torch() -> None:
    """Import torch, unless it is there; to be called on a background thread.

    A plain import holds the interpreter while the system loads 450 MB of libraries (0.3 s from memory, seconds
    from a disk), and while Python looks for garbage among everything that napari and torch have made (0.4 s at a
    time). All that time the window could not answer.
    """
    if "torch" in sys.modules:
        return
    _load_library()
    with _no_collecting():
        importlib.import_module("lightning_fabric")  # which imports torch


def _load_library() -> None:
    """Load torch's libraries, for the import to find them loaded; it loads them itself where this cannot.

    Only a call through ctypes lets other threads run meanwhile; `ctypes.CDLL` itself does not. On Windows
    torch loads them by such a call.
    """
    spec, name = importlib.util.find_spec("torch"), _LIBRARIES.get(sys.platform)
    if spec is None or spec.origin is None or name is None:
        return
    load = ctypes.CDLL(None).dlopen
    load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    load(bytes(Path(spec.origin).parent / "lib" / name), os.RTLD_NOW)


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Look for no garbage; what is made meanwhile counts as old afterwards, and is not looked through at once."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # else somebody keeps objects apart, and they must stay there
            gc.freeze()
            gc.unfreeze()
        gc.enable()
