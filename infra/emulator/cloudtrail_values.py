"""Converts the parameters of a request and a response to the form of CloudTrail's records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

# Parameters of a presigned URL, which are not recorded.
SIGNATURES = {"AWSAccessKeyId", "Expires", "Signature", "X-Amz-Signature"}


HIDDEN = {"environment", "password", "secretAccessKey", "secretString", "zipFile"}


@dataclass(frozen=True)
class Call:
    """A request to a service, and its response.

    Arguments:
        service: MiniStack's name of the service.
        path: the request's path; for S3 it contains the bucket.
        query: values of the query parameters, by name.
        headers: of the request; names are in lower case.
        invoked_by: the AWS service that makes the call as itself; empty if none.
    """

    service: str
    method: str
    path: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    status: int
    answer_headers: Mapping[str, Any]
    answer: bytes
    invoked_by: str = ""


def elements_of(call: Call) -> dict[str, Any] | None:
    """Return the `responseElements` of a call's record."""
    if call.service == "s3":
        prefix, own = "x-amz-", {"x-amz-request-id", "x-amz-id-2"}
        named = {name.lower(): value for name, value in call.answer_headers.items()}
        return {name: named[name] for name in named if name.startswith(prefix) and name not in own} or None
    text = call.answer.lstrip()
    if not text.startswith(b"<"):
        return recorded(object_of(text)) or None
    try:
        document = ElementTree.fromstring(text)  # noqa: S314, it is the emulator's own answer
    except ElementTree.ParseError:
        return None
    results = [part for part in document if part.tag.endswith("Result")]
    result = _xml(results[0]) if results else None
    return recorded(result) if isinstance(result, dict) else None


def _xml(element: ElementTree.Element) -> Any:
    children = list(element)
    if not children:
        return element.text or ""
    if all(child.tag.rpartition("}")[2] == "member" for child in children):
        return [_xml(child) for child in children]
    return {child.tag.rpartition("}")[2]: _xml(child) for child in children}


def form_of(call: Call) -> dict[str, Any]:
    """Return the parameters of the query protocol. Numbered members become lists."""
    if not call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    parameters: dict[str, Any] = {}
    for name, value in parse_qsl(call.body.decode(errors="replace"), keep_blank_values=True):
        member = re.fullmatch(r"(\w+)\.member\.\d+", name)
        if member:
            parameters.setdefault(member[1], []).append(value)
        elif name not in {"Action", "Version"}:
            parameters[name] = value
    return parameters


def object_of(text: bytes) -> dict[str, Any]:
    """Parse a JSON object. For any other text, return an empty one."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def recorded(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters in the form of records: names begin with a lower-case letter, and secrets are hidden."""
    small = {name[:1].lower() + name[1:]: value for name, value in parameters.items()}
    hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"
    return {name: hidden if name in HIDDEN else _within(value) for name, value in small.items()}


def _within(value: Any) -> Any:
    if isinstance(value, dict):
        return recorded(value)
    return [_within(inner) for inner in value] if isinstance(value, list) else value


def one_of(value: Any) -> Any:
    """Return the first of a list of values, or the value itself."""
    return value[0] if isinstance(value, list) and value else value
