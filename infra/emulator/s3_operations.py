"""Determines the S3 operation of a request with botocore's model of S3."""

from __future__ import annotations

import functools
from collections.abc import Container
from dataclasses import dataclass
from urllib.parse import parse_qsl

from botocore.loaders import Loader

# Query parameters in the model that do not distinguish operations.
_IGNORED_QUERY = {"x-id"}


@dataclass(frozen=True)
class _Route:
    operation: str
    method: str
    depth: int
    query: frozenset[str]
    headers: frozenset[str]


def operation(method: str, path: str, query: Container[str], headers: Container[str]) -> str:
    """Return the operation's name, or an empty text if the request is not for S3.

    Arguments:
        path: `/`, `/bucket` or `/bucket/key`.
        query: names of the parameters.
        headers: names of the headers, in lower case.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    depth = bool(bucket) + bool(key)
    found = [
        route
        for route in _routes()
        if (route.method, route.depth) == (method, depth)
        and all(name in query for name in route.query)
        and all(name in headers for name in route.headers)
    ]
    # The most specific route: CopyObject is PutObject with a header, ListParts is GetObject with a parameter.
    return max(found, key=lambda route: len(route.query) + len(route.headers)).operation if found else ""


@functools.cache
def _routes() -> tuple[_Route, ...]:
    model = Loader().load_service_model("s3", "service-2")
    routes = []
    for name, described in sorted(model["operations"].items()):
        path, _, static = described["http"]["requestUri"].partition("?")
        shape = model["shapes"].get(described.get("input", {}).get("shape"), {})
        required = [shape["members"][member] for member in shape.get("required", [])]
        query = {key for key, _ in parse_qsl(static, keep_blank_values=True)}
        query |= {member["locationName"] for member in required if member.get("location") == "querystring"}
        headers = {member["locationName"].lower() for member in required if member.get("location") == "header"}
        depth = path.count("{")
        routes.append(
            _Route(name, described["http"]["method"], depth, frozenset(query - _IGNORED_QUERY), frozenset(headers))
        )
    return tuple(routes)
