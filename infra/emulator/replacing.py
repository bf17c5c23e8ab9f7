"""Put a function in the place of one of MiniStack's, and keep the original to call."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any


class Original:
    """A function of MiniStack's that is replaced. Calling this calls the function that was there before.

    Several modules may replace the same function: each calls the one that was installed before it.

    Arguments:
        module: of MiniStack.
        name: of the function in it.
    """

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module = module
        self._name = name
        self._function: Callable[..., Any] = getattr(module, name)

    def replace(self, replacement: Callable[..., Any]) -> None:
        """Put the replacement in the function's place."""
        self._function = getattr(self._module, self._name)
        setattr(self._module, self._name, replacement)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._function(*arguments, **named)
