"""The Regions of the account, and the names of the stack: buckets, the state, existing resources."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from ops import state
from ops.failures import OperatorError
from ops.preflight.account import GLOBAL_REGION, Account, existing
from ops.preflight.point import Point, later, look, ok, unknown

# Types with unique names, and the attribute with the name.
_NAMED = {
    "aws_dynamodb_table": "name",
    "aws_iam_role": "name",
    "aws_lambda_function": "function_name",
    "aws_s3_bucket": "bucket",
    "aws_scheduler_schedule_group": "name",
    "aws_sesv2_email_identity": "email_identity",
}
_SHOWN = 5


def regions(account: Account) -> Iterator[Point]:
    """Are the Regions enabled? (Account Management API Reference, GetRegionOptStatus)."""
    client = account.client("account", GLOBAL_REGION)
    for region in account.regions:
        status = client.get_region_opt_status(RegionName=region)["RegionOptStatus"]
        if status in {"ENABLED", "ENABLED_BY_DEFAULT"}:
            yield ok(f"Region {region}", "enabled")
        else:
            yield look(
                f"Region {region}",
                f"{status.lower()}; no resource can be created in it",
                f"aws account enable-region --region-name {region}, and wait until it is enabled",
            )


def buckets(account: Account) -> Iterator[Point]:
    """Are the names of the buckets free, or are the buckets ours? Names are unique among all accounts of AWS."""
    free, ours = [], []
    for resource in account.resources("aws_s3_bucket"):
        name, region = str(resource["bucket"]), account.region_of(resource)
        try:
            found = account.client("s3", region).head_bucket(Bucket=name, ExpectedBucketOwner=account.id)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                free.append(name)
                continue
            if status == 400:
                # An expired token has this status too.
                yield unknown("buckets", f"{name} cannot be read: HeadBucket answered 400", "run this again")
                continue
            if status == 301:
                yield look("buckets", f"{name} is in another Region than {region}", "choose another name")
                continue
            if status == 403:
                if account.is_applied:
                    yield unknown("buckets", f"{name} may not be read: ask for s3:ListBucket on it")
                    continue
                yield look(
                    "buckets",
                    f"{name} may not be read, or belongs to another account",
                    "ask for s3:ListBucket on it; if it belongs to another account, choose another name in "
                    f"environments/{account.settings.name}.toml",
                )
                continue
            raise
        there = found.get("BucketRegion", region)
        if there != region:
            yield look("buckets", f"{name} is in {there}, not in {region}", "choose another name")
        else:
            ours.append(name)
    lost = account.is_applied and free
    if lost:
        yield look(
            "buckets", f"missing, although the stack is applied: {_list(free)}", f"make plan ENV={_env(account)}"
        )
    elif free or ours:
        yield ok("buckets", f"{len(free)} names are free, {len(ours)} buckets are ours")


def state_bucket(account: Account) -> Iterator[Point]:
    """Is the bucket of Terraform's state configured correctly?"""
    wanted = account.settings.state
    if wanted.bucket is None:
        yield ok("state", f"terraform.{account.settings.name}.tfstate in the project folder, only on this machine")
        return
    region = wanted.region or account.settings.region
    bootstrap = f"rollbook state bootstrap --env {_env(account)}"
    try:
        missing = state.missing(account.client("s3", region), wanted.bucket, region, account.id)
    except OperatorError as error:
        yield look("state", str(error), "choose another name in [state]")
        return
    if missing:
        yield look("state", f"s3://{wanted.bucket} lacks: {', '.join(missing)}", bootstrap)
    else:
        yield ok("state", f"s3://{wanted.bucket} is configured correctly")


def names(account: Account) -> Iterator[Point]:
    """Does a resource with a name of the stack exist before the first apply? The apply would fail."""
    if account.is_applied:
        yield ok("names", "the stack is applied, and its names are its own")
        return
    taken = [
        name
        for kind, attribute in _NAMED.items()
        for name in sorted(account.names(kind, attribute) & existing(account, kind))
    ]
    if account.is_applied is None:
        yield unknown("names", "the state cannot be read, so their owner is unknown", "see the point state")
    elif taken:
        yield look(
            "names",
            f"these exist and are not in the state: {_list(taken)}",
            f"`rollbook adopt --env {_env(account)}`, or choose other names",
        )
    else:
        yield ok("names", "no resource in the account has a name of the stack")


def applied(account: Account) -> Iterator[Point]:
    """Is the stack applied?"""
    if account.is_applied is None:
        yield unknown("stack", "the state cannot be read", "see the point state")
    elif account.is_applied:
        yield ok("stack", "applied")
    else:
        how = "rollbook local up" if account.settings.emulated else f"make deploy ENV={_env(account)}"
        yield later("stack", f"not applied yet: {how}")


def _env(account: Account) -> str:
    return account.settings.name


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
