"""Whether mail can be sent: addresses, sandbox and quota of SES, and confirmed subscriptions of SNS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from infra.settings import Settings
from ops.preflight.account import Account
from ops.preflight.point import Point, later, look, ok
from rollbook.contract import schedules


def addresses(account: Account) -> Iterator[Point]:
    """Are the addresses verified? (SES API v2 Reference, GetEmailIdentity)."""
    ses = account.aws("sesv2")
    for address in sorted(account.names("aws_sesv2_email_identity", "email_identity")):
        name = f"address {address}"
        try:
            found = ses.get_email_identity(EmailIdentity=address)
        except ses.exceptions.NotFoundException:
            if account.is_applied:
                yield look(name, "missing in SES, although the stack is applied", f"make plan ENV={_env(account)}")
            else:
                yield later(name, "the apply adds it; its owner must then open the link that SES mails")
            continue
        if found["VerifiedForSendingStatus"]:
            yield ok(name, "verified")
        else:
            yield look(
                name,
                "not verified, so SES refuses its mails",
                "open the link that SES mailed to it; for a new link: SES console, Identities, Resend",
            )


def sending(account: Account) -> Iterator[Point]:
    """May the account send mails, to which addresses, and how many? (SES API v2 Reference, GetAccount)."""
    found = account.aws("sesv2").get_account()
    if not found.get("SendingEnabled", False) or found.get("EnforcementStatus") == "SHUTDOWN":
        yield look("SES", f"sending is off ({found.get('EnforcementStatus')})", "SES console, Reputation metrics")
    elif found["ProductionAccessEnabled"]:
        yield ok("SES", "out of the sandbox")
    elif account.settings.signups.enabled:
        yield look(
            "SES",
            "in the sandbox: SES refuses the welcome mails of [signups], because their addresses are not verified",
            "SES console, Get set up, Request production access; or signups.enabled = false",
        )
    else:
        yield ok("SES", "in the sandbox: mails to verified addresses are enough here")
    quota = found["SendQuota"]
    wanted, left = mails_a_day(account.settings), quota["Max24HourSend"] - quota["SentLast24Hours"]
    said = f"{left:,.0f} of {quota['Max24HourSend']:,.0f} mails a day are left"
    if quota["Max24HourSend"] != -1 and left < wanted:  # -1 is no limit
        yield look("SES quota", f"{said}, and the schedules send {wanted}", "SES console, Request a limit increase")
    else:
        yield ok("SES quota", f"{said}, the schedules send {wanted}; mail.on_save sends one for each saved record")


def mails_a_day(settings: Settings) -> int:
    """Return how many mails the schedules of an environment send in a day, one for each execution."""
    timings = [(plan.expression, plan.time_zone) for plan in settings.backed_up_tables]
    timings += [(plan.expression, plan.time_zone) for plan in settings.drill_plans]
    if settings.weekly_report.enabled:
        timings.append((settings.weekly_report.schedule_expression, settings.weekly_report.schedule_time_zone))
    now = datetime.now(UTC)
    end = now + timedelta(days=1)
    return sum(
        sum(1 for _ in takewhile(lambda firing: firing <= end, schedules.parse(expression, zone).after(now)))
        for expression, zone in timings
    )


def subscriptions(account: Account) -> Iterator[Point]:
    """Did the operator confirm the subscription to the alerts? (SNS API Reference, ListSubscriptionsByTopic)."""
    sns = account.aws("sns")
    for topic in sorted(account.names("aws_sns_topic")):
        name, arn = f"alerts {topic}", f"arn:aws:sns:{account.settings.region}:{account.id}:{topic}"
        try:
            pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            wanted = account.settings.alerts.recipient or account.settings.mail.recipient
            found = [
                each
                for page in pages
                for each in page["Subscriptions"]
                if each["Protocol"] == "email" and each["Endpoint"] == wanted and each["SubscriptionArn"] != "Deleted"
            ]
        except sns.exceptions.NotFoundException:
            if account.is_applied:
                yield look(
                    name, "there is no such topic, although the stack is applied", f"make plan ENV={_env(account)}"
                )
            else:
                yield later(name, "the apply creates it; the operator must then open the link that SNS mails")
            continue
        waiting = [each["Endpoint"] for each in found if each["SubscriptionArn"] == "PendingConfirmation"]
        if waiting:
            yield look(
                name,
                f"{', '.join(waiting)} did not confirm, so alarms are not delivered to it",
                "open the link that SNS mailed; it is valid for two days, and then the apply must subscribe again",
            )
        elif not found:
            yield look(name, f"{wanted} is not subscribed, so it gets no alarms", f"make plan ENV={_env(account)}")
        else:
            yield ok(name, f"confirmed by {', '.join(each['Endpoint'] for each in found)}")


def _env(account: Account) -> str:
    return account.settings.name
