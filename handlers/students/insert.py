"""`POST /students`: saves a record and notifies the office by mail."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from handlers import http
from handlers.students import record
from rollbook.contract.environment import InsertStudent
from rollbook.contract.events import StudentSaved
from rollbook.messages import mail
from rollbook.messages.bus import Bus, EventNotAccepted

environment = InsertStudent.read()
logger = Logger(service="students")
table = boto3.client("dynamodb")
ses = boto3.client("sesv2") if environment.sender_email else None
bus = Bus(boto3.client("events"), environment.event_bus_name)
_serialize = TypeSerializer().serialize


@logger.inject_lambda_context(correlation_id_path="requestContext.requestId")
def handler(event: http.Event, context: Any) -> dict[str, Any]:
    """Return 201 for a new record and 200 for a changed one. With `notify=false`, no mail is sent."""
    try:
        student = _student(event)
        created = _save(student)
    except http.Refusal as refusal:
        return http.refuse(refusal, origin=environment.allowed_origin)
    body: dict[str, Any] = {
        "message": f"Student {student['studentid']} was {'created' if created else 'updated'}.",
        "studentid": student["studentid"],
        "created": created,
    }
    warnings = [_publish(student["studentid"], created, str(event["requestContext"]["requestId"]))]
    if ses and http.parameter(event, "notify") != "false":
        warnings.append(_notify(student["studentid"], created))
    if warning := " ".join(filter(None, warnings)):
        body["warning"] = f"The record is saved, but {warning}"
    return http.answer(201 if created else 200, body, origin=environment.allowed_origin)


def _student(event: http.Event) -> dict[str, Any]:
    document = http.json_body(event, max_bytes=environment.max_body_bytes)
    faults = record.faults(document, today=datetime.now(UTC).date())
    if faults:
        named = "; ".join(f"{field} {fault}" if field else f"the body {fault}" for field, fault in faults.items())
        raise http.Refusal(400, f"The record was not saved: {named}.", errors=faults)
    return record.clean(document)


def _save(student: dict[str, Any]) -> bool:
    """Save the given attributes, keep the record's other attributes, and return whether the record is new."""
    attributes = [name for name in student if name != "studentid"]
    try:
        saved = table.update_item(
            TableName=environment.table_name,
            Key={"studentid": {"S": student["studentid"]}},
            UpdateExpression="SET " + ", ".join(f"#n{i} = :v{i}" for i in range(len(attributes))),
            ExpressionAttributeNames={f"#n{i}": name for i, name in enumerate(attributes)},
            ExpressionAttributeValues={f":v{i}": _serialize(student[name]) for i, name in enumerate(attributes)},
            ReturnValues="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise
        raise http.Refusal(400, f"DynamoDB refuses the record: {error.response['Error']['Message']}") from error
    return not saved.get("Attributes")


def _publish(studentid: str, created: bool, request_id: str) -> str:
    """Put the event on the bus. The record is already saved, so a failure becomes a warning, not an error."""
    saved = StudentSaved(correlation_id=request_id, table=environment.table_name, studentid=studentid, created=created)
    try:
        bus.put(saved)
    except (BotoCoreError, ClientError, EventNotAccepted) as error:
        logger.exception("The record is saved, but its event was not put on the bus")
        return f"no event was put on the bus: {type(error).__name__}."
    return ""


def _notify(studentid: str, created: bool) -> str:
    """Send a mail to the office. A failure becomes a warning."""
    done = "created" if created else "updated"
    try:
        mail.send(
            ses,
            sender=environment.sender_email,
            recipient=environment.recipient_email,
            subject=f"Student {done}: {studentid}",
            body=f"The student record {studentid} was {done} in the table {environment.table_name}.\n",
        )
    except (BotoCoreError, ClientError) as error:
        logger.exception("The record is saved, but its mail was not sent")
        return f"no mail was sent: {type(error).__name__}."
    return ""
