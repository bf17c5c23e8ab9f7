"""The SES identities and the permissions to send mail."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.sesv2_email_identity import Sesv2EmailIdentity
from constructs import Construct

from infra.constructs.function import Function
from infra.settings.school import Mail as MailSettings


class Mail(Construct):
    """The identities of sender and recipient. SES sends each address a link for confirmation."""

    def __init__(self, scope: Construct, id_: str, mail: MailSettings) -> None:
        super().__init__(scope, id_)
        self.sender = mail.sender
        self.recipient = mail.recipient
        sender = Sesv2EmailIdentity(self, "sender", email_identity=mail.sender)
        # In the sandbox, SES requires the permission on the recipient's identity, too.
        self._identities = [sender.arn]
        if mail.recipient != mail.sender:
            self._identities.append(Sesv2EmailIdentity(self, "recipient", email_identity=mail.recipient).arn)

    def grant_send_to_anyone(self, function: Function) -> None:
        """Allow a function to send from the sender's address to any address. In the sandbox, SES refuses this."""
        self._grant(function, self._identities[:1])

    def grant_send(self, function: Function) -> None:
        """Allow a function to send from the sender's address to the recipient."""
        self._grant(function, self._identities)

    def _grant(self, function: Function, identities: list[str]) -> None:
        function.allow(
            "SendMail",
            ["ses:SendEmail"],
            identities,
            conditions={"StringEquals": {"ses:FromAddress": self.sender}},
        )
