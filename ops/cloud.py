"""Where an environment is: its clients, its addresses, and the account it stands in."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.settings import Settings
from ops import local, terraform
from ops.console import OperatorError
from ops.environment import settings_of, stack_of
from rollbook.engine.dynamodb import raw


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Cloud:
    """An environment that has been deployed.

    Arguments:
        settings: its settings.
        outputs: the Terraform outputs of its stack.
        port: of the embedded AWS, if it is there.
    """

    def __init__(self, settings: Settings, outputs: dict[str, Any], port: int | None = None) -> None:
        self.settings = settings
        self.api_url: str = outputs["api_url"]
        self.site_url: str = outputs["site_url"]
        self._api_key_id: str = outputs["api_key_id"]
        self._port = port

    @property
    def port(self) -> int | None:
        """Return the port of the embedded AWS, if it is there."""
        return self._port

    @classmethod
    def of(cls, name: str) -> Cloud:
        """Return an environment by name, from its settings and its Terraform state.

        Raises:
            OperatorError: there is no such environment, it is not deployed, or it does not run.
        """
        settings = settings_of(name)
        folder = stack_of(settings)
        port = local.running_port() if settings.emulated else None
        if settings.emulated and port is None:
            raise OperatorError("the embedded AWS does not run; start it with: python -m ops local up")
        outputs = terraform.Terraform(folder).outputs() if folder.is_dir() else {}
        if not outputs:
            raise OperatorError(
                f"this folder knows no deployed stack of {name}. If it is deployed from elsewhere, run once: "
                f"python -m ops plan {name} (it changes nothing); if it is not deployed: make deploy ENV={name}"
            )
        return cls(settings, outputs, port)

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client: with the caller's own credentials, or those of the embedded AWS."""
        if self._port is not None:
            return local.client(service, self._port, self.settings.region, **options)
        return boto3.client(service, region_name=self.settings.region, **options)

    def items(self) -> Any:
        """Return a DynamoDB client that has items as bytes."""
        if self._port is not None:
            return raw.client(**local.options(self._port, self.settings.region))
        return raw.client(region_name=self.settings.region)

    def api_key(self) -> str:
        """Return the API key's value, which only who may read it from API Gateway gets.

        Raises:
            OperatorError: the caller may not.
        """
        try:
            return str(self.client("apigateway").get_api_key(apiKey=self._api_key_id, includeValue=True)["value"])
        except (BotoCoreError, ClientError) as error:
            raise OperatorError(f"the API key {self._api_key_id} cannot be read: {error}") from None


def fetch(url: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
    """Make an HTTP request; `*.localhost` is this machine, whether or not its resolver knows (RFC 6761).

    Raises:
        OperatorError: no answer came.
    """
    parts = urlsplit(url)
    headers = dict(headers or {})
    if (parts.hostname or "").endswith(".localhost"):
        headers["Host"] = parts.netloc
        url = parts._replace(netloc=f"127.0.0.1:{parts.port or 80}").geturl()
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Answer(response.status, _headers(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _headers(error.headers), error.read())
    except (OSError, urllib.error.URLError) as error:
        raise OperatorError(f"{url} does not answer: {error}") from None


def _headers(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
