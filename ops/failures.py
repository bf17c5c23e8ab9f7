"""Why commands end: the errors that they raise, and one sentence for what AWS, Terraform and the machine answer."""

from __future__ import annotations

import subprocess
from typing import ClassVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

from infra.settings import SettingsError
from ops.exits import Exit

_LOG_IN = "Log in or set AWS_PROFILE, and check with: aws sts get-caller-identity"
# Codes of AWS's common errors, the same in all services ("Common Errors" of each API reference).
_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "AuthFailure",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403", "Forbidden"}
_ABSENT = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist", "404")
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)


class OperatorError(RuntimeError):
    """A command could not do its work; the message says what happened, where, and what to do."""

    code: ClassVar[Exit] = Exit.FAILED


class SomethingFound(OperatorError):
    """A command did its work and found something to look at."""

    code = Exit.FINDINGS


class Refused(OperatorError):
    """A command refused before anything was changed."""

    code = Exit.REFUSED


class StateMoved(OperatorError):
    """The plan differs from the review, or the state moved; nothing was changed."""

    code = Exit.MOVED


def explain(error: BaseException) -> str | None:
    """Return one sentence for an error that AWS, a program or the machine caused; None for a fault of this program."""
    match error:
        case OperatorError() | SettingsError():
            return str(error)
        case ClientError():
            return _refused_by_aws(error)
        case NoRegionError():
            return f"AWS was not called: {_line(error)}. Set region in environments/ENV.toml"
        case BotoCoreError() if isinstance(error, _NO_CREDENTIALS):
            return f"AWS was not called: {_line(error)}. {_LOG_IN}"
        case ConnectionError() | HTTPClientError():
            advice = "Check the network and the Region in environments/ENV.toml, and run this again"
            return f"AWS cannot be reached: {_line(error)}. {advice}"
        case BotoCoreError():
            return f"the call to AWS failed: {_line(error)}. Correct what it names, and run this again"
        case subprocess.TimeoutExpired():
            return f"{_program(error)} did not end in {error.timeout:g} s. Run this again"
        case subprocess.CalledProcessError():
            return f"{_program(error)} failed with exit code {error.returncode}. Run it by hand to see why"
        case KeyboardInterrupt():
            return "stopped before the work was done. Run the same command again"
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}. Check the path and its permissions"
        case OSError():
            return f"the system refused: {_line(error)}"
        case _:
            return None


def _refused_by_aws(error: ClientError) -> str:
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "unknown")), _line(answer.get("Message") or "without a message")
    what = f"AWS answered {error.operation_name} with {code}: {message.rstrip('.')}"
    return f"{what}. {_advice(code, error.operation_name)}"


def _advice(code: str, operation: str) -> str:
    if code in _CREDENTIALS:
        return _LOG_IN
    if code in _DENIED:
        return f"Ask an administrator of the account for the permission to call {operation}"
    if "Throttl" in code or code in {"TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}:
        return "AWS limits the rate of calls; run this again in a minute"
    if any(word in code for word in _ABSENT):
        return "Check the name and the Region, and that the environment is deployed"
    status_is_ours = code in {"InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable"}
    return "The fault is on the side of AWS; run this again" if status_is_ours else "Correct it, and run this again"


def _program(error: subprocess.TimeoutExpired | subprocess.CalledProcessError) -> str:
    return str(error.cmd if isinstance(error.cmd, str) else error.cmd[0])


def _line(text: object) -> str:
    return " ".join(str(text).split())
