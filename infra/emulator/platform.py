"""The platform for the embedded AWS. The package's docstring explains each difference from AWS."""

from __future__ import annotations

import platform
import sys
from typing import Any

from cdktf import TerraformResource, TerraformStack, TerraformVariable
from cdktf_cdktf_provider_aws.api_gateway_rest_api import ApiGatewayRestApi
from cdktf_cdktf_provider_aws.api_gateway_stage import ApiGatewayStage
from cdktf_cdktf_provider_aws.cloudfront_distribution import CloudfrontDistribution
from cdktf_cdktf_provider_aws.provider import AwsProviderEndpoints

from infra.platform import Aws, Origin
from infra.settings import Settings
from infra.zips import Target

# The services that the stack uses, as the provider names them.
_SERVICES = (
    "apigateway",
    "backup",
    "cloudfront",
    "cloudtrail",
    "cloudwatch",
    "dynamodb",
    "events",
    "iam",
    "kms",
    "lambda_",
    "logs",
    "s3",
    "scheduler",
    "sesv2",
    "sns",
    "sqs",
    "sts",
)

# Resources that MiniStack does not support, and why.
MISSING = {
    "aws_backup_vault_lock_configuration": "MiniStack does not have vault locks",
    "aws_backup_vault_notifications": "MiniStack's AWS Backup runs no jobs that could cause notifications",
    "aws_backup_region_settings": "MiniStack does not have these settings",
    "aws_backup_restore_testing_plan": "MiniStack's AWS Backup has no recovery points to restore",
    "aws_backup_restore_testing_selection": "it belongs to a restore testing plan",
    "aws_backup_framework": "MiniStack does not have Backup Audit Manager",
    "aws_backup_report_plan": "MiniStack does not have Backup Audit Manager",
}

# The newest runtime that the provider accepts is python3.13. A newer Python of this machine runs the function anyway.
_NEWEST_RUNTIME = 13


class EmulatedAws(Aws):
    """The embedded AWS on a port of this machine, named by the Terraform variable `emulator_port`."""

    def __init__(self, stack: TerraformStack, settings: Settings, name: str = "") -> None:
        super().__init__(stack, settings, name)
        self._port = TerraformVariable(
            stack, "emulator_port", type="number", default=4566, description="Port of the embedded AWS."
        )

    @property
    def target(self) -> Target:
        machine = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
        return Target(f"python3.{min(sys.version_info.minor, _NEWEST_RUNTIME)}", machine, native=True)

    def provider_options(self) -> dict[str, Any]:
        return {
            "access_key": "test",
            "secret_key": "test",
            "s3_use_path_style": True,
            "skip_credentials_validation": True,
            "skip_metadata_api_check": "true",
            "endpoints": [
                AwsProviderEndpoints(**dict.fromkeys(_SERVICES, f"http://localhost:{self._port.string_value}"))
            ],
        }

    def complete(self) -> None:
        """Remove the resources that the emulator does not support. No other resource depends on them."""
        # Compares classes, because reading the Terraform type of a resource is a call to another process.
        missing = {"".join(map(str.title, kind.removeprefix("aws_").split("_"))) for kind in MISSING}
        for construct in self.stack.node.find_all():
            if isinstance(construct, TerraformResource) and type(construct).__name__ in missing:
                parent = construct.node.scope
                assert parent is not None  # a resource is always within a stack
                parent.node.try_remove_child(construct.node.id)

    def backend_options(self) -> dict[str, Any]:
        # A backend cannot use variables. For another port: terraform init -backend-config 'endpoints={s3="…"}'.
        skipped = ("credentials_validation", "metadata_api_check", "region_validation", "requesting_account_id")
        return dict.fromkeys((f"skip_{check}" for check in skipped), True) | {
            "access_key": "test",
            "secret_key": "test",
            "use_path_style": True,
            "endpoints": {"s3": "http://localhost:4566"},
        }

    @property
    def mock_method(self) -> str | None:
        return "POST"

    def api_key_value(self) -> str | None:
        return "${uuid()}"

    def api_origin(self, api: ApiGatewayRestApi, stage: str) -> Origin:
        return Origin("localhost", f"/_aws/execute-api/{api.id}/{stage}", "http-only", self._port.number_value)

    def api_url(self, api: ApiGatewayRestApi, stage: ApiGatewayStage) -> str:
        return f"http://localhost:{self._port.string_value}/_aws/execute-api/{api.id}/{stage.stage_name}"

    def site_url(self, distribution: CloudfrontDistribution) -> str:
        label = f'${{element(split(".", {distribution.fqn}.domain_name), 0)}}'
        return f"http://{label}.cloudfront.localhost:{self._port.string_value}"
