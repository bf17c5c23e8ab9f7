"""The API's two functions, which read and save student records."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.accepted import accept
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.observability.events import Events
from infra.platform import Aws
from infra.school.mail import Mail
from infra.school.records import Records
from rollbook.contract import environment

accept(
    "aws_lambda_function",
    {"CKV_AWS_116": "the API invokes it synchronously; dead-letter queues are for asynchronous invocations"},
    path="students/*",
)


class Students(Construct):
    """The functions behind `GET /students` and `POST /students`, each with minimal permissions."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        records: Records,
        mail: Mail,
        events: Events,
        origin: str,
    ) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        functions = settings.functions
        limits = Limits(functions.memory_mb, functions.timeout_seconds, functions.reserved_concurrency)
        self.get = Function(
            self,
            "get",
            platform.runtime,
            FunctionSettings(
                name=functions.get_name,
                entry="handlers.students.get.handler",
                variables=environment.GetStudents(table_name=records.table_name, allowed_origin=origin).variables(),
                limits=limits,
            ),
        )
        records.grant_scan(self.get)
        self.insert = Function(
            self,
            "insert",
            platform.runtime,
            FunctionSettings(
                name=functions.insert_name,
                entry="handlers.students.insert.handler",
                variables=environment.InsertStudent(
                    table_name=records.table_name,
                    allowed_origin=origin,
                    max_body_bytes=settings.api.max_body_bytes,
                    event_bus_name=events.bus_name,
                    sender_email=mail.sender if settings.mail.on_save else "",
                    recipient_email=mail.recipient if settings.mail.on_save else "",
                ).variables(),
                limits=limits,
            ),
        )
        records.grant_save(self.insert)
        events.grant_put(self.insert)
        if settings.mail.on_save:
            mail.grant_send(self.insert)
