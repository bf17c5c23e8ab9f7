"""`python -m ops state`: the bucket of Terraform's state, where each environment's state is, and who holds its lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from infra.settings import Settings, load_all
from ops.console import ROOT, OperatorError, command, out
from ops.environment import Env, client, settings_of

app = typer.Typer(help="Terraform's state.", no_args_is_help=True)
# A state is small and is wanted back for as long as anybody might notice that it is wrong.
_OLD_VERSION_DAYS = 365


@dataclass(frozen=True)
class Step:
    """Something that the bucket has to have.

    Arguments:
        name: in words.
        is_there: asks S3.
        make: tells S3.
    """

    name: str
    is_there: Callable[[], bool]
    make: Callable[[], Any]


@app.command()
@command
def bootstrap(env: Env, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Make the bucket of an environment's state, or check it; says first what it will do, and does nothing twice."""
    settings = settings_of(env)
    bucket = settings.state.bucket
    if bucket is None:
        raise OperatorError(f'environments/{env}.toml names no bucket; add [state] with bucket = "…"')
    region = settings.state.region or settings.region
    s3 = client(settings, "s3", region)
    account = str(client(settings, "sts", region).get_caller_identity()["Account"])
    try:
        missing = _missing_steps(s3, bucket, region, account)
        if not missing:
            out.print(f"[green]✓[/] s3://{bucket} is as it has to be", highlight=False)
            return
        out.print(f"s3://{bucket} in {region}, account {account}:", highlight=False)
        for step in missing:
            out.print(f"  [yellow]+[/] {step.name}", highlight=False)
        if not yes and not typer.confirm("Do it?"):
            raise OperatorError("nothing was done")
        for step in missing:
            step.make()
            out.print(f"[green]✓[/] {step.name}", highlight=False)
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"s3://{bucket}: {error}") from None


def missing(s3: Any, bucket: str, region: str, account: str) -> list[str]:
    """Return in words what a bucket of a state lacks.

    Raises:
        OperatorError: it is another account's, or in another Region.
    """
    return [step.name for step in _missing_steps(s3, bucket, region, account)]


def _missing_steps(s3: Any, bucket: str, region: str, account: str) -> list[Step]:
    exists = _check_owner(s3, bucket, account, region)
    found = [step for step in steps(s3, bucket, region, account) if not exists or not step.is_there()]
    return [step for step in found if not exists or step.name != _CREATED]


@app.command()
@command
def show(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Show where each environment's state is, when it last changed, and who holds its lock."""
    found = [state_of(settings) for settings in load_all()]
    if as_json:
        print(json.dumps(found))
        return
    table = Table("Environment", "State", "Changed", "Serial", "Resources", "Lock", box=None)
    for row in found:
        cells = (row[name] for name in ("environment", "where", "changedAt", "serial", "resources", "lock"))
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    out.print(table)


def state_of(settings: Settings) -> dict[str, Any]:
    """Return what is known of an environment's state; None is what there is not."""
    row: dict[str, Any] = dict.fromkeys(("changedAt", "serial", "resources", "lock"))
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
        row["where"] += f" (unknown: {error})"
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
    """Yield what the bucket has to have, in the order in which it is made."""
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

    def asked(call: str, answer: str) -> Any:
        """Return a part of the bucket's configuration, or None if it has none."""
        try:
            return getattr(s3, call)(**of_bucket).get(answer)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def has_lifecycle() -> bool:
        rules = asked("get_bucket_lifecycle_configuration", "Rules") or []
        return any("NoncurrentVersionExpiration" in rule and rule["Status"] == "Enabled" for rule in rules)

    def is_tls_only() -> bool:
        policy = asked("get_bucket_policy", "Policy")
        return policy is not None and any(
            statement["Effect"] == "Deny"
            and statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
            for statement in json.loads(policy)["Statement"]
        )

    def restrict() -> None:
        there = asked("get_bucket_policy", "Policy")
        kept = json.loads(there)["Statement"] if there else []
        policy = tls_only | {"Statement": [*kept, *tls_only["Statement"]]}
        s3.put_bucket_policy(**of_bucket, Policy=json.dumps(policy))

    def age() -> None:
        kept = asked("get_bucket_lifecycle_configuration", "Rules") or []
        s3.put_bucket_lifecycle_configuration(
            **of_bucket, LifecycleConfiguration={"Rules": [*kept, *lifecycle["Rules"]]}
        )

    yield Step(_CREATED, lambda: True, lambda: s3.create_bucket(Bucket=bucket, **place))
    yield Step(
        "versioning, so that an older state can be brought back",
        lambda: asked("get_bucket_versioning", "Status") == "Enabled",
        lambda: s3.put_bucket_versioning(**of_bucket, VersioningConfiguration={"Status": "Enabled"}),
    )
    yield Step(
        "encryption at rest",
        lambda: bool(asked("get_bucket_encryption", "ServerSideEncryptionConfiguration")),
        lambda: s3.put_bucket_encryption(**of_bucket, ServerSideEncryptionConfiguration=encryption),
    )
    yield Step(
        "nothing public",
        lambda: asked("get_public_access_block", "PublicAccessBlockConfiguration") == block,
        lambda: s3.put_public_access_block(**of_bucket, PublicAccessBlockConfiguration=block),
    )
    yield Step(
        "no ACLs: the bucket's owner owns every object",
        lambda: asked("get_bucket_ownership_controls", "OwnershipControls") == owner,
        lambda: s3.put_bucket_ownership_controls(**of_bucket, OwnershipControls=owner),
    )
    yield Step("TLS only", is_tls_only, restrict)
    yield Step(f"older states deleted after {_OLD_VERSION_DAYS} days", has_lifecycle, age)


def _check_owner(s3: Any, bucket: str, account: str, region: str) -> bool:
    """Return whether the bucket is there, and this account's in this Region.

    Raises:
        OperatorError: it is another account's, or in another Region.
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
            f"s3://{bucket} is not the account {account}'s, or may not be looked at; bucket names are global, so "
            "choose another state.bucket"
        ) from None
    there = found.get("BucketRegion", region)
    if there != region:
        raise OperatorError(f"s3://{bucket} is in {there}, not in {region}; set state.region")
    return True
