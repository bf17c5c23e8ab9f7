"""How a finder asks AWS: one thing by its name, or a listing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

Values = Mapping[str, Any]
# Parts of the error codes for a thing that does not exist; they differ between the services.
_ABSENT = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist", "404")


class AdoptionError(RuntimeError):
    """A resource cannot be adopted; the message says why, and what to do.

    Arguments:
        address: of the resource; empty in a finder, which does not know it.
    """

    def __init__(self, message: str, address: str = "") -> None:
        super().__init__(f"{address}: {message}" if address else message)
        self.address = address


@dataclass(frozen=True)
class Place:
    """Where a resource is searched.

    Arguments:
        account: 12 digits.
        client: returns the boto3 client of a service in the resource's Region.
    """

    account: str
    region: str
    client: Callable[[str], Any]


@dataclass(frozen=True)
class Found:
    """A resource that exists.

    Arguments:
        import_id: of `terraform import`, in the form of the section "Import" of the resource's page in the
            documentation of the AWS provider 5.100.
        id: the attribute `id` of the resource, if it differs.
    """

    import_id: str
    id: str = ""

    @property
    def own_id(self) -> str:
        """Return the attribute `id`."""
        return self.id or self.import_id


# Returns the resource, or None; `values` is the synthesized resource with its references resolved.
Finder = Callable[[Place, Values], Found | None]


def is_absent(error: ClientError) -> bool:
    """Return whether an error says that a thing does not exist."""
    answer = error.response
    code = str(answer["Error"]["Code"])
    return answer["ResponseMetadata"]["HTTPStatusCode"] == 404 or any(word in code for word in _ABSENT)


def ask(call: Callable[..., Any], **parameters: Any) -> Any:
    """Return the answer of a call, or None if the thing does not exist."""
    try:
        return call(**parameters)
    except ClientError as error:
        if is_absent(error):
            return None
        raise


def entries(client: Any, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
    """Yield the entries of a listing, from all its pages; `key` may be a path such as `DistributionList.Items`.

    Raises:
        AdoptionError: there is a second page, and boto3 has no paginator for the operation.
    """
    *path, last = key.split(".")
    is_paged = client.can_paginate(operation)
    pages = client.get_paginator(operation).paginate(**parameters) if is_paged else None
    for page in pages or [ask(getattr(client, operation), **parameters)]:
        part = page or {}
        for name in path:
            part = part.get(name) or {}
        if not is_paged and part.get("NextMarker"):
            raise AdoptionError(f"{operation} has more than one page; name the resource with --id ADDRESS=ID")
        yield from part.get(last) or ()


def described(
    service: str,
    operation: str,
    parameters: Mapping[str, str],
    import_id: str,
    *,
    own: str = "",
    there: Callable[[Any, Values], bool] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Finder:
    """Return a finder that reads one thing by its name.

    Arguments:
        parameters: of the call, each with the attribute that has its value.
        import_id, own: `Found.import_id` and `Found.id`, formats over the attributes.
        there: returns whether the answer has the thing.
        fixed: parameters with constant values.
    """

    def find(place: Place, values: Values) -> Found | None:
        given = {name: values.get(attribute) for name, attribute in parameters.items()}
        if None in given.values():
            return None  # a resource that it refers to does not exist
        answer = ask(getattr(place.client(service), operation), **given, **(fixed or {}))
        if answer is None or (there and not there(answer, values)):
            return None
        known = {**values, "account": place.account, "region": place.region}
        return Found(import_id.format_map(known), own.format_map(known))

    return find


def listed(
    service: str,
    operation: str,
    key: str,
    match: Callable[[Any, Values], bool],
    import_id: str,
    *,
    parameters: Mapping[str, str] | None = None,
    fixed: Mapping[str, Any] | None = None,
    own: str = "",
) -> Finder:
    """Return a finder that searches a listing. Formats use the attributes and `it`, the entry.

    Raises:
        AdoptionError: (the finder) several entries match.
    """

    def find(place: Place, values: Values) -> Found | None:
        given = {name: values.get(attribute) for name, attribute in (parameters or {}).items()}
        if None in given.values():
            return None
        client = place.client(service)
        try:
            fitting = [it for it in entries(client, operation, key, **given, **(fixed or {})) if match(it, values)]
        except ClientError as error:
            if is_absent(error):
                return None
            raise
        known = [{**values, "account": place.account, "region": place.region, "it": it} for it in fitting]
        found = [Found(import_id.format_map(each), own.format_map(each)) for each in known]
        if len(found) > 1:
            ids = ", ".join(each.import_id for each in found)
            raise AdoptionError(f"{len(found)} match: {ids}; name one with --id ADDRESS=ID, or delete the others")
        return found[0] if found else None

    return find
