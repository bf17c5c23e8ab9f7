"""The page of all settings and the JSON Schema for editors, both from the models that check an environment."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.prose import wrapped
from infra.settings import Settings, fields

# A line that some editors' TOML extensions read to find the schema.
SCHEMA_LINE = "#:schema schema.json"
_INTRODUCTION = f"""
An environment is a file `environments/<name>.toml`. Its name is the name of the stack. `python main.py` checks every
file before Terraform runs. For each fault it prints file, key, value, reason and what to write instead.

`environments/schema.json` is a JSON Schema of these files. An editor that supports it completes keys and marks faults:
put `{SCHEMA_LINE}` on the first line of a file. Only `python main.py` checks the rules that concern several keys, such
as the order of the lifecycle.

A table in double brackets, such as `[[vault.rules]]`, may be given several times.
""".strip()
# The name of an environment is its file's name.
_NOT_IN_THE_FILE = "name"
_SHOWN_VALUES = 5
_NOUNS: list[tuple[Any, str]] = [
    (fields.BucketName, "bucket name"),
    (fields.Region, "AWS Region"),
    (fields.RoleName, "role name"),
    (fields.FunctionName, "function name"),
    (fields.TableName, "table name"),
    (fields.ScheduleName, "schedule name"),
    (fields.QueueName, "queue name"),
    (fields.Suffix, "suffix of a name"),
    (fields.Email, "email address"),
    (fields.TimeZone, "IANA time zone"),
    (fields.ScheduleExpression, "schedule expression"),
]
_SCALARS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
_BOUNDS: list[tuple[type, Callable[[Any], str]]] = [
    (Ge, lambda bound: f"≥ {bound.ge:g}"),
    (Gt, lambda bound: f"> {bound.gt:g}"),
    (Le, lambda bound: f"≤ {bound.le:g}"),
    (Lt, lambda bound: f"< {bound.lt:g}"),
    (MinLen, lambda bound: f"{bound.min_length} or more characters" if bound.min_length > 1 else "not empty"),
    (MaxLen, lambda bound: f"up to {bound.max_length:,} characters"),
]


def page(costs: str) -> str:
    """Return the page of all settings.

    Arguments:
        costs: the section on what each capability costs.
    """
    head = "# Settings\n\n" + wrapped(_INTRODUCTION) + "\n\n"
    return head + costs + "".join(_section("", Settings, is_repeated=False))


def models() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every table of an environment file: its dotted key and its model."""
    return _models("", Settings)


def schema() -> str:
    """Return the JSON Schema of an environment file."""
    document = Settings.model_json_schema()
    # TOML has no null: a key is left out instead.
    document = _without_null(document)
    del document["properties"][_NOT_IN_THE_FILE]
    document["required"].remove(_NOT_IN_THE_FILE)
    document["title"] = "An environment of Rollbook"
    for _, model in models():
        properties = (document if model is Settings else document["$defs"][model.__name__])["properties"]
        for name, field in model.model_fields.items():
            if fields.NEVER in field.metadata:
                rest = {key: properties[name].pop(key) for key in ("minimum", "type")}
                properties[name]["anyOf"] = [rest, {"const": 0}]
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}, indent=2) + "\n"


def _without_null(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_null(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _without_null(each) for key, each in value.items() if not (key == "default" and each is None)}
    choices = [each for each in found.get("anyOf", []) if each != {"type": "null"}]
    if len(choices) == 1 and "anyOf" in found:
        del found["anyOf"]
        return choices[0] | found
    return found


def _models(key: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield key, model
    for name, inner, _ in _nested(key, model):
        yield from _models(name, inner)


def _nested(key: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel], bool]]:
    """Yield the tables in a table: their dotted keys, their models, and whether they may be repeated."""
    for name, hint in _hints(model).items():
        inner, is_repeated = _model_in(hint)
        if inner:
            yield (f"{key}.{name}" if key else name), inner, is_repeated


def _model_in(hint: Any) -> tuple[type[BaseModel] | None, bool]:
    hint = _without_none(hint)
    is_list = typing.get_origin(hint) is list
    if is_list:
        (hint,) = typing.get_args(hint)
    is_model = isinstance(hint, type) and issubclass(hint, BaseModel)
    return (hint if is_model else None), is_list


def _hints(model: type[BaseModel]) -> dict[str, Any]:
    hints = typing.get_type_hints(model, include_extras=True)
    return {name: hints[name] for name in model.model_fields}


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _heading(key: str, *, is_repeated: bool) -> str:
    return f"`[[{key}]]`" if is_repeated else f"`[{key}]`" if key else "At the top"


def _section(key: str, model: type[BaseModel], *, is_repeated: bool) -> Iterator[str]:
    hints = _hints(model)
    yield f"\n## {_heading(key, is_repeated=is_repeated)}\n\n{(model.__doc__ or '').strip()}\n\n"
    yield "| setting | type | default | meaning |\n| --- | --- | --- | --- |\n"
    nested = {name.rpartition(".")[2]: (name, repeated) for name, _, repeated in _nested(key, model)}
    for name, field in model.model_fields.items():
        # The tables at the top are the headings of this page.
        if key or (name not in nested and name != _NOT_IN_THE_FILE):
            if name in nested:
                inner_key, repeated = nested[name]
                kind = f"table {_heading(inner_key, is_repeated=repeated)}"
            else:
                kind = _type(hints[name], field)
            cells = (kind, _default(field), field.description or "")
            yield f"| `{name}` | {' | '.join(_cell(cell) for cell in cells)} |\n"
    for name, inner, repeated in _nested(key, model):
        yield from _section(name, inner, is_repeated=repeated)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(hint: Any, field: FieldInfo) -> str:
    hint = _without_none(hint)
    own = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    for alias, noun in _NOUNS:
        known = typing.get_args(alias)[1:]
        if own[: len(known)] == known:
            return ", ".join([noun, *_bounds(own[len(known) :])])
    return ", ".join([_name(hint), *_bounds(field.metadata or own)])


def _name(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _name(_without_none(arguments[0]))
    if origin is typing.Literal:
        values = [f"`{json.dumps(value)}`" for value in arguments]
        if all(isinstance(value, int) for value in arguments):
            values[_SHOWN_VALUES:-1] = ["…"]
        return " or ".join(values) if len(values) < _SHOWN_VALUES else f"one of {', '.join(values)}"
    if origin is list:
        return f"list: {_name(arguments[0])}"
    if origin is dict:
        return f"table of {_name(arguments[1])}"
    return _SCALARS[hint]


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for part in metadata:
        for kind, words in _BOUNDS:
            if isinstance(part, kind):
                yield words(part)
        if isinstance(part, FieldInfo):
            yield from _bounds(part.metadata)
        elif pattern := getattr(part, "pattern", None):
            yield f"matches `{pattern}`"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None or value is PydanticUndefined else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    """Return a default as the file would have it; a table that has defaults only is `{}`."""
    match value:
        case BaseModel():
            return _toml(value.model_dump(exclude_defaults=True))
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}" if value else "{}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
