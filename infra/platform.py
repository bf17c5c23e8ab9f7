"""What the constructs ask of the cloud they stand on: AWS here, the embedded one in `infra/emulator/platform.py`."""

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
    """Where CloudFront finds the API."""

    domain_name: str
    path: str
    protocol_policy: str = "https-only"
    http_port: float = 80


class Aws:
    """AWS as it is.

    Arguments:
        name: of the stack, where it is not the environment's own.
    """

    def __init__(self, stack: TerraformStack, settings: Settings, name: str = "") -> None:
        self.stack = stack
        self.settings = settings
        self._name = name or settings.name
        self._providers: dict[str, AwsProvider] = {}

    @cached_property
    def account_id(self) -> str:
        """Return the account that the stack is applied to."""
        return DataAwsCallerIdentity(self.stack, "account").account_id

    @property
    def target(self) -> Target:
        """Return what the functions' zips are built for."""
        return Target(self.settings.functions.runtime, self.settings.functions.architecture)

    @property
    def runtime(self) -> Runtime:
        """Return what the functions of the stack share."""
        return Runtime(self.target, self.settings.functions.log_retention_days)

    def configure(self) -> None:
        """Add the provider and the state's backend to the stack."""
        self._provider("aws", self.settings.region)
        state = self.settings.state
        if state.bucket is None:
            # From cdktf.out/stacks/<name>; cdktf's default would put a path of this machine into the JSON.
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
        """Return the provider of another Region, which the stack gets with its first resource there."""
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
        """Return what the state's backend needs besides the bucket, the key and the Region."""
        return {}

    def provider_options(self) -> dict[str, Any]:
        """Return what the provider needs besides the Region and the tags."""
        return {}

    def complete(self) -> None:
        """Do what has to wait until the stack has all its resources."""

    @property
    def mock_method(self) -> str | None:
        """Return the HTTP method that the cloud reports of a MOCK integration."""
        return None

    def api_key_value(self) -> str | None:
        """Return the value of the API key; None lets API Gateway make one."""
        return None

    def api_origin(self, api: ApiGatewayRestApi, stage: str) -> Origin:
        """Return the origin by which CloudFront reaches a stage."""
        return Origin(f"{api.id}.execute-api.{self.settings.region}.amazonaws.com", f"/{stage}")

    def api_url(self, api: ApiGatewayRestApi, stage: ApiGatewayStage) -> str:
        """Return the stage's own URL, without a slash at the end."""
        return stage.invoke_url

    def site_url(self, distribution: CloudfrontDistribution) -> str:
        """Return the URL that the school office opens, without a slash at the end."""
        return f"https://{self.settings.site.domain_name or distribution.domain_name}"
