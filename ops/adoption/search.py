"""Find out which resources of a synthesized stack exist in the account, and their ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.adoption.finders import FINDERS, NEVER, unknown
from ops.adoption.finding import AdoptionError, Found, Place
from ops.failures import explain

_REFERENCE = re.compile(r"\$\{(data\.)?([a-z0-9_]+)\.([A-Za-z0-9_-]+)\.([a-z_]+)\}")
# The forms of the ARNs with which resources refer to each other.
_ARNS = {
    "aws_api_gateway_rest_api": "arn:aws:execute-api:{region}:{account}:{id}",
    "aws_cloudwatch_log_group": "arn:aws:logs:{region}:{account}:log-group:{id}",
    "aws_lambda_function": "arn:aws:lambda:{region}:{account}:function:{id}",
    "aws_s3_bucket": "arn:aws:s3:::{id}",
    "aws_sns_topic": "{id}",
}
# Their import id begins with the id of the API, and their attribute `id` does not.
_INSIDE_AN_API = {"aws_api_gateway_request_validator", "aws_api_gateway_resource"}


@dataclass
class Search:
    """The search for the resources of a stack.

    Arguments:
        stack: the contents of `cdk.tf.json`.
        account: 12 digits.
        client: returns the boto3 client of a service in a Region.
        chosen: import ids by address, for resources that are not searched.
    """

    stack: Mapping[str, Any]
    account: str
    client: Callable[[str, str], Any]
    chosen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resources: dict[str, Mapping[str, Any]] = {
            f"{kind}.{name}": resource
            for kind, named in self.stack["resource"].items()
            for name, resource in named.items()
        }
        self._regions = {
            f"aws.{provider['alias']}" if "alias" in provider else "aws": provider["region"]
            for provider in self.stack["provider"]["aws"]
        }
        self._known: dict[str, Found | None] = {}
        if missing := unknown(list(self.stack["resource"])):
            raise AdoptionError(
                f"there is no finder for {', '.join(sorted(missing))}; add one in ops/adoption/finders.py"
            )
        if strangers := set(self.chosen) - self.resources.keys():
            raise AdoptionError(f"the stack has no {', '.join(sorted(strangers))}; tests/synth/addresses/ lists all")

    def run(self) -> Iterator[tuple[str, Found | None]]:
        """Yield every address that can be adopted, with the resource that exists.

        Raises:
            AdoptionError: several resources match, or the account cannot be read.
        """
        for address in self.resources:
            if address.partition(".")[0] not in NEVER:
                yield address, self.find(address)

    def find(self, address: str) -> Found | None:
        """Return the existing resource for an address of the stack."""
        if address not in self._known:
            kind = address.partition(".")[0]
            if address in self.chosen:
                id_ = self.chosen[address]
                self._known[address] = Found(id_, id_.rpartition("/")[2] if kind in _INSIDE_AN_API else "")
            else:
                try:
                    self._known[address] = FINDERS[kind](self.place(address), self.values(address))
                except AdoptionError as error:
                    if error.address:
                        raise
                    raise AdoptionError(str(error), address) from None
                except (BotoCoreError, ClientError) as error:
                    raise AdoptionError(f"it cannot be searched: {explain(error)}", address) from None
        return self._known[address]

    def place(self, address: str) -> Place:
        """Return where a resource is searched."""
        region = self._regions[self.resources[address].get("provider", "aws")]
        return Place(self.account, region, lambda service: self.client(service, region))

    def values(self, address: str) -> dict[str, Any]:
        """Return the plain attributes of a resource, with resolved references; None if the target does not exist."""
        return {
            name: self.text(value) if isinstance(value, str) else value
            for name, value in self.resources[address].items()
            if not isinstance(value, dict | list)
        }

    def text(self, value: str) -> str | None:
        """Return a text with resolved references; None if the target of one does not exist."""
        filled = _REFERENCE.sub(lambda match: self._attribute(*match.groups()) or "\0", value)
        return None if "\0" in filled or "${" in filled else filled

    def _attribute(self, data: str | None, kind: str, name: str, attribute: str) -> str | None:
        if data:
            return self.account if attribute == "account_id" else None
        address = f"{kind}.{name}"
        given = self.resources[address].get(attribute)
        if isinstance(given, str):
            return self.text(given)
        found = self.find(address) if kind not in NEVER else None
        if found is None:
            return None
        if attribute in {"id", "url"}:
            return found.own_id
        if attribute in {"arn", "execution_arn"}:
            place = self.place(address)
            if kind == "aws_cloudwatch_event_rule":
                path = found.own_id.removeprefix("default/")
                return f"arn:aws:events:{place.region}:{place.account}:rule/{path}"
            form = _ARNS.get(kind)
            return form and form.format(region=place.region, account=place.account, id=found.own_id)
        return None
