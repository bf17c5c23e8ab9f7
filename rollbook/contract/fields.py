"""Records of typed fields as flat texts: the form of a function's variables and of a schedule's message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_texts(record: Any) -> dict[str, str]:
    """Return the fields of a dataclass as texts by name; the fields of a nested one stand among them.

    None and False are empty texts.
    """
    texts: dict[str, str] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        texts |= to_texts(value) if is_dataclass(value) else {field.name: _text(value)}
    return texts


def from_texts(kind: type[T], texts: Mapping[str, str]) -> T:
    """Return a dataclass made of the texts of its fields; an empty text means the field's default.

    msgspec could convert them too, but the zip of the snapshot function would grow by half with it.

    Raises:
        KeyError: a field without a default has no text; its name.
        ValueError: a text is not of its field's type; names the field.
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
    kind = next((each for each in get_args(hint) if each is not type(None)), hint)
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; it must be of the type {kind.__name__}") from None
