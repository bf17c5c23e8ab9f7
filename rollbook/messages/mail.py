"""Sends mail through SES."""

from __future__ import annotations

from typing import Any


def send(client: Any, *, sender: str, recipient: str, subject: str, body: str, html: str = "") -> str:
    """Send a mail and return SES's message id.

    Arguments:
        client: a boto3 `sesv2` client.
        body: as plain text.
        html: the body as HTML; empty for none.

    Raises:
        botocore.exceptions.ClientError: SES refused the mail.
    """
    bodies = {"Text": body} | ({"Html": html} if html else {})
    content = {
        "Subject": {"Data": subject, "Charset": "UTF-8"},
        "Body": {form: {"Data": text, "Charset": "UTF-8"} for form, text in bodies.items()},
    }
    sent = client.send_email(
        FromEmailAddress=sender, Destination={"ToAddresses": [recipient]}, Content={"Simple": content}
    )
    return str(sent["MessageId"])
