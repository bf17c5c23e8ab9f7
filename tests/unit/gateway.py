"""moto behind HTTP on the loopback interface, with faults between it and who calls."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from botocore.awsrequest import AWSPreparedRequest, HTTPHeaders
from moto.core.models import botocore_stubber

from tests.unit.aws import REGION
from tests.unit.server import QuietHandler, serving

_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/(\w+)/aws4_request")
_HOSTS = {"dynamodb": "dynamodb", "s3": "s3", "ses": "email", "events": "events"}
_DENIED = "AccessDenied"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    length_of_head: int | None = None

    @property
    def length(self) -> int:
        return len(self.body) if self.length_of_head is None else self.length_of_head


# What each item that is put has once in a request.
_PUT = {"BatchWriteItem": b'{"PutRequest":', "PutItem": b'"ConditionExpression":"attribute_not_exists(#k)"'}


class Gateway(QuietHandler):
    """One request: `operation` is DynamoDB's own name, or the method of the others, `PUT` for one."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Chooses what happens to a request, in the order in which they come.
    fault: ClassVar[Callable[[Gateway], None]]
    # How many items all requests together have put.
    puts: ClassVar[int] = 0
    # moto's conditional writes are not one step, as AWS's are.
    _moto: ClassVar = threading.Lock()
    _busy: ClassVar = threading.Condition()
    _at_work: ClassVar[int] = 0
    operation: str
    service: str
    _body: bytes

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # who called was killed
            super().handle()

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._take
        raise AttributeError(name)

    def _take(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = _SERVICE.search(self.headers["Authorization"])
        assert found is not None
        self.service = found[1]
        self.operation = self.headers.get("X-Amz-Target", self.command).rpartition(".")[2]
        with self._busy:
            type(self)._at_work += 1
        try:
            type(self).fault(self)
        finally:
            with self._busy:
                type(self)._at_work -= 1
                self._busy.notify_all()

    @classmethod
    def wait_until_quiet(cls) -> None:
        """Wait until no request is being carried out: who sent it may be dead."""
        with cls._busy:
            cls._busy.wait_for(lambda: not cls._at_work)

    def forward(self) -> Answer:
        """Carry the request out."""
        Gateway.puts += self._body.count(_PUT.get(self.operation, b"none"))
        headers = HTTPHeaders()
        for name, value in self.headers.items():
            headers.add_header(name, value)
        url = f"https://{_HOSTS[self.service]}.{REGION}.amazonaws.com{self.path}"
        request = AWSPreparedRequest(self.command, url, headers, self._body, False)
        with self._moto:
            answered = botocore_stubber.process_request(request)
        assert answered is not None
        status, answer, body = answered
        encoded = body.encode() if isinstance(body, str) else body
        kept = {name: str(value) for name, value in answer.items() if name.lower() not in {"content-length", "date"}}
        if self.service == "dynamodb":
            kept["x-amz-crc32"] = str(zlib.crc32(encoded))
        lengths = [int(value) for name, value in answer.items() if name.lower() == "content-length"]
        return Answer(int(status), kept, encoded, lengths[0] if lengths and self.command == "HEAD" else None)

    def reply(self, answer: Answer, *, cut_at: int | None = None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:cut_at])
        if cut_at is not None:
            self.hang_up()

    def refuse(self, status: int, code: str) -> None:
        if self.service == "s3":
            self.reply(Answer(status, {}, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()))
        else:
            body = json.dumps({"__type": code, "message": "no"}).encode()
            self.reply(Answer(status, {"x-amz-crc32": str(zlib.crc32(body)), "x-amzn-errortype": code}, body))

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


Fault = Callable[[Gateway], None]


def well(call: Gateway) -> None:
    call.reply(call.forward())


def throttled(call: Gateway) -> None:
    codes = {"dynamodb": (400, "ProvisionedThroughputExceededException"), "s3": (503, "SlowDown")}
    call.refuse(*codes.get(call.service, (400, "ThrottlingException")))


def broken(call: Gateway) -> None:
    call.refuse(500, "InternalServerError" if call.service == "dynamodb" else "InternalError")


def reset(call: Gateway) -> None:
    call.hang_up()


def lost(call: Gateway) -> None:
    """What was asked is done, and the answer is lost."""
    call.forward()
    call.hang_up()


def truncated(call: Gateway) -> None:
    answer = call.forward()
    call.reply(answer, cut_at=len(answer.body) // 2)


def flipped(call: Gateway) -> None:
    """A bit of the answer is wrong; DynamoDB says so by its CRC."""
    answer = call.forward()
    middle = len(answer.body) // 2
    if call.service == "dynamodb":
        body = answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :]
        answer = Answer(answer.status, answer.headers, body)
    call.reply(answer)


def slow(call: Gateway) -> None:
    time.sleep(0.05)
    well(call)


def denied(call: Gateway) -> None:
    code = "AccessDeniedException" if call.service == "dynamodb" else _DENIED
    call.refuse(400 if call.service == "dynamodb" else 403, code)


@contextmanager
def open_gateway() -> Iterator[str]:
    """Serve, well at first, and give the address."""
    Gateway.fault = well
    with serving(Gateway) as address:
        yield address
