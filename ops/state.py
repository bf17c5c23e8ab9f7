"""`rollbook state`: create the bucket of Terraform's state, and show each state and its lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.settings import Settings, load_all
from ops import console, tables
from ops.commands import command, confirm, group
from ops.console import ROOT
from ops.environment import client, settings_of
from ops.exits import Exit
from ops.failures import OperatorError, explain
from ops.options import Env, Json, Yes

app = group("Terraform's state: bootstrap, show.")
# States are small, and a fault in one may be noticed late.
_OLD_VERSION_DAYS = 365


@dataclass(frozen=True)
class Step:
    """One part of the bucket's configuration.

    Arguments:
        name: in words.
        is_there: reads it from S3.
        make: writes it to S3.
    """

    name: str
    is_there: Callable[[], bool]
    make: Callable[[], Any]


@command(
    app,
    "bootstrap",
    example="rollbook state bootstrap --env production",
    codes={Exit.REFUSED: "not confirmed; nothing was changed"},
)
def bootstrap(env: Env, yes: Yes = False, as_json: Json = False) -> None:
    """Create and configure the bucket of the state.

    It shows what it will change, and asks. A second run changes nothing.
    """
    settings = settings_of(env)
    bucket = settings.state.bucket
    if bucket is None:
        raise OperatorError(f'environments/{env}.toml names no bucket; add [state] with bucket = "…"')
    region = settings.state.region or settings.region
    s3 = client(settings, "s3", region)
    try:
        account = str(client(settings, "sts", region).get_caller_identity()["Account"])
        missing = _missing_steps(s3, bucket, region, account)
        if missing:
            console.note(f"s3://{bucket} in {region}, account {account}:")
            for step in missing:
                console.note(f"  + {step.name}")
            confirm("Change it?", yes=yes)
        for step in missing:
            step.make()
            console.note(f"✓ {step.name}")
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"s3://{bucket}: {explain(error)}") from None
    if as_json:
        console.say_json({"bucket": bucket, "region": region, "changed": [step.name for step in missing]})
    else:
        console.done(f"s3://{bucket} is configured correctly")


def missing(s3: Any, bucket: str, region: str, account: str) -> list[str]:
    """Return what the configuration of a state's bucket lacks, in words.

    Raises:
        OperatorError: it belongs to another account, or is in another Region.
    """
    return [step.name for step in _missing_steps(s3, bucket, region, account)]


def _missing_steps(s3: Any, bucket: str, region: str, account: str) -> list[Step]:
    exists = _check_owner(s3, bucket, account, region)
    found = [step for step in steps(s3, bucket, region, account) if not exists or not step.is_there()]
    return [step for step in found if not exists or step.name != _CREATED]


@command(
    app,
    "show",
    example="rollbook state show",
    codes={Exit.FINDINGS: "a state could not be read, so it is unknown"},
)
def show(as_json: Json = False) -> None:
    """Show the state of each environment and its lock."""
    found = [state_of(settings) for settings in load_all()]
    if as_json:
        console.say_json(found)
    else:
        names = ("environment", "where", "changedAt", "serial", "resources", "lock", "unknown")
        columns = ("Environment", "State", "Changed", "Serial", "Resources", "Lock", "Unknown")
        shown = [number for number, name in enumerate(names) if name != "unknown" or any(row[name] for row in found)]
        tables.show(
            [columns[number] for number in shown],
            [tables.Row(["-" if (cell := row[names[number]]) is None else cell for number in shown]) for row in found],
            numbers={"Serial", "Resources"},
        )
    if any(row["unknown"] for row in found):
        raise typer.Exit(Exit.FINDINGS)


def state_of(settings: Settings) -> dict[str, Any]:
    """Return the facts of an environment's state; None where there is none, and why it is `unknown` if it is."""
    row: dict[str, Any] = dict.fromkeys(("changedAt", "serial", "resources", "lock", "unknown"))
    row["environment"] = settings.name
    if settings.state.bucket is None:
        path = ROOT / f"terraform.{settings.name}.tfstate"
        row["where"] = path.name
        if path.exists():
            row |= _summary(path.read_bytes(), datetime.fromtimestamp(path.stat().st_mtime, UTC))
        lock = path.with_name(f".{path.name}.lock.info")
        row["lock"] = _holder(lock.read_bytes()) if lock.exists() else None
        return row
    bucket, key = settings.state.bucket, f"{settings.name}/terraform.tfstate"
    row["where"] = f"s3://{bucket}/{key}"
    try:
        s3 = client(settings, "s3", settings.state.region or settings.region)
        found = _read(s3, bucket, key)
        if found is not None:
            row |= _summary(*found)
        lock_object = _read(s3, bucket, f"{key}.tflock")
        row["lock"] = _holder(lock_object[0]) if lock_object else None
    except (BotoCoreError, ClientError, OperatorError) as error:
        row["unknown"] = explain(error)
    return row


