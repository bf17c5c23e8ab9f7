"""Plain mail through SES."""

from __future__ import annotations

from typing import Any


def send(client: Any, *, sender: str, recipient: str, subject: str, body: str) -> str:
    """Send a plain-text mail and return SES's message id.

    Arguments:
        client: a boto3 `sesv2` client.

    Raises:
        botocore.exceptions.ClientError: SES did not take it.
    """
    content = {"Subject": {"Data": subject, "Charset": "UTF-8"}, "Body": {"Text": {"Data": body, "Charset": "UTF-8"}}}
    sent = client.send_email(
        FromEmailAddress=sender, Destination={"ToAddresses": [recipient]}, Content={"Simple": content}
    )
    return str(sent["MessageId"])
