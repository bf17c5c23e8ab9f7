"""A Lambda function with its role, log group and zip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdktf import AssetType, TerraformAsset
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from cdktf_cdktf_provider_aws.lambda_function import (
    LambdaFunction,
    LambdaFunctionDeadLetterConfig,
    LambdaFunctionEnvironment,
    LambdaFunctionEphemeralStorage,
)
from cdktf_cdktf_provider_aws.lambda_function_event_invoke_config import (
    LambdaFunctionEventInvokeConfig,
    LambdaFunctionEventInvokeConfigDestinationConfig,
    LambdaFunctionEventInvokeConfigDestinationConfigOnFailure,
)
from constructs import Construct

from infra import zips
from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.queue import DeadLetterQueue
from infra.zips import Target

accept(
    "aws_lambda_function",
    {
        "CKV_AWS_117": "it calls only AWS services; a VPC would add the cost of endpoints and no protection",
        "CKV_AWS_272": "the plan shows each zip's files, Terraform checks its hash, and nothing else deploys code",
        "CKV_AWS_50": "a backup is one function, and its log has the durations that a trace would show",
    },
)
accept(
    "aws_lambda_function",
    {"CKV_AWS_116": "it is invoked synchronously; dead-letter queues are for asynchronous invocations"},
    path="restores/*",
)
accept(
    "aws_cloudwatch_log_group",
    {"CKV_AWS_158": "logs contain no records, and CloudWatch encrypts them with its own key"},
)


# Lambda's default and maximum: six hours (Lambda API reference, PutFunctionEventInvokeConfig).
_EVENT_AGE_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Limits:
    """The limits of a function. `reserved_concurrency` is -1 if no concurrency is reserved."""

    memory_mb: int
    timeout_seconds: int
    reserved_concurrency: int = -1
    ephemeral_storage_mb: int = 512


@dataclass(frozen=True)
class Runtime:
    """The settings that all functions of a stack share.

    Arguments:
        target: the runtime for which the zips are built.
        log_retention_days: how many days logs are kept.
    """

    target: Target
    log_retention_days: int


@dataclass(frozen=True)
class FunctionSettings:
    """The settings of one function.

    Arguments:
        entry: the handler, `package.module.function`. The imports of its module determine the contents of the zip.
        variables: the environment variables.
        role_name: of the execution role; by default `<name>Role`.
    """

    name: str
    entry: str
    variables: Mapping[str, str]
    limits: Limits
    role_name: str | None = None


class Function(Construct):
    """A function that may only write its own log. `allow` adds permissions.

    Arguments:
        dead_letters: the queue that receives asynchronous events that failed three times.
        failure_topic_arn: a topic that receives them, too.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        runtime: Runtime,
        settings: FunctionSettings,
        *,
        dead_letters: DeadLetterQueue | None = None,
        failure_topic_arn: str | None = None,
    ) -> None:
        name, limits = settings.name, settings.limits
        super().__init__(scope, id_)
        self.role = IamRole(
            self,
            "role",
            name=settings.role_name or f"{name}Role",
            assume_role_policy=policy.trust("lambda.amazonaws.com"),
        )
        self._role_id = self.role.id  # read once, because each reference is a call to another process
        log_group = CloudwatchLogGroup(
            self, "log-group", name=f"/aws/lambda/{name}", retention_in_days=runtime.log_retention_days
        )
        write_log = self.allow("WriteLog", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group.arn}:*"])
        depends_on: list[Any] = [write_log]
        if dead_letters:
            depends_on.append(self.allow("SendDeadLetters", ["sqs:SendMessage"], [dead_letters.arn]))
        if failure_topic_arn:
            depends_on.append(self.allow("TellOfFailures", ["sns:Publish"], [failure_topic_arn]))
        archive = zips.build(settings.entry, runtime.target)
        asset = TerraformAsset(self, "zip", path=str(archive.path), type=AssetType.FILE, asset_hash=archive.hexadecimal)
        self._function = LambdaFunction(
            self,
            "function",
            function_name=name,
            role=self.role.arn,
            runtime=runtime.target.runtime,
            architectures=[runtime.target.architecture],
            handler=settings.entry,
            filename=asset.path,
            source_code_hash=archive.base64,
            memory_size=limits.memory_mb,
            timeout=limits.timeout_seconds,
            ephemeral_storage=LambdaFunctionEphemeralStorage(size=limits.ephemeral_storage_mb),
            reserved_concurrent_executions=limits.reserved_concurrency,
            environment=LambdaFunctionEnvironment(variables=dict(settings.variables)),
            dead_letter_config=LambdaFunctionDeadLetterConfig(target_arn=dead_letters.arn) if dead_letters else None,
            depends_on=depends_on,
        )
        self.name = self._function.function_name
        # A plain text at synth, while `name` is a reference.
        self.plain_name = name
        self.timeout_seconds = limits.timeout_seconds
        self.memory_mb = limits.memory_mb
        self.arn = self._function.arn
        self.invoke_arn = self._function.invoke_arn
        if dead_letters or failure_topic_arn:
            LambdaFunctionEventInvokeConfig(
                self,
                "asynchronous",
                function_name=self.name,
                maximum_retry_attempts=2,
                maximum_event_age_in_seconds=_EVENT_AGE_SECONDS,
                destination_config=LambdaFunctionEventInvokeConfigDestinationConfig(
                    on_failure=LambdaFunctionEventInvokeConfigDestinationConfigOnFailure(destination=failure_topic_arn)
                )
                if failure_topic_arn
                else None,
            )

    def allow(
        self,
        sid: str,
        actions: Sequence[str],
        resources: Sequence[str],
        conditions: dict[str, dict[str, Any]] | None = None,
    ) -> IamRolePolicy:
        """Allow the function's role some actions, in an inline policy with the name `sid`."""
        statement = policy.Statement(sid, actions, resources, conditions=conditions or {})
        return IamRolePolicy(self, sid, name=sid, role=self._role_id, policy=policy.document(statement))
