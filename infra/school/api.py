"""The REST API: key, usage plan, validation, CORS and access log."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cdktf import Fn, TerraformResource, TerraformResourceLifecycle
from cdktf_cdktf_provider_aws.api_gateway_account import ApiGatewayAccount
from cdktf_cdktf_provider_aws.api_gateway_api_key import ApiGatewayApiKey
from cdktf_cdktf_provider_aws.api_gateway_deployment import ApiGatewayDeployment
from cdktf_cdktf_provider_aws.api_gateway_gateway_response import ApiGatewayGatewayResponse
from cdktf_cdktf_provider_aws.api_gateway_integration import ApiGatewayIntegration
from cdktf_cdktf_provider_aws.api_gateway_integration_response import ApiGatewayIntegrationResponse
from cdktf_cdktf_provider_aws.api_gateway_method import ApiGatewayMethod
from cdktf_cdktf_provider_aws.api_gateway_method_response import ApiGatewayMethodResponse
from cdktf_cdktf_provider_aws.api_gateway_method_settings import (
    ApiGatewayMethodSettings,
    ApiGatewayMethodSettingsSettings,
)
from cdktf_cdktf_provider_aws.api_gateway_model import ApiGatewayModel
from cdktf_cdktf_provider_aws.api_gateway_request_validator import ApiGatewayRequestValidator
from cdktf_cdktf_provider_aws.api_gateway_resource import ApiGatewayResource
from cdktf_cdktf_provider_aws.api_gateway_rest_api import (
    ApiGatewayRestApi,
    ApiGatewayRestApiEndpointConfiguration,
)
from cdktf_cdktf_provider_aws.api_gateway_stage import (
    ApiGatewayStage,
    ApiGatewayStageAccessLogSettings,
)
from cdktf_cdktf_provider_aws.api_gateway_usage_plan import (
    ApiGatewayUsagePlan,
    ApiGatewayUsagePlanApiStages,
    ApiGatewayUsagePlanQuotaSettings,
    ApiGatewayUsagePlanThrottleSettings,
)
from cdktf_cdktf_provider_aws.api_gateway_usage_plan_key import ApiGatewayUsagePlanKey
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy_attachment import IamRolePolicyAttachment
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.function import Function
from infra.platform import Aws
from infra.school.api_answers import ACCESS_LOG, GATEWAY_RESPONSES, PREFLIGHT_HEADERS, PREFLIGHT_TEMPLATE
from infra.settings.school import Api as ApiSettings

accept(
    "aws_api_gateway_stage",
    {
        "CKV2_AWS_29": "requests come through CloudFront with an API key, and are throttled",
        "CKV2_AWS_4": "the access log has every request; the execution log would contain bodies, which are records",
        "CKV2_AWS_51": "client certificates are for HTTP backends; this API invokes functions and uses IAM",
        "CKV_AWS_120": "a cache would return outdated records and costs money per hour",
        "CKV_AWS_73": "a request invokes one function, whose log has the durations",
    },
)
accept("aws_api_gateway_method_settings", {"CKV_AWS_225": "a cache would return outdated records"})
accept("aws_api_gateway_method", {"CKV2_AWS_53": "it has no body to validate; POST /students has a schema"})


R = TypeVar("R", bound=TerraformResource)
# CDKTF's notation for a reference before the synth.
_REFERENCE = re.compile(r"\$\{TfToken\[TOKEN\.\d+\]\}")


@dataclass(frozen=True)
class Route:
    """A method, its path and the function that handles it."""

    method: str
    path: str
    function: Function
    schema: dict[str, object] | None = None


class Api(Construct):
    """The API and its key. `serve` names its routes, and `complete` deploys them."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, api: ApiSettings) -> None:
        super().__init__(scope, id_)
        self._platform = platform
        self._settings = api
        self._rest = ApiGatewayRestApi(
            self,
            "rest",
            name=api.name,
            endpoint_configuration=ApiGatewayRestApiEndpointConfiguration(types=["REGIONAL"]),
        )
        value = platform.api_key_value()
        self._key = ApiGatewayApiKey(
            self,
            "key",
            name=api.key_name,
            description="Added by CloudFront. The browser never receives it.",
            value=value,
            lifecycle=TerraformResourceLifecycle(ignore_changes=["value"]) if value else None,
        )
        self.key_id = self._key.id
        self.key_value = self._key.value
        self.origin = platform.api_origin(self._rest, api.stage)
        self.url = ""
        self._origin = ""
        self._routes: list[Route] = []
        self._deployed: list[TerraformResource] = []
        self._snapshot: list[Any] = []

    def serve(self, origin: str, routes: list[Route]) -> None:
        """Set the routes, and the origin whose scripts may call them."""
        self._origin, self._routes = origin, routes

    def complete(self) -> None:
        """Deploy the routes."""
        origin, routes = self._origin, self._routes
        validator = self._part(
            ApiGatewayRequestValidator, "validator", rest_api_id=self._rest.id, name="body", validate_request_body=True
        )
        for path in dict.fromkeys(route.path for route in routes):
            name = path.strip("/")
            resource = self._part(
                ApiGatewayResource,
                name,
                rest_api_id=self._rest.id,
                parent_id=self._rest.root_resource_id,
                path_part=name,
            )
            here = [route for route in routes if route.path == path]
            for route in here:
                self._route(route, resource, validator)
            self._preflight(name, resource, origin, [route.method for route in here])
        for kind, (status, template) in GATEWAY_RESPONSES.items():
            self._part(
                ApiGatewayGatewayResponse,
                kind.lower().replace("_", "-"),
                rest_api_id=self._rest.id,
                response_type=kind,
                status_code=status,
                response_templates={"application/json": template},
                response_parameters={"gatewayresponse.header.Access-Control-Allow-Origin": f"'{origin}'"},
            )
        self._deploy(routes, origin)

    def _route(self, route: Route, resource: ApiGatewayResource, validator: ApiGatewayRequestValidator) -> None:
        name = f"{route.path.strip('/')}-{route.method.lower()}"
        models = None
        if route.schema:
            model = self._part(
                ApiGatewayModel,
                f"{name}-model",
                rest_api_id=self._rest.id,
                name=str(route.schema["title"]),
                content_type="application/json",
                schema=json.dumps(route.schema),
            )
            models = {"application/json": model.name}
        method = self._part(
            ApiGatewayMethod,
            f"{name}-method",
            rest_api_id=self._rest.id,
            resource_id=resource.id,
            http_method=route.method,
            authorization="NONE",
            api_key_required=True,
            request_validator_id=validator.id if models else None,
            request_models=models,
        )
        self._part(
            ApiGatewayIntegration,
            f"{name}-integration",
            rest_api_id=self._rest.id,
            resource_id=resource.id,
            http_method=method.http_method,
            type="AWS_PROXY",
            integration_http_method="POST",
            uri=route.function.invoke_arn,
        )
        LambdaPermission(
            self,
            f"{name}-permission",
            function_name=route.function.name,
            action="lambda:InvokeFunction",
            principal="apigateway.amazonaws.com",
            source_arn=f"{self._rest.execution_arn}/{self._settings.stage}/{route.method}{route.path}",
        )

    def _preflight(self, name: str, resource: ApiGatewayResource, origin: str, methods: list[str]) -> None:
        common: dict[str, Any] = {"rest_api_id": self._rest.id, "resource_id": resource.id}
        method = self._part(
            ApiGatewayMethod, f"{name}-options-method", http_method="OPTIONS", authorization="NONE", **common
        )
        integration = self._part(
            ApiGatewayIntegration,
            f"{name}-options-integration",
            http_method=method.http_method,
            type="MOCK",
            integration_http_method=self._platform.mock_method,
            request_templates={"application/json": PREFLIGHT_TEMPLATE},
            **common,
        )
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": ",".join(methods),
            **PREFLIGHT_HEADERS,
        }
        response = self._part(
            ApiGatewayMethodResponse,
            f"{name}-options-response",
            http_method=method.http_method,
            status_code="204",
            response_parameters={f"method.response.header.{header}": False for header in headers},
            **common,
        )
        self._part(
            ApiGatewayIntegrationResponse,
            f"{name}-options-integration-response",
            http_method=method.http_method,
            status_code=response.status_code,
            response_parameters={f"method.response.header.{key}": f"'{value}'" for key, value in headers.items()},
            depends_on=[integration],
            **common,
        )

    def _part(self, kind: Callable[..., R], id_: str, **values: Any) -> R:
        """Return a new resource that is a part of the API's deployment."""
        resource = kind(self, id_, **values)
        self._deployed.append(resource)
        self._snapshot.append([kind.__name__, id_, {name: values[name] for name in values if name != "depends_on"}])
        return resource

    def _deploy(self, routes: list[Route], origin: str) -> None:
        # A deployment is a snapshot of the API. Only a change of a part must create a new one. References are removed,
        # because their numbers change with any new resource; the relevant ones are separate triggers.
        parts = _REFERENCE.sub("", json.dumps(self._snapshot, default=vars))
        deployment = ApiGatewayDeployment(
            self,
            "deployment",
            rest_api_id=self._rest.id,
            triggers={
                "parts": hashlib.sha256(parts.encode()).hexdigest(),
                "origin": origin,
                "functions": Fn.join(",", [route.function.invoke_arn for route in routes]),
            },
            depends_on=self._deployed,
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
        log = CloudwatchLogGroup(
            self,
            "access-log",
            name=f"/aws/apigateway/{self._settings.name}",
            retention_in_days=self._settings.log_retention_days,
        )
        stage = ApiGatewayStage(
            self,
            "stage",
            rest_api_id=self._rest.id,
            deployment_id=deployment.id,
            stage_name=self._settings.stage,
            access_log_settings=ApiGatewayStageAccessLogSettings(
                destination_arn=log.arn, format=json.dumps(ACCESS_LOG)
            ),
            depends_on=self._log_role(),
        )
        ApiGatewayMethodSettings(
            self,
            "method-settings",
            rest_api_id=self._rest.id,
            stage_name=stage.stage_name,
            method_path="*/*",
            settings=ApiGatewayMethodSettingsSettings(
                metrics_enabled=True,
                throttling_rate_limit=self._settings.rate_limit,
                throttling_burst_limit=self._settings.burst_limit,
            ),
        )
        plan = ApiGatewayUsagePlan(
            self,
            "usage-plan",
            name=self._settings.usage_plan_name,
            api_stages=[ApiGatewayUsagePlanApiStages(api_id=self._rest.id, stage=stage.stage_name)],
            throttle_settings=ApiGatewayUsagePlanThrottleSettings(
                rate_limit=self._settings.rate_limit,
                burst_limit=self._settings.burst_limit,
            ),
            quota_settings=ApiGatewayUsagePlanQuotaSettings(limit=self._settings.quota_per_day, period="DAY"),
        )
        ApiGatewayUsagePlanKey(self, "usage-plan-key", key_id=self._key.id, key_type="API_KEY", usage_plan_id=plan.id)
        self.url = self._platform.api_url(self._rest, stage)

    def _log_role(self) -> list[ApiGatewayAccount]:
        if not self._settings.manage_account_log_role:
            return []
        role = IamRole(
            self,
            "log-role",
            name=f"{self._settings.name}-api-log",
            assume_role_policy=policy.trust("apigateway.amazonaws.com"),
        )
        # API Gateway checks that the role has the permissions of this AWS managed policy.
        attachment = IamRolePolicyAttachment(
            self,
            "log-role-policy",
            role=role.name,
            policy_arn="arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
        )
        return [ApiGatewayAccount(self, "account", cloudwatch_role_arn=role.arn, depends_on=[attachment])]
