"""How many threads a combination takes, so that its numbers are the same wherever it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from napari_st2msi.recipe import Recipe
from napari_st2msi.recipe.networks import trains_networks

_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@contextmanager
def capped(threads: int, recipe: Recipe) -> Iterator[None]:
    """Compute on so many threads, linear algebra and torch alike."""
    from threadpoolctl import threadpool_limits

    of_torch: AbstractContextManager[None] = nullcontext()
    if trains_networks(recipe.model) or recipe.genes.histology in ("learned", "timm"):
        from napari_st2msi.models.deep.device import threads as threads_of_torch

        of_torch = threads_of_torch(threads)
    with threadpool_limits(limits=threads), of_torch:
        yield


@contextmanager
def threads_of_libraries(threads: int) -> Iterator[None]:
    """Let processes that start meanwhile find how many threads they may take.

    Libraries look when they are loaded, and keep what they found.
    """
    before = {name: os.environ.get(name) for name in _LIBRARIES}
    os.environ.update(dict.fromkeys(_LIBRARIES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
