"""`SendWelcomeEmail`: EventBridge invokes it for a sign-up. Sends the user a welcome mail, once per event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent

from handlers.users import signup, welcome_mail
from rollbook.contract.environment import Welcome
from rollbook.messages import mail

environment = Welcome.read()
logger = Logger(service="users")
ses = boto3.client("sesv2")
# EventBridge retries for 24 hours, and the archive keeps events for a month. Event ids are remembered that long.
_once = IdempotencyConfig(
    event_key_jmespath="id", raise_on_no_idempotency_key=True, expires_after_seconds=31 * 24 * 3600
)
_store = DynamoDBPersistenceLayer(table_name=environment.idempotency_table_name)


@logger.inject_lambda_context(correlation_id_path="id")
@idempotent(config=_once, persistence_store=_store)
def handler(event: Mapping[str, Any], context: Any) -> dict[str, str]:
    """Send the mail. A failure raises: Lambda retries, then sends event and reason to the dead-letter queue."""
    signed_up = signup.parse(event)
    found = welcome_mail.welcome(signed_up.name, environment.site_url)
    message_id = mail.send(
        ses,
        sender=environment.sender_email,
        recipient=signed_up.email,
        subject=found.subject,
        body=found.text,
        html=found.html,
    )
    logger.info("Welcome sent", event=event["id"], mail=message_id)
    return {"message": message_id}
