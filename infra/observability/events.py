"""The event bus, its policy, its archive and its log."""

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
    {"CKV_AWS_338": "events name students, so the log is kept for a short time; the archive serves for replays"},
    path="events/*",
)


# Matches every event, because every event has a source.
_EVERYTHING = {"source": [{"prefix": ""}]}


class Events(Construct):
    """The event bus, an archive for replays, and a log group with all events."""

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
            description="All events of the bus, for its log group",
            bus_name=self._bus.name,
            pattern=_EVERYTHING,
        )
        everything.log(events.bus_name, retention_days=events.log_retention_days)

    def grant_put(self, function: Function) -> None:
        """Allow a function to put events on the bus."""
        function.allow("PutEvents", ["events:PutEvents"], [self._bus.arn])
