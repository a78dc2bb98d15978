"""How many threads linear algebra takes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

_SMALL = 1e10  # floating-point operations, about half a second on one core


def threads_for(operations: float) -> AbstractContextManager[Any]:
    """Return a context in which small linear algebra runs on one thread.

    Threads that wait for each other at every step of a small decomposition bring nothing, and on a
    busy machine they made it twenty times slower (measured).

    Parameters
    ----------
    operations
        Floating-point operations of the largest single step.
    """
    if operations > _SMALL:
        return nullcontext()
    context: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return context


@lru_cache(maxsize=1)
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
