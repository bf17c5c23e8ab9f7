"""The bus on which everything that happens is put: who may, what is kept of it, and where it can be read."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.cloudwatch_event_archive import CloudwatchEventArchive
from cdktf_cdktf_provider_aws.cloudwatch_event_bus import CloudwatchEventBus
from cdktf_cdktf_provider_aws.cloudwatch_event_bus_policy import CloudwatchEventBusPolicy
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.function import Function
from infra.constructs.rule import Rule
from infra.platform import Aws
from infra.settings.events import Events as EventSettings

accept(
    "aws_cloudwatch_log_group",
    {"CKV_AWS_338": "events name students; the log is for looking what just happened, the archive for replaying"},
    path="events/*",
)


# Every event has a source.
_EVERYTHING = {"source": [{"prefix": ""}]}


class Events(Construct):
    """The event bus of the school, an archive to replay from, and a log group that has every event."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, events: EventSettings) -> None:
        super().__init__(scope, id_)
        self._bus = CloudwatchEventBus(self, "bus", name=events.bus_name)
        self.bus_name = self._bus.name
        CloudwatchEventBusPolicy(
            self,
            "policy",
            event_bus_name=self._bus.name,
            policy=policy.document(
                policy.Statement(
                    "ThisAccount",
                    ["events:PutEvents"],
                    [self._bus.arn],
                    principals={"AWS": [f"arn:aws:iam::{platform.account_id}:root"]},
                )
            ),
        )
        CloudwatchEventArchive(
            self,
            "archive",
            name=events.bus_name,
            event_source_arn=self._bus.arn,
            retention_days=events.archive_days,
        )
        everything = Rule(
            self,
            "everything",
            name=f"{events.bus_name}-log",
            description="Every event of the bus into its log group",
            bus_name=self._bus.name,
            pattern=_EVERYTHING,
        )
        everything.log(events.bus_name, retention_days=events.log_retention_days)

    def grant_put(self, function: Function) -> None:
        """Let a function put events on the bus."""
        function.allow("PutEvents", ["events:PutEvents"], [self._bus.arn])
