"""The stack for access from GitHub's workflows. It has two roles, and a person applies it once.

A workflow authenticates with a token from GitHub (OpenID Connect), so no key is stored. Neither role can read records,
backups or dead letters. The deploy role may create only resources with names of the stack, where AWS allows that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from cdktf import TerraformOutput, TerraformStack
from cdktf_cdktf_provider_aws.cloudtrail import Cloudtrail
from cdktf_cdktf_provider_aws.dynamodb_table import DynamodbTable
from cdktf_cdktf_provider_aws.iam_openid_connect_provider import IamOpenidConnectProvider
from cdktf_cdktf_provider_aws.iam_policy import IamPolicy
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from cdktf_cdktf_provider_aws.iam_role_policy_attachment import IamRolePolicyAttachment
from cdktf_cdktf_provider_aws.lambda_function import LambdaFunction
from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket
from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.policy import Statement
from infra.emulator.platform import EmulatedAws
from infra.github_denials import never
from infra.platform import Aws
from infra.settings import Settings

for _kind in ("aws_iam_policy", "aws_iam_role_policy"):
    accept(_kind, {"CKV_AWS_355": "the provider reads resources whose ids AWS generates, so no policy can name them"})
accept(
    "aws_iam_role_policy",
    {
        "CKV_AWS_289": "the statement `Unnamed` covers resources whose ids AWS generates; roles are listed by name",
        "CKV_AWS_290": "as for CKV_AWS_289; access to records, backups and dead letters is denied",
    },
    path="deploy-Deploy",
)


ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
# Maximum characters of a role's inline policies, without white space (IAM User Guide, "IAM and AWS STS quotas").
_LARGEST = 10_240
# Maximum characters of a customer managed policy (the same page).
_LARGEST_MANAGED = 6_144
# The managed policies of a role, with the ids of the policy and of its attachment.
_MANAGED = {"Read": ("reads", "may-read"), "Queues": ("queues", "may-change-queues")}
# The provider needs these to compare resources with their configuration. Source: Service Authorization Reference.
READS = (
    "account:GetRegionOptStatus",
    "apigateway:GET",
    "backup:Describe*",
    "backup:Get*",
    "backup:List*",
    "cloudfront:DescribeFunction",
    "cloudfront:Get*",
    "cloudfront:List*",
    "cloudtrail:DescribeTrails",
    "cloudtrail:Get*",
    "cloudtrail:ListTags",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetDashboard",
    "cloudwatch:ListTagsForResource",
    "config:DescribeConfigurationRecorderStatus",
    "dynamodb:Describe*",
    "dynamodb:List*",
    "events:Describe*",
    "events:List*",
    "iam:Get*",
    "iam:List*",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:List*",
    "lambda:Get*",
    "lambda:List*",
    "logs:Describe*",
    "logs:ListTagsForResource",
    "s3:GetAccelerateConfiguration",
    "s3:GetBucket*",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:ListAllMyBuckets",
    "s3:ListBucket",
    "scheduler:Get*",
    "scheduler:List*",
    "ses:Get*",
    "ses:List*",
    "servicequotas:Get*",
    "sns:Get*",
    "sns:List*",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListQueueTags",
)
# Actions on resources whose ids AWS generates. A policy cannot name them in advance.
UNNAMED = (
    "apigateway:*",
    "backup:*",
    "backup-storage:MountCapsule",
    "cloudfront:*",
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DeleteDashboards",
    "cloudwatch:PutDashboard",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
    "cloudwatch:UntagResource",
    "events:*",
    "kms:CreateAlias",
    "kms:CreateKey",
    "kms:DeleteAlias",
    "kms:EnableKeyRotation",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
    "logs:AssociateKmsKey",
    "logs:CreateLogDelivery",
    "logs:CreateLogGroup",
    "logs:DeleteLogGroup",
    "logs:DeleteResourcePolicy",
    "logs:DeleteRetentionPolicy",
    "logs:PutResourcePolicy",
    "logs:PutRetentionPolicy",
    "logs:TagResource",
    "logs:UntagResource",
    "ses:CreateEmailIdentity",
    "ses:DeleteEmailIdentity",
    "ses:PutEmailIdentity*",
    "ses:TagResource",
    "ses:UntagResource",
)
# The resource type, the attribute with its name, the ARNs that contain the name, and the service's actions.
NAMED = (
    (DynamodbTable, "name_input", ("arn:aws:dynamodb:*:{account}:table/{name}",), "dynamodb:*"),
    (LambdaFunction, "function_name_input", ("arn:aws:lambda:{region}:{account}:function:{name}",), "lambda:*"),
    (S3Bucket, "bucket_input", ("arn:aws:s3:::{name}",), "s3:*"),
    (SqsQueue, "name_input", ("arn:aws:sqs:{region}:{account}:{name}",), "sqs:*"),
    (SnsTopic, "name_input", ("arn:aws:sns:{region}:{account}:{name}",), "sns:*"),
    (Cloudtrail, "name_input", ("arn:aws:cloudtrail:{region}:{account}:trail/{name}",), "cloudtrail:*"),
    (
        SchedulerScheduleGroup,
        "name_input",
        (
            "arn:aws:scheduler:{region}:{account}:schedule-group/{name}",
            "arn:aws:scheduler:{region}:{account}:schedule/{name}/*",
        ),
        "scheduler:*",
    ),
)
_ROLE_ACTIONS = (
    "iam:AttachRolePolicy",
    "iam:CreateRole",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePolicy",
    "iam:TagRole",
    "iam:UntagRole",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
    "iam:UpdateRoleDescription",
)
# AWS Backup creates a service-linked role for each of them on first use, with the caller's permissions (AWS Backup
# Developer Guide, "Using service-linked roles for AWS Backup").
BACKUP_SERVICES = ("backup.amazonaws.com", "reports.backup.amazonaws.com", "restore-testing.backup.amazonaws.com")
# The services to which the stack's roles are passed.
_PASSED_TO = (
    "apigateway.amazonaws.com",
    "backup.amazonaws.com",
    "lambda.amazonaws.com",
    "s3.amazonaws.com",
    "scheduler.amazonaws.com",
)


class GitHubStack(TerraformStack):
    """GitHub's OpenID Connect provider and the roles of one environment."""

    def __init__(self, scope: Construct, settings: Settings, target: TerraformStack) -> None:
        super().__init__(scope, settings.github_stack_name)
        platform = (EmulatedAws if settings.emulated else Aws)(self, settings, settings.github_stack_name)
        platform.configure()
        github, account = settings.github, platform.account_id
        provider = (
            f"arn:aws:iam::{account}:oidc-provider/{ISSUER}"
            if github.provider_exists
            else IamOpenidConnectProvider(self, "provider", url=f"https://{ISSUER}", client_id_list=[AUDIENCE]).arn
        )
        of_repository = f"repo:{github.repository}"
        site = Statement("ReadSite", ["s3:GetObject", "s3:GetObjectTagging"], [_site(settings)])
        # Policies have a size limit, so actions that `Unnamed` allows are not repeated.
        others = [action for action in READS if f"{action.partition(':')[0]}:*" not in UNNAMED]
        plan = self._role(
            "plan",
            github.plan_role_name,
            provider,
            [f"{of_repository}:pull_request", f"{of_repository}:ref:refs/heads/{github.branch}"],
            {
                "Read": [Statement("ReadConfiguration", READS, ["*"]), site, *_state(settings, write=False)],
                "Never": never(settings),
            },
        )
        writes = list(_writes(settings, target, account))
        deploy = self._role(
            "deploy",
            github.deploy_role_name,
            provider,
            [f"{of_repository}:environment:{github.environment or settings.name}"],
            {
                "Read": [Statement("ReadConfiguration", others, ["*"]), site, *_state(settings, write=True)],
                "Queues": [statement for statement in writes if statement.sid == SqsQueue.__name__],
                "Deploy": [statement for statement in writes if statement.sid != SqsQueue.__name__],
                "Never": never(settings),
            },
        )
        for output, role in {"plan_role_arn": plan, "deploy_role_arn": deploy}.items():
            TerraformOutput(self, output, value=role.arn).override_logical_id(output)

    def _role(
        self,
        id_: str,
        name: str,
        provider: str,
        subjects: Sequence[str],
        policies: Mapping[str, Sequence[Statement]],
    ) -> IamRole:
        trust = Statement(
            "Trust",
            ["sts:AssumeRoleWithWebIdentity"],
            principals={"Federated": [provider]},
            conditions={"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": list(subjects)}},
        )
        role = IamRole(self, id_, name=name, assume_role_policy=policy.document(trust), max_session_duration=3600)
        inline = {of: policy.document(*statements) for of, statements in policies.items() if of not in _MANAGED}
        managed = {of: policy.document(*policies[of]) for of in _MANAGED if of in policies}
        for what, size, most in (
            ("inline policies", _characters("".join(inline.values())), _LARGEST),
            *((f"policy {name}{of}", _characters(document), _LARGEST_MANAGED) for of, document in managed.items()),
        ):
            if size > most:
                raise ValueError(
                    f"the {what} of {name} have {size:,} characters, but IAM accepts {most:,}: the environment has too "
                    "many resources; split it into two environments"
                )
        for policy_name, document in inline.items():
            IamRolePolicy(self, f"{id_}-{policy_name}", name=policy_name, role=role.id, policy=document)
        # Managed policies, because IAM limits the characters of inline policies.
        for of, document in managed.items():
            made, attached = _MANAGED[of]
            kept = IamPolicy(self, f"{id_}-{made}", name=f"{name}{of}", policy=document)
            IamRolePolicyAttachment(self, f"{id_}-{attached}", role=role.name, policy_arn=kept.arn)
        return role


