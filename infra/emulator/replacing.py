"""Replaces functions of MiniStack. The original functions can still be called."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any


class Original:
    """A replaced function of MiniStack. Calling this object calls the function before the replacement.

    Several modules may replace the same function. Each calls the function that was installed before it.

    Arguments:
        module: a module of MiniStack.
        name: of the function in the module.
    """

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module = module
        self._name = name
        self._function: Callable[..., Any] = getattr(module, name)

    def replace(self, replacement: Callable[..., Any]) -> None:
        """Replace the function."""
        self._function = getattr(self._module, self._name)
        setattr(self._module, self._name, replacement)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._function(*arguments, **named)
