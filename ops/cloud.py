"""A deployed environment: its clients and its addresses."""

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
from ops import terraform
from ops.environment import settings_of, stack_of
from ops.failures import OperatorError
from ops.local import aws, emulator
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
    """An environment that is deployed.

    Arguments:
        settings: its settings.
        outputs: the Terraform outputs of its stack.
        port: of the embedded AWS, if the environment is emulated.

    Raises:
        OperatorError: an output is missing, because the last apply did not end.
    """

    def __init__(self, settings: Settings, outputs: dict[str, Any], port: int | None = None) -> None:
        self.settings = settings
        try:
            self.api_url: str = outputs["api_url"]
            self.site_url: str = outputs["site_url"]
            self._api_key_id: str = outputs["api_key_id"]
        except KeyError as name:
            raise OperatorError(
                f"the state of {settings.name} has no output {name}, so its last apply did not end; apply it again: "
                f"make deploy ENV={settings.name}"
            ) from None
        self._port = port

    @property
    def port(self) -> int | None:
        """Return the port of the embedded AWS, if the environment is emulated."""
        return self._port

    @classmethod
    def of(cls, name: str) -> Cloud:
        """Return an environment by name, from its settings and its Terraform state.

        Raises:
            OperatorError: there is no such environment, it is not deployed, or the embedded AWS does not run.
        """
        settings = settings_of(name)
        folder = stack_of(settings)
        port = emulator.required_port() if settings.emulated else None
        outputs = terraform.Terraform(folder).outputs() if folder.is_dir() else {}
        if not outputs:
            raise OperatorError(
                f"this folder has no deployed stack of {name}. If it was deployed from another machine, run once: "
                f"rollbook plan --env {name} (it changes nothing); if it is not deployed: make deploy ENV={name}"
            )
        return cls(settings, outputs, port)

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client with the credentials of the caller, or of the embedded AWS."""
        if self._port is not None:
            return aws.client(service, self._port, self.settings.region, **options)
        return boto3.client(service, region_name=self.settings.region, **options)

    def items(self) -> Any:
        """Return a DynamoDB client that reads items as bytes."""
        if self._port is not None:
            return raw.client(**aws.options(self._port, self.settings.region))
        return raw.client(region_name=self.settings.region)

    def api_key(self) -> str:
        """Return the value of the API key, read from API Gateway.

        Raises:
            OperatorError: the caller may not read it.
        """
        try:
            return str(self.client("apigateway").get_api_key(apiKey=self._api_key_id, includeValue=True)["value"])
        except (BotoCoreError, ClientError) as error:
            raise OperatorError(f"the API key {self._api_key_id} cannot be read: {error}") from None


def fetch(url: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
    """Make an HTTP request. `*.localhost` is this machine, also where the resolver does not know it (RFC 6761).

    Raises:
        OperatorError: there was no answer.
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
        raise OperatorError(f"{url} does not answer: {error}. Check the network, and run this again") from None


def _headers(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