def _characters(document: str) -> int:
    """Return the number of characters that IAM counts. Each reference is replaced by a 12-digit account id."""
    return len(re.sub(r"\s", "", re.sub(r"\$\{[^}]*\}", "0" * 12, document)))


def _site(settings: Settings) -> str:
    return f"arn:aws:s3:::{settings.site.bucket_name}/*"


def _state(settings: Settings, *, write: bool) -> Iterator[Statement]:
    """Yield the permissions on the state: to read it, to write it for an apply, and to lock it."""
    bucket = settings.state.bucket
    state = f"arn:aws:s3:::{bucket}/{settings.name}/terraform.tfstate"
    yield Statement("FindState", ["s3:ListBucket"], [f"arn:aws:s3:::{bucket}"])
    yield Statement("ReadState", ["s3:GetObject"], [state])
    if write:
        yield Statement("WriteState", ["s3:PutObject"], [state])
    yield Statement("LockState", ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [f"{state}.tflock"])


def _writes(settings: Settings, target: TerraformStack, account: str) -> Iterator[Statement]:
    """Yield the permissions to create and change the environment's stack, limited to its names where possible."""
    parts = target.node.find_all()
    for kind, attribute, forms, actions in NAMED:
        names = sorted(str(getattr(part, attribute)) for part in parts if isinstance(part, kind))
        resources = [
            form.format(region=settings.region, account=account, name=name) for form in forms for name in names
        ]
        if resources:
            yield Statement(kind.__name__, [actions], resources)
    roles = [
        f"arn:aws:iam::{account}:role/{name}"
        for name in sorted(str(part.name_input) for part in parts if isinstance(part, IamRole))
    ]
    yield Statement("Roles", _ROLE_ACTIONS, roles)
    yield Statement(
        "PassRoles", ["iam:PassRole"], roles, conditions={"StringEquals": {"iam:PassedToService": list(_PASSED_TO)}}
    )
    # The provider tags every file with its default tags, and deletes all versions of a removed file.
    yield Statement(
        "Site",
        ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject", "s3:PutObjectTagging"],
        [_site(settings)],
    )
    if settings.vault.enabled:
        yield Statement(
            "ServiceLinkedRoles",
            ["iam:CreateServiceLinkedRole"],
            [f"arn:aws:iam::{account}:role/aws-service-role/{service}/*" for service in BACKUP_SERVICES],
            conditions={"StringEquals": {"iam:AWSServiceName": list(BACKUP_SERVICES)}},
        )
    yield Statement("Unnamed", UNNAMED, ["*"])
    # CreateBackupVault needs these permissions on a key (AWS Backup Developer Guide, "Access control").
    yield Statement(
        "VaultKeys",
        ["kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKey", "kms:RetireGrant"],
        ["*"],
        conditions={"StringLike": {"kms:ViaService": "backup.*.amazonaws.com"}},
    )
