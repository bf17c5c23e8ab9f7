"""What functions need to record executions and to send notifications: history, event bus, mail."""

from __future__ import annotations

from dataclasses import dataclass

from infra.backups.store import BackupStore
from infra.constructs.function import Function
from infra.observability.events import Events
from infra.school.mail import Mail
from rollbook.contract import environment


@dataclass(frozen=True)
class Notifications:
    """The store with the history, the event bus and the mail."""

    store: BackupStore
    events: Events
    mail: Mail

    def variables(self) -> environment.Notifications:
        """Return the variables for a function."""
        return environment.Notifications(
            s3_bucket_name=self.store.bucket_name,
            sender_email=self.mail.sender,
            recipient_email=self.mail.recipient,
            history_table_name=self.store.history_table_name,
            history_days=self.store.history_days,
            event_bus_name=self.events.bus_name,
        )

    def grant(self, function: Function) -> None:
        """Allow a function to record executions and to send notifications."""
        self.mail.grant_send(function)
        self.events.grant_put(function)
        self.store.grant_history(function)
