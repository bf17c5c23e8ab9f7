"""docs/settings.md has every setting as the models have it, and environments/schema.json fits the environment files."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from docs import settings as page
from infra.settings import ENVIRONMENTS, EXCEPTIONS, Settings, SettingsError, fields, load
from ops.console import ROOT

_PAGE = (ROOT / "docs" / "settings.md").read_text("utf-8")
_SCHEMA = json.loads((ENVIRONMENTS / "schema.json").read_text("utf-8"))
_FILES = [path for path in sorted(ENVIRONMENTS.glob("*.toml")) if path.name != EXCEPTIONS]


def rows(key: str) -> dict[str, list[str]]:
    """Return the rows of a table of settings: name, type, default and meaning."""
    titles = {"At the top"} if not key else {f"`[{key}]`", f"`[[{key}]]`"}
    for section in re.split(r"^## ", _PAGE, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        if title in titles:
            lines = [line for line in body.splitlines() if line.startswith("| `")]
            cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
            return {row[0].strip("`"): row for row in cells}
    return {}


def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Return the models that a model's annotations name, found without the page's own code."""
    seen: set[type[BaseModel]] = set()
    waiting: list[Any] = [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, type) and issubclass(part, BaseModel):
            if part not in seen:
                seen.add(part)
                waiting += [field.annotation for field in part.model_fields.values()]
        else:
            waiting += getattr(part, "__args__", ())
    return seen


def test_the_page_goes_through_every_model() -> None:
    assert {model for _, model in page.models()} == sections(Settings)


@pytest.mark.parametrize(("key", "model"), list(page.models()), ids=lambda part: str(part)[:40])
def test_every_field_is_a_row_with_four_cells(key: str, model: type[BaseModel]) -> None:
    found = rows(key)
    headings = {name.partition(".")[0] for name, _ in page.models()} if not key else set()
    wanted = model.model_fields.keys() - headings - ({"name"} if not key else set())
    assert wanted == found.keys()
    assert all(len(row) == 4 for row in found.values()), found


@pytest.mark.parametrize(
    ("key", "field", "kind", "default"),
    [
        ("alerts", "recipient", "email address", "none"),
        ("mail", "sender", "email address", "required"),
        ("vault.rules", "delete_after_days", "whole number, ≥ 1", "`35`"),
        ("vault.rules", "frequency", '`"hourly"` or `"daily"` or `"weekly"` or `"monthly"`', "none"),
        ("vault.rules", "copies", "table `[[vault.rules.copies]]`", "`[]`"),
        ("vault.rules.copies", "region", "AWS Region", "required"),
        ("vault", "lock", "table `[vault.lock]`", "none"),
        ("vault", "rules", "table `[[vault.rules]]`", "`[{}]`"),
        ("vault", "selections", "table `[[vault.selections]]`", '`[{ any_tags = { backup = "daily" } }]`'),
        ("vault", "region_opt_in", "table of `true` or `false`", "`{}`"),
        ("backups.tables", "segments", "whole number, ≥ 1, ≤ 64", "`2`"),
        ("backups", "dead_letter_queue_name", "queue name, up to 72 characters", '`"student-backup-dead-letters"`'),
        ("objectives", "rpo_hours", "number, > 0", "`25`"),
    ],
)
def test_types_and_defaults_are_those_of_the_model(key: str, field: str, kind: str, default: str) -> None:
    assert rows(key)[field][1:3] == [kind, default]


