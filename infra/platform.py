"""The differences between AWS and the embedded AWS that constructs must know. This is AWS.

`infra/emulator/platform.py` is the embedded AWS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cdktf import LocalBackend, S3Backend, TerraformStack
from cdktf_cdktf_provider_aws.api_gateway_rest_api import ApiGatewayRestApi
from cdktf_cdktf_provider_aws.api_gateway_stage import ApiGatewayStage
from cdktf_cdktf_provider_aws.cloudfront_distribution import CloudfrontDistribution
from cdktf_cdktf_provider_aws.data_aws_caller_identity import DataAwsCallerIdentity
from cdktf_cdktf_provider_aws.provider import AwsProvider, AwsProviderDefaultTags

from infra.constructs.function import Runtime
from infra.settings import Settings
from infra.zips import Target


@dataclass(frozen=True)
class Origin:
    """The origin of the API for CloudFront."""

    domain_name: str
    path: str
    protocol_policy: str = "https-only"
    http_port: float = 80


class Aws:
    """The platform AWS.

    Arguments:
        name: of the stack; by default the environment's name.
    """

    def __init__(self, stack: TerraformStack, settings: Settings, name: str = "") -> None:
        self.stack = stack
        self.settings = settings
        self._name = name or settings.name
        self._providers: dict[str, AwsProvider] = {}

    @cached_property
    def account_id(self) -> str:
        """Return the id of the account to which the stack is applied."""
        return DataAwsCallerIdentity(self.stack, "account").account_id

    @property
    def target(self) -> Target:
        """Return the target of the functions' zips."""
        return Target(self.settings.functions.runtime, self.settings.functions.architecture)

    @property
    def runtime(self) -> Runtime:
        """Return the settings that the functions of the stack share."""
        return Runtime(self.target, self.settings.functions.log_retention_days)

    def configure(self) -> None:
        """Add the provider and the state's backend to the stack."""
        self._provider("aws", self.settings.region)
        state = self.settings.state
        if state.bucket is None:
            # Relative to cdktf.out/stacks/<name>. CDKTF's default would write an absolute path into the JSON.
            LocalBackend(self.stack, path=f"../../../terraform.{self._name}.tfstate")
            return
        backend = S3Backend(
            self.stack,
            bucket=state.bucket,
            key=f"{self._name}/terraform.tfstate",
            region=state.region or self.settings.region,
            encrypt=True,
            **self.backend_options(),
        )
        backend.add_override("use_lockfile", True)

    def provider_of(self, region: str) -> AwsProvider:
        """Return the provider of another Region. The first call adds it to the stack."""
        if region not in self._providers:
            self._providers[region] = self._provider(f"aws-{region}", region, alias=region)
        return self._providers[region]

    def _provider(self, id_: str, region: str, alias: str | None = None) -> AwsProvider:
        return AwsProvider(
            self.stack,
            id_,
            region=region,
            alias=alias,
            default_tags=[AwsProviderDefaultTags(tags=self.settings.tags)],
            **self.provider_options(),
        )

    def backend_options(self) -> dict[str, Any]:
        """Return the options of the state's backend, in addition to the bucket, the key and the Region."""
        return {}

    def provider_options(self) -> dict[str, Any]:
        """Return the options of the provider, in addition to the Region and the tags."""
        return {}

    def complete(self) -> None:
        """Complete the stack after all its resources are defined."""

    @property
    def mock_method(self) -> str | None:
        """Return the HTTP method that the platform reports for a MOCK integration."""
        return None

    def api_key_value(self) -> str | None:
        """Return the value of the API key; None if API Gateway generates it."""
        return None

    def api_origin(self, api: ApiGatewayRestApi, stage: str) -> Origin:
        """Return CloudFront's origin for a stage."""
        return Origin(f"{api.id}.execute-api.{self.settings.region}.amazonaws.com", f"/{stage}")

    def api_url(self, api: ApiGatewayRestApi, stage: ApiGatewayStage) -> str:
        """Return the stage's URL, without a slash at the end."""
        return stage.invoke_url

    def site_url(self, distribution: CloudfrontDistribution) -> str:
        """Return the URL of the site, without a slash at the end."""
        return f"https://{self.settings.site.domain_name or distribution.domain_name}"
