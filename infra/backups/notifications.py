"""What a function needs that reports its executions: to the history, on the bus, by mail."""

from __future__ import annotations

from dataclasses import dataclass

from infra.backups.store import BackupStore
from infra.constructs.function import Function
from infra.observability.events import Events
from infra.school.mail import Mail
from infra.school.records import Records
from infra.settings import Settings


@dataclass(frozen=True)
class Reporting:
    """The places that executions are reported to."""

    settings: Settings
    records: Records
    mail: Mail
    events: Events
    store: BackupStore

    def variables(self) -> dict[str, str]:
        """Return the fields of `rollbook.contract.environment.Reporting`."""
        return {
            "table_name": self.records.table_name,
            "s3_bucket_name": self.store.bucket_name,
            "sender_email": self.mail.sender,
            "recipient_email": self.mail.recipient,
            "history_table_name": self.store.history_table_name,
            "history_days": str(self.settings.backups.history_days),
            "event_bus_name": self.events.bus_name,
        }

    def grant(self, function: Function) -> None:
        """Let a function report."""
        self.mail.grant_send(function)
        self.events.grant_put(function)
        self.store.grant_history(function)
