"""The mails with links that AWS sends to an address: SES's verification and SNS's confirmation.

MiniStack verifies an address and confirms an e-mail subscription immediately. Here both are pending until a test opens
the links: `POST /_rollbook/open-links {"Region", "Account"}`.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core import responses
from ministack.services import ses, ses_v2, sns

from infra.emulator import paths
from infra.emulator.replacing import Original

# In the sandbox, an account may send 200 mails in 24 hours and one per second (SES Developer Guide, "Request production
# access"). Outside it, MiniStack's numbers apply.
_SANDBOX_QUOTA = {"Max24HourSend": 200.0, "MaxSendRate": 1.0}
_handle_ses = Original(ses_v2, "handle_request")
_production_access = Original(ses, "_production_access_enabled")
_subscribe = Original(sns, "_subscribe")
_list_by_topic = Original(sns, "_list_subscriptions_by_topic")
_list_all = Original(sns, "_list_subscriptions")


def install() -> None:
    """Complete MiniStack's SES and SNS."""
    _handle_ses.replace(handle_ses)
    _production_access.replace(production_access_enabled)
    _subscribe.replace(subscribe)
    _list_by_topic.replace(lambda params: _hide_pending(_list_by_topic(params)))
    _list_all.replace(lambda params: _hide_pending(_list_all(params)))
    paths.add("open-links", open_links)


def production_access_enabled() -> bool:
    """Return whether the account is out of the sandbox. A new account is in the sandbox."""
    return bool((ses._account_details.get("account") or {}).get("ProductionAccessEnabled", False))


async def handle_ses(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
    """Serve a request to SES. A new address is unverified, and an existing address cannot be created again.

    Sources: SES API v2 Reference, CreateEmailIdentity, GetAccount; SES Developer Guide, "Creating and verifying
    identities".
    """
    of_identities = path.endswith("/v2/email/identities")
    identity = json.loads(body or b"{}").get("EmailIdentity") if method == "POST" and of_identities else None
    if identity and identity in ses_v2._identities:
        return ses_v2._json_err("AlreadyExistsException", f"Email identity {identity} already exist.", 400)
    status, answered, content = await _handle_ses(method, path, headers, body, query)
    if identity and status == 200:
        ses_v2._identities[identity] |= {"VerifiedForSendingStatus": False, "VerificationStatus": "PENDING"}
        content = json.dumps(json.loads(content) | {"VerifiedForSendingStatus": False}).encode()
    if method == "GET" and path.endswith("/v2/email/account") and status == 200:
        account = json.loads(content)
        account["ProductionAccessEnabled"] = production_access_enabled()
        if not production_access_enabled():
            account["SendQuota"] |= _SANDBOX_QUOTA
        content = json.dumps(account).encode()
    return status, answered, content


def subscribe(params: dict[str, Any]) -> Any:
    """Subscribe an endpoint. The subscription of a mail address is pending.

    Source: SNS API Reference, Subscribe, ReturnSubscriptionArn.
    """
    topic_arn, endpoint = sns._p(params, "TopicArn"), sns._p(params, "Endpoint")
    known = {sub["arn"] for sub in _subscriptions(topic_arn)}
    status, headers, body = _subscribe(params)
    if status != 200 or sns._p(params, "Protocol") not in {"email", "email-json"}:
        return status, headers, body
    [sub] = [sub for sub in _subscriptions(topic_arn) if sub["endpoint"] == endpoint and "email" in sub["protocol"]]
    if sub["arn"] not in known:
        sub |= {"confirmed": False, "token": responses.new_uuid()}
        sub["attributes"] |= {"PendingConfirmation": "true", "ConfirmationWasAuthenticated": "false"}
        sns._refresh_subscription_counts(sns._topic_by_arn_any_scope(topic_arn))
    if not sub["confirmed"] and sns._p(params, "ReturnSubscriptionArn").lower() != "true":
        body = body.replace(sub["arn"].encode(), b"pending confirmation")
    return status, headers, body


def open_links(request: dict[str, Any]) -> dict[str, Any]:
    """Verify all pending addresses and confirm all pending subscriptions of a Region, and return them."""
    responses.set_request_account_id(request.get("Account", ""))
    responses.set_request_region(request["Region"])
    opened = []
    for address, identity in ses_v2._identities.items():
        if identity.get("VerificationStatus") == "PENDING":
            identity |= {"VerifiedForSendingStatus": True, "VerificationStatus": "SUCCESS"}
            opened.append(address)
    for topic_arn in set(sns._sub_arn_to_topic.values()):
        for sub in _subscriptions(topic_arn):
            if "email" in sub["protocol"] and not sub["confirmed"]:
                sub |= {"confirmed": True, "token": None}
                sub["attributes"] |= {"PendingConfirmation": "false"}
                opened.append(sub["arn"])
        if topic := sns._topic_by_arn_any_scope(topic_arn):
            sns._refresh_subscription_counts(topic)
    return {"Opened": opened}


def _subscriptions(topic_arn: str) -> list[dict[str, Any]]:
    topic = sns._topic_by_arn_any_scope(topic_arn)
    return list(topic["subscriptions"]) if topic else []


def _hide_pending(answer: Any) -> Any:
    """Hide the ARNs of pending subscriptions in a list (SNS API Reference, Subscription)."""
    status, headers, body = answer
    for topic_arn in set(sns._sub_arn_to_topic.values()):
        for sub in _subscriptions(topic_arn):
            if not sub["confirmed"]:
                body = body.replace(f">{sub['arn']}<".encode(), b">PendingConfirmation<")
    return status, headers, body
