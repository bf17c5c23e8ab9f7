"""A synthesized stack as AWS would have it: its references resolved to names and ARNs."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.settings import Settings

ACCOUNT = "111122223333"
_IGNORED = Path(__file__).with_name("ignored.toml")
_TOKEN = re.compile(r"\b(?:data\.)?(aws_[a-z0-9_]+)\.([\w-]+)\.([a-z_]+)")
_NAMES = ("bucket", "function_name", "email_identity", "name", "alarm_name", "path_part", "http_method", "description")
# Where the Region is left out or the name is not the last part, the form is AWS's (Service Authorization Reference).
_ARNS = {
    "aws_backup_plan": "arn:aws:backup:{region}:{account}:backup-plan:{name}",
    "aws_backup_vault": "arn:aws:backup:{region}:{account}:backup-vault:{name}",
    "aws_cloudfront_distribution": "arn:aws:cloudfront::{account}:distribution/SITE",
    "aws_cloudwatch_event_bus": "arn:aws:events:{region}:{account}:event-bus/{name}",
    "aws_cloudwatch_event_rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "aws_cloudwatch_log_group": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "aws_cloudwatch_metric_alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "aws_dynamodb_table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "aws_iam_role": "arn:aws:iam::{account}:role/{name}",
    "aws_lambda_function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "aws_s3_bucket": "arn:aws:s3:::{name}",
    "aws_scheduler_schedule_group": "arn:aws:scheduler:{region}:{account}:schedule-group/{name}",
    "aws_sesv2_email_identity": "arn:aws:ses:{region}:{account}:identity/{name}",
    "aws_sns_topic": "arn:aws:sns:{region}:{account}:{name}",
    "aws_sqs_queue": "arn:aws:sqs:{region}:{account}:{name}",
}


class Dangling(ValueError):
    """A reference to a resource that the stack does not have."""


class View:
    """A stack whose values can be compared with what is wanted.

    Arguments:
        stack: the parsed JSON.
        settings: of its environment.
    """

    def __init__(self, stack: dict[str, Any], settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self._kinds: dict[str, dict[str, dict[str, Any]]] = {}

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a type by their addresses, resolved, without what AWS does not act on."""
        if kind not in self._kinds:
            found = self.stack["resource"].get(kind, {})
            kept = {name: without_ignored(kind, resource) for name, resource in found.items()}
            self._kinds[kind] = {name: self.resolved(resource) for name, resource in kept.items()}
        return self._kinds[kind]

    def by(self, kind: str, attribute: str) -> dict[Any, dict[str, Any]]:
        """Return the resources of a type by an attribute.

        Raises:
            ValueError: two have the same.
        """
        found = {resource[attribute]: resource for resource in self.all(kind).values()}
        if len(found) != len(self.all(kind)):
            raise ValueError(f"{kind}: two have the same {attribute}")
        return found

    def resolved(self, value: Any) -> Any:
        """Return a value with its references resolved."""
        if isinstance(value, dict):
            return {name: self.resolved(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.resolved(inner) for inner in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        return re.sub(r"\$\{((?:[^{}]|\{[^}]*\})*)\}", self._expression, value)

    def _expression(self, match: re.Match[str]) -> str:
        inner = match[1]
        alone = _TOKEN.fullmatch(inner.removeprefix("data."))
        text = _TOKEN.sub(lambda found: self._reference(*found.groups(), data="data." in found[0]), inner)
        return text if alone or "aws_caller_identity" in inner else f"<{text}>"

    def _reference(self, kind: str, name: str, attribute: str, data: bool) -> str:
        if kind == "aws_caller_identity" and data and attribute == "account_id":
            if name not in self.stack["data"][kind]:
                raise Dangling(f"there is no data {kind}.{name}")
            return ACCOUNT
        resource = self.stack["resource"].get(kind, {}).get(name)
        if resource is None:
            raise Dangling(f"there is no {kind}.{name}")
        known = next((self.resolved(resource[key]) for key in _NAMES if key in resource), "")
        arn = _ARNS.get(kind, "arn:{type}:{region}:{name}").format(
            type=kind, region=self.region(resource), account=ACCOUNT, name=known or name
        )
        if attribute == "arn":
            return arn
        if attribute in ("id", "bucket") and kind in ("aws_s3_bucket", "aws_iam_role"):
            return str(known)
        if attribute in resource:
            return str(self.resolved(resource[attribute]))
        return f"{arn}#{attribute}"

    def region(self, resource: Mapping[str, Any]) -> str:
        """Return the Region of a resource, from the provider that it names."""
        provider = resource.get("provider", "aws")
        for each in self.stack["provider"]["aws"]:
            if provider == (f"aws.{each['alias']}" if "alias" in each else "aws"):
                return str(each["region"])
        raise Dangling(f"there is no provider {provider}")


@cache
def ignored() -> dict[str, dict[str, str]]:
    """Return what AWS does not act on: by type of resource, or `*`, each attribute's reason."""
    return tomllib.loads(_IGNORED.read_text("utf-8"))


def is_ignored(kind: str, attribute: str) -> bool:
    """Return whether AWS does not act on an attribute."""
    return attribute in ignored()["*"] or attribute in ignored().get(kind, {})


def without_ignored(kind: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource without what AWS does not act on."""
    return {name: value for name, value in resource.items() if not is_ignored(kind, name)}


Check = Callable[[View], Iterable[str]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Add a check: it takes a stack and yields its faults as sentences."""
    CHECKS.append(function)
    return function


def faults(view: View, checks: Iterable[Check] | None = None) -> Iterator[str]:
    """Yield the faults that the checks find. What cannot be read is a fault too."""
    for each in CHECKS if checks is None else checks:
        try:
            yield from (f"{each.__name__}: {fault}" for fault in each(view))
        except (Dangling, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            yield f"{each.__name__}: cannot be read: {error!r}"


def differs(what: str, found: Any, wanted: Any) -> Iterator[str]:
    """Yield a fault where a value is not the wanted one."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted(found.keys() | wanted.keys(), key=str):
            if found.get(name, "nothing") != wanted.get(name, "nothing"):
                yield from differs(f"{what}.{name}", found.get(name, "nothing"), wanted.get(name, "nothing"))
    elif found != wanted or (type(found) is not type(wanted) and isinstance(found, bool) != isinstance(wanted, bool)):
        yield f"{what} is {short(found)}, and should be {short(wanted)}"


def short(value: Any) -> str:
    """Return a value as text of a length that a message bears."""
    text = json.dumps(value, default=str)
    return text if len(text) < 160 else f"{text[:150]}…"
