"""The audit trail of access to the backups. A function checks each of CloudTrail's data events and alerts."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.cloudtrail import (
    Cloudtrail,
    CloudtrailAdvancedEventSelector,
    CloudtrailAdvancedEventSelectorFieldSelector,
)
from constructs import Construct

from infra.backups.store import BackupStore
from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.bucket import PrivateBucket
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.lifecycle import LifecycleRule, expire
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule
from infra.observability.alerts import Alerts
from infra.platform import Aws
from infra.settings import Settings
from rollbook.contract import environment

accept(
    "aws_cloudtrail",
    {
        "CKV2_AWS_10": "EventBridge delivers the events within minutes for alerts; a copy in CloudWatch costs extra",
        "CKV_AWS_252": "alerts are about accesses, not about each file that the trail writes",
        "CKV_AWS_35": "encrypted with S3's own key, like the bucket",
        "CKV_AWS_67": "it records the data events of one bucket, which is in one Region",
    },
)
accept(
    "aws_s3_bucket",
    {
        "CKV_AWS_144": "the trail is about the backups in this Region",
        "CKV2_AWS_62": "no process depends on the arrival of a trail's file",
    },
    path="audit/*",
)
accept(
    "aws_cloudwatch_log_group",
    {"CKV_AWS_338": "the log is for searching; the trail's files are kept longer"},
    path="audit/*",
)


_DETAIL_TYPE = "AWS API Call via CloudTrail"


class Audit(Construct):
    """A trail of all reads and writes of backups, and alerts about unexpected ones."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, store: BackupStore, alerts: Alerts) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        audit = settings.audit
        self._record(platform, settings, store)
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=audit.function_name,
                entry="handlers.audit.alert.handler",
                variables=environment.Audit(
                    s3_bucket_name=store.bucket_name,
                    expected_role_arns=",".join(store.role_arns),
                    topic_arn=alerts.topic_arn,
                    alert_refused=audit.alert_refused,
                ).variables(),
                limits=Limits(memory_mb=128, timeout_seconds=30),
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=audit.dead_letter_queue_name),
        )
        alerts.grant_publish(function)
        rule = Rule(
            self,
            "rule",
            name=audit.trail_name,
            description="Reads, writes and deletions of backups",
            pattern={
                "source": ["aws.s3"],
                "detail-type": [_DETAIL_TYPE],
                "detail": {
                    "eventSource": ["s3.amazonaws.com"],
                    "eventCategory": ["Data"],
                    # When a backup is copied to another bucket, bucketName is the other bucket.
                    "$or": [
                        {"requestParameters": {"bucketName": [store.bucket_name]}},
                        {"resources": {"ARN": [{"prefix": f"{store.bucket_arn}/"}]}},
                    ],
                },
            },
        )
        rule.invoke(function, undelivered_queue_name=audit.undelivered_queue_name)
        rule.log(audit.trail_name, retention_days=audit.log_retention_days)

    def _record(self, platform: Aws, settings: Settings, store: BackupStore) -> None:
        """Make CloudTrail write the backups' data events to a bucket to which only CloudTrail may write."""
        audit = settings.audit
        bucket = PrivateBucket(self, "bucket", name=settings.audit_bucket_name, force_destroy=settings.force_destroy)
        trail_arn = f"arn:aws:cloudtrail:{settings.region}:{platform.account_id}:trail/{audit.trail_name}"
        of_trail = {"aws:SourceArn": trail_arn}
        cloudtrail = {"Service": ["cloudtrail.amazonaws.com"]}
        restricted = bucket.restrict(
            [
                policy.Statement(
                    "CloudTrailLooks",
                    ["s3:GetBucketAcl"],
                    [bucket.arn],
                    principals=cloudtrail,
                    conditions={"StringEquals": of_trail},
                ),
                policy.Statement(
                    "CloudTrailWrites",
                    ["s3:PutObject"],
                    [f"{bucket.arn}/AWSLogs/{platform.account_id}/*"],
                    principals=cloudtrail,
                    conditions={"StringEquals": of_trail | {"s3:x-amz-acl": "bucket-owner-full-control"}},
                ),
            ]
        )
        expire(
            self,
            "lifecycle",
            bucket,
            [LifecycleRule("records", "AWSLogs/", audit.expire_after_days, noncurrent_days=30)],
        )

        def equal(name: str, value: str) -> CloudtrailAdvancedEventSelectorFieldSelector:
            return CloudtrailAdvancedEventSelectorFieldSelector(field=name, equal_to=[value])

        Cloudtrail(
            self,
            "trail",
            name=audit.trail_name,
            s3_bucket_name=bucket.name,
            include_global_service_events=False,
            enable_log_file_validation=True,
            advanced_event_selector=[
                CloudtrailAdvancedEventSelector(
                    name="Reads and writes of the backups",
                    field_selector=[
                        equal("eventCategory", "Data"),
                        equal("resources.type", "AWS::S3::Object"),
                        CloudtrailAdvancedEventSelectorFieldSelector(
                            field="resources.ARN", starts_with=[f"{store.bucket_arn}/"]
                        ),
                    ],
                )
            ],
            depends_on=[restricted],
        )
