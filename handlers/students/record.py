"""Validates student records."""

from __future__ import annotations

import re
from datetime import date
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Rounded, Underflow
from typing import Any

FIELDS = ("studentid", "name", "class", "birthdate", "email")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EMAIL = re.compile(r"[^@\s<>\"(),:;\[\]\\]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# JSON can escape half of a surrogate pair. UTF-8, and so DynamoDB, cannot represent it.
_SURROGATE = re.compile("[\ud800-\udfff]")
_HALF = "contains half of a surrogate pair, which is not valid text"
_OLDEST = date(1900, 1, 1)
# DynamoDB Developer Guide, "Quotas": nesting of 32, numbers of 38 digits between 1E-130 and 9.99…E+125.
_MAX_DEPTH = 32
_NUMBER = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Rounded, Underflow])


def faults(document: Any, *, today: date) -> dict[str, str]:
    """Return the faults of a record by field; empty if it can be saved.

    Arguments:
        document: the decoded JSON.
        today: the current date; a date of birth must be before it.
    """
    if not isinstance(document, dict):
        return {"": "must be a JSON object with the attributes of one student record"}
    found = {field: fault for field in FIELDS if (fault := _fault(field, document.get(field), today))}
    for name, value in document.items():
        if name in FIELDS:
            continue
        if not name:
            found[name] = "has an empty name"
        elif _SURROGATE.search(name):
            found[name.encode("ascii", "backslashreplace").decode()] = _HALF
        elif fault := _unsavable(value, depth=1):
            found[name] = fault
    return found


def clean(document: dict[str, Any]) -> dict[str, Any]:
    """Return the record without the spaces around the values of its five required fields."""
    return {name: value.strip() if name in FIELDS else value for name, value in document.items()}


def _fault(field: str, value: Any, today: date) -> str:
    if value is None or value == "":
        return "is missing"
    if not isinstance(value, str):
        return f"must be text, not {_kind(value)}"
    text = value.strip()
    if not text:
        return "is missing"
    if _CONTROL.search(text):
        return "contains a control character"
    if _SURROGATE.search(text):
        return _HALF
    match field:
        case "studentid":
            return "" if _ID.fullmatch(text) else "must be 1 to 64 letters, digits, dots, dashes or underscores"
        case "name":
            return "" if len(text) <= 200 else "is longer than 200 characters"
        case "class":
            return "" if len(text) <= 50 else "is longer than 50 characters"
        case "email":
            return (
                ""
                if len(text) <= 254 and _EMAIL.fullmatch(text)
                else "must be an e-mail address such as an@school.example"
            )
        case _:
            return _birthdate_fault(text, today)


def _birthdate_fault(text: str, today: date) -> str:
    try:
        born = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    except ValueError:
        return "is not a date of the calendar"
    if born is None:
        return "must be written as YYYY-MM-DD"
    if born >= today:
        return "must be in the past"
    return "" if born >= _OLDEST else f"must not be before {_OLDEST.year}"


def _unsavable(value: Any, depth: int) -> str:
    if depth > _MAX_DEPTH:
        return f"is nested more than {_MAX_DEPTH} levels deep"
    if isinstance(value, str):
        return _HALF if _SURROGATE.search(value) else ""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | Decimal):
        try:
            _NUMBER.create_decimal(value)
        except (Inexact, InvalidOperation, Overflow, Rounded, Underflow):
            return "contains a number of more than 38 digits or outside 1E-130 to 1E+126"
        return ""
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return next((fault for item in inner if (fault := _unsavable(item, depth + 1))), "")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    return {int: "a number", Decimal: "a number", list: "a list", dict: "an object"}[type(value)]
