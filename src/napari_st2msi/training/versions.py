"""Which versions of what made a model."""

from __future__ import annotations

import platform
from importlib.metadata import version

_PACKAGES = ("napari-st2msi", "anndata", "numpy", "scipy", "scikit-learn", "pandas")


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what its numbers rest on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
