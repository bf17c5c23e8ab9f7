"""The embedded AWS as its clients see it: boto3 clients, mails, and the first steps in a new account."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from typing import Any

import boto3

from infra.settings import Settings


def client(service: str, port: int, region: str, **given: Any) -> Any:
    """Return a boto3 client of the embedded AWS, as its root user unless credentials are given."""
    return boto3.client(service, **(options(port, region) | given))


def options(port: int, region: str) -> dict[str, str]:
    """Return the options of a boto3 client of the embedded AWS, as its root user."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return {"region_name": region, "endpoint_url": f"http://localhost:{port}", **keys}


def mails(port: int) -> list[dict[str, Any]]:
    """Return the sent mails, oldest first."""
    with urllib.request.urlopen(f"http://localhost:{port}/_ministack/ses/messages", timeout=10) as response:
        accounts = json.load(response)["messages"]
    sent = [message for messages in accounts.values() for message in messages]
    return sorted(sent, key=lambda message: str(message["Timestamp"]))


def open_links(port: int, region: str, account: str = "") -> list[str]:
    """Open the confirmation links that SES and SNS mailed, and return them."""
    wanted = json.dumps({"Region": region} | ({"Account": account} if account else {})).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/_rollbook/open-links", data=wanted, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        opened: list[str] = json.load(response)["Opened"]
    return opened


def prepare_account(port: int, settings: Settings, **credentials: str) -> None:
    """Do the manual steps of a new account before the first apply (docs/first-deploy.md)."""
    region = settings.region

    def aws(service: str) -> Any:
        return client(service, port, region, **credentials)

    aws("sesv2").put_account_details(
        MailType="TRANSACTIONAL", WebsiteURL="https://school.example", ProductionAccessEnabled=True
    )
    vault = settings.vault
    if not vault.enabled:
        return
    aws("backup").update_region_settings(
        ResourceTypeOptInPreference={"DynamoDB": True}, ResourceTypeManagementPreference={"DynamoDB": True}
    )
    if not vault.audit_manager:
        return
    iam = aws("iam")
    with contextlib.suppress(iam.exceptions.InvalidInputException):  # it exists already
        iam.create_service_linked_role(AWSServiceName="reports.backup.amazonaws.com")
    config = aws("config")
    account = aws("sts").get_caller_identity()["Account"]
    role = f"arn:aws:iam::{account}:role/aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig"
    config.put_configuration_recorder(ConfigurationRecorder={"name": "default", "roleARN": role})
    config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": f"config-{account}"})
    config.start_configuration_recorder(ConfigurationRecorderName="default")
