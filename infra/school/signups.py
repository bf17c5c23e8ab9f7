"""Welcome mails for sign-ups: the rule on the event bus, the function, and the table of events already handled."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule, Transformer
from infra.constructs.table import table
from infra.observability.events import Events
from infra.platform import Aws
from infra.school.mail import Mail
from rollbook.contract import environment


class SignUps(Construct):
    """Sends a welcome mail for each sign-up."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, mail: Mail, events: Events, site: str) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        signups = settings.signups
        welcomed = table(self, "welcomed", name=signups.idempotency_table_name, key="id", expires_by="expiration")
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=signups.function_name,
                entry="handlers.users.welcome.handler",
                variables=environment.Welcome(
                    sender_email=mail.sender, site_url=site, idempotency_table_name=welcomed.name
                ).variables(),
                limits=Limits(signups.memory_mb, signups.timeout_seconds),
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=signups.dead_letter_queue_name),
        )
        mail.grant_send_to_anyone(function)
        function.allow(
            "KeepIdempotency",
            ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            [welcomed.arn],
        )
        rule = Rule(
            self,
            "rule",
            name=f"{events.bus_name}-user-signup",
            description="Sign-ups of users, for welcome mails",
            bus_name=events.bus_name,
            pattern={"source": [signups.source], "detail-type": [signups.detail_type]},
        )
        rule.invoke(
            function,
            undelivered_queue_name=signups.undelivered_queue_name,
            transformer=Transformer({"id": "$.id", "detail": "$.detail"}, '{"id": <id>, "detail": <detail>}'),
        )
