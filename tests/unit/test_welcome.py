"""The welcome mail: each sign-up gets one mail, and the name in it is always plain text."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sesv2.models import sesv2_backends

from handlers.users.signup import Malformed
from tests.conftest import Stacks
from tests.unit.aws import REGION, Context, create_tables

SENDER = "no-reply@school.example"


@pytest.fixture
def welcome(stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "SENDER_EMAIL": SENDER,
        "SITE_URL": "https://site.example/?a=1&b=2",
        "IDEMPOTENCY_TABLE_NAME": "welcomed-users",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        create_tables(stacks)
        boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
        yield importlib.reload(importlib.import_module("handlers.users.welcome"))


def event(id_: str = "1", **detail: Any) -> dict[str, Any]:
    return {"id": id_, "detail": {"name": "An", "email": "an@a.example", "plan": "free"} | detail}


def sent() -> list[Any]:
    return list(sesv2_backends[DEFAULT_ACCOUNT_ID][REGION].core_backend.sent_messages)


def test_who_signed_up_is_welcomed_once_for_each_event(welcome: Any) -> None:
    for id_ in ("1", "1", "2"):
        welcome.handler(event(id_), Context())
    assert [(mail.source, mail.destinations["ToAddresses"], mail.subject) for mail in sent()] == [
        (SENDER, ["an@a.example"], "Welcome, An")
    ] * 2


def test_a_name_is_text_in_both_forms(welcome: Any) -> None:
    name = '<b>Ánh & "Bình"</b> {site} %s'
    found = welcome.welcome_mail.welcome(name, "https://site.example/?a=1&b=2")
    assert f"Hello {name},\n" in found.text
    assert "Hello &lt;b&gt;Ánh &amp; &quot;Bình&quot;&lt;/b&gt; {site} %s," in found.html
    assert "<b>" not in found.html
    assert 'href="https://site.example/?a=1&amp;b=2"' in found.html


@pytest.mark.parametrize(
    ("detail", "place"),
    [
        ({"name": "An\r\nBcc: all@a.example"}, r"\$\.name"),
        ({"name": "An\u2028Bcc: x"}, r"\$\.name"),
        ({"name": "An\n"}, r"\$\.name"),
        ({"name": ""}, r"\$\.name"),
        ({"name": 7}, r"\$\.name"),
        ({"email": "an@a.example, all@a.example"}, r"\$\.email"),
        ({"email": "an@a.example\n"}, r"\$\.email"),
        ({"email": "nobody"}, r"\$\.email"),
        ({"email": None}, r"\$\.email"),
    ],
)
def test_a_malformed_sign_up_names_its_field_and_a_corrected_one_is_accepted(
    welcome: Any, detail: dict[str, Any], place: str
) -> None:
    with pytest.raises(Malformed, match=f"the sign-up 1 is malformed.*{place}"):
        welcome.handler(event(**detail), Context())
    assert sent() == []
    welcome.handler(event(), Context())
    assert len(sent()) == 1


def test_an_event_without_a_detail_or_an_id_is_refused(welcome: Any) -> None:
    with pytest.raises(Malformed, match="Expected `object`, got `null`"):
        welcome.handler({"id": "1"}, Context())
    with pytest.raises(Exception, match="No data found to create a hashed idempotency_key"):
        welcome.handler({"detail": {}}, Context())


def test_a_mail_that_fails_raises_and_the_retry_sends_it(welcome: Any) -> None:
    boto3.client("sesv2").delete_email_identity(EmailIdentity=SENDER)
    with pytest.raises(Exception, match="not verified"):
        welcome.handler(event(), Context())
    boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
    welcome.handler(event(), Context())
    assert len(sent()) == 1
