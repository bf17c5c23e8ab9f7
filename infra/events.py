"""The bus on which everything that happens is put."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.cloudwatch_event_bus import CloudwatchEventBus
from constructs import Construct

from infra import settings
from infra.shapes.function import Function


class Events(Construct):
    """The event bus of the school."""

    def __init__(self, scope: Construct, id_: str, events: settings.Events) -> None:
        super().__init__(scope, id_)
        self._bus = CloudwatchEventBus(self, "bus", name=events.bus_name)
        self.bus_name = self._bus.name

    def grant_put(self, function: Function) -> None:
        """Let a function put events on the bus."""
        function.allow("PutEvents", ["events:PutEvents"], [self._bus.arn])
