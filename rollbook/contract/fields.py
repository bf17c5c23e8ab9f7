"""Converts dataclasses to flat texts and back, for a function's variables and a schedule's message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_texts(record: Any) -> dict[str, str]:
    """Return the fields of a dataclass as texts by name. Fields of nested dataclasses are included at the same level.

    None and False become empty texts.
    """
    texts: dict[str, str] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        texts |= to_texts(value) if is_dataclass(value) else {field.name: _text(value)}
    return texts


def from_texts(kind: type[T], texts: Mapping[str, str]) -> T:
    """Create a dataclass from the texts of its fields. An empty text means the field's default.

    This module does not use msgspec, which would make the zip of the snapshot function 50 % larger.

    Raises:
        KeyError: a field without a default has no text. The argument is the field's name.
        ValueError: a text does not match its field's type. The message names the field.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        hint, text = hints[field.name], texts.get(field.name, "")
        if is_dataclass(hint):
            values[field.name] = from_texts(hint, texts)  # type: ignore[arg-type]
        elif text:
            values[field.name] = _value(hint, field.name, text)
        elif field.default is MISSING:
            raise KeyError(field.name)
    return kind(**values)


def _text(value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _value(hint: Any, name: str, text: str) -> Any:
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise ValueError(f"{name} is {text!r}; it must be one of {', '.join(get_args(hint))}")
        return text
    if hint is bool:
        return True
    kind = next((member for member in get_args(hint) if member is not type(None)), hint)
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; it must be of the type {kind.__name__}") from None