def test_every_default_is_toml_with_the_models_value() -> None:
    for key, model in page.models():
        for name, row in rows(key).items():
            if row[2] in {"required", "none"}:
                continue
            default = model.model_fields[name].get_default(call_default_factory=True)
            value = tomllib.loads(f"value = {row[2].strip('`')}")["value"]
            read = TypeAdapter(model.model_fields[name].annotation).validate_python(value)
            assert read == default, f"{key}.{name}"


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_an_environment_file_fits_the_schema_and_names_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.splitlines()[0] == page.SCHEMA_LINE
    assert list(faults(tomllib.loads(text), _SCHEMA)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"regoin": "x"}, "regoin"),
        ({"region": "nowhere"}, "region"),
        ({"backups": {"memory_mb": 64}}, "backups.memory_mb"),
        ({"backups": {"glacier_after_days": "never"}}, "backups.glacier_after_days"),
        ({"vault": {"rules": [{"delete_after_days": 0}]}}, "vault.rules.0.delete_after_days"),
        ({"vault": {"rules": [{"copies": [{"regions": "x"}]}]}}, "vault.rules.0.copies.0"),
        ({"alerts": {"recipient": "nobody"}}, "alerts.recipient"),
        ({"monitoring": {"watch": "none"}}, "monitoring.watch"),
    ],
)
def test_the_schema_and_the_models_refuse_the_same(change: dict[str, Any], fault: str) -> None:
    values = merged(tomllib.loads((ENVIRONMENTS / "workshop.toml").read_text("utf-8")), change)
    assert any(found.startswith(fault) for found in faults(values, _SCHEMA))
    with pytest.raises(ValidationError):
        Settings.model_validate({"name": "workshop", **values})


def test_a_name_in_the_file_is_refused_by_both(tmp_path: Path) -> None:
    path = tmp_path / "workshop.toml"
    path.write_text('name = "other"\n' + (ENVIRONMENTS / "workshop.toml").read_text("utf-8"))
    with pytest.raises(SettingsError, match="remove the key"):
        load(path)
    assert "name: no such key" in faults(tomllib.loads(path.read_text("utf-8")), _SCHEMA)


def test_zero_means_never_in_the_schema_and_in_the_models(tmp_path: Path) -> None:
    change = {"backups": {"infrequent_access_after_days": 0, "glacier_after_days": 0}}
    text = (ENVIRONMENTS / "workshop.toml").read_text("utf-8")
    values = merged(tomllib.loads(text), change)
    assert list(faults(values, _SCHEMA)) == []
    path = tmp_path / "workshop.toml"
    path.write_text(text.replace("[backups]", "[backups]\ninfrequent_access_after_days = 0\nglacier_after_days = 0"))
    assert load(path).backups.glacier_after_days is None
    nevers = [
        name
        for _, model in page.models()
        for name, field in model.model_fields.items()
        if fields.NEVER in field.metadata
    ]
    assert len(nevers) == json.dumps(_SCHEMA).count('{"const": 0}') > 0


def merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {
        **values,
        **{key: merged(values.get(key, {}), each) if isinstance(each, dict) else each for key, each in change.items()},
    }


def faults(value: Any, schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield where a value breaks a JSON Schema, of the keywords that pydantic writes."""
    if "$ref" in schema:
        yield from faults(value, _SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], place)
        return
    if "anyOf" in schema and all(list(faults(value, each, place)) for each in schema["anyOf"]):
        yield f"{place}: fits none"
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": int | float}
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{place}: is no {kind}"
        return
    checks = {
        "const": lambda limit: value == limit,
        "enum": lambda limit: value in limit,
        "pattern": lambda limit: re.search(limit, value),
        "minimum": lambda limit: value >= limit,
        "maximum": lambda limit: value <= limit,
        "exclusiveMinimum": lambda limit: value > limit,
        "minLength": lambda limit: len(value) >= limit,
        "maxLength": lambda limit: len(value) <= limit,
        "maxProperties": lambda limit: len(value) <= limit,
        "required": lambda limit: set(limit) <= value.keys(),
    }
    for keyword, is_met in checks.items():
        if keyword in schema and not is_met(schema[keyword]):
            yield f"{place}: {keyword} {schema[keyword]}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name, each in value.items():
            where = f"{place}.{name}" if place else name
            if name in known:
                yield from faults(each, known[name], where)
            elif schema.get("additionalProperties") is False:
                yield f"{where}: no such key"
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from faults(each, schema["additionalProperties"], where)
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from faults(each, schema.get("items", {}), f"{place}.{number}")