def _read(s3: Any, bucket: str, key: str) -> tuple[bytes, datetime] | None:
    try:
        found = s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return None
    return found["Body"].read(), found["LastModified"]


def _summary(raw: bytes, changed_at: datetime) -> dict[str, Any]:
    state = json.loads(raw)
    managed = [resource for resource in state.get("resources", []) if resource["mode"] == "managed"]
    return {
        "changedAt": f"{changed_at:%Y-%m-%dT%H:%M:%SZ}",
        "serial": state["serial"],
        "resources": sum(len(resource["instances"]) for resource in managed),
    }


def _holder(raw: bytes) -> str:
    lock = json.loads(raw)
    return f"{lock['Who']}, {lock['Operation'].removeprefix('OperationType').lower()}, since {lock['Created']}"


_CREATED = "the bucket itself"


def steps(s3: Any, bucket: str, region: str, account: str) -> Iterator[Step]:
    """Yield the parts of the bucket's configuration, in the order of their creation."""
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    of_bucket = {"Bucket": bucket, "ExpectedBucketOwner": account}
    block = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    owner = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    lifecycle = {
        "Rules": [
            {
                "ID": "old-states",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "NoncurrentVersionExpiration": {"NoncurrentDays": _OLD_VERSION_DAYS},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            }
        ]
    }
    tls_only = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }

    def read(call: str, answer: str) -> Any:
        """Return a part of the bucket's configuration, or None if it is not set."""
        try:
            return getattr(s3, call)(**of_bucket).get(answer)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def has_lifecycle() -> bool:
        rules = read("get_bucket_lifecycle_configuration", "Rules") or []
        return any("NoncurrentVersionExpiration" in rule and rule["Status"] == "Enabled" for rule in rules)

    def is_tls_only() -> bool:
        policy = read("get_bucket_policy", "Policy")
        return policy is not None and any(
            statement["Effect"] == "Deny"
            and statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
            for statement in json.loads(policy)["Statement"]
        )

    def add_tls_only() -> None:
        there = read("get_bucket_policy", "Policy")
        kept = json.loads(there)["Statement"] if there else []
        policy = tls_only | {"Statement": [*kept, *tls_only["Statement"]]}
        s3.put_bucket_policy(**of_bucket, Policy=json.dumps(policy))

    def add_lifecycle() -> None:
        kept = read("get_bucket_lifecycle_configuration", "Rules") or []
        s3.put_bucket_lifecycle_configuration(
            **of_bucket, LifecycleConfiguration={"Rules": [*kept, *lifecycle["Rules"]]}
        )

    yield Step(_CREATED, lambda: True, lambda: s3.create_bucket(Bucket=bucket, **place))
    yield Step(
        "versioning, so that an older state can be restored",
        lambda: read("get_bucket_versioning", "Status") == "Enabled",
        lambda: s3.put_bucket_versioning(**of_bucket, VersioningConfiguration={"Status": "Enabled"}),
    )
    yield Step(
        "encryption at rest",
        lambda: bool(read("get_bucket_encryption", "ServerSideEncryptionConfiguration")),
        lambda: s3.put_bucket_encryption(**of_bucket, ServerSideEncryptionConfiguration=encryption),
    )
    yield Step(
        "block public access",
        lambda: read("get_public_access_block", "PublicAccessBlockConfiguration") == block,
        lambda: s3.put_public_access_block(**of_bucket, PublicAccessBlockConfiguration=block),
    )
    yield Step(
        "no ACLs: the bucket's owner owns every object",
        lambda: read("get_bucket_ownership_controls", "OwnershipControls") == owner,
        lambda: s3.put_bucket_ownership_controls(**of_bucket, OwnershipControls=owner),
    )
    yield Step("TLS only", is_tls_only, add_tls_only)
    yield Step(f"delete older states after {_OLD_VERSION_DAYS} days", has_lifecycle, add_lifecycle)


def _check_owner(s3: Any, bucket: str, account: str, region: str) -> bool:
    """Return whether the bucket exists.

    Raises:
        OperatorError: it belongs to another account, or is in another Region.
    """
    try:
        found = s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return False
        if status in {301, 400}:
            raise OperatorError(f"s3://{bucket} is in another Region than {region}; set state.region") from None
        raise OperatorError(
            f"s3://{bucket} belongs to another account than {account}, or may not be read; bucket names are global, so "
            "choose another state.bucket"
        ) from None
    there = found.get("BucketRegion", region)
    if there != region:
        raise OperatorError(f"s3://{bucket} is in {there}, not in {region}; set state.region")
    return True
