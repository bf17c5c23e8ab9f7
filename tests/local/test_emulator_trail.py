"""CloudTrail on a bare emulator: who is recorded with what, and which record reaches the default bus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from handlers.audit import record
from ops.cloud import fetch
from tests.local.bare import (
    ACCOUNT,
    REGION,
    Bus,
    Clients,
    a_bucket,
    a_name,
    a_user,
    allow,
    allowed,
    eventually,
)


@pytest.fixture
def aws(bare_port: int) -> Clients:
    return Clients(bare_port)


class Trail:
    """A trail that logs, a bucket, and a queue with the events of the default bus that are about the bucket."""

    def __init__(self, aws: Clients, selectors: Callable[[str], list[dict[str, Any]]], **rule: Any) -> None:
        self.bucket, self.name, self._aws = a_name(), a_name(), aws
        aws("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        pattern = {
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {
                "$or": [
                    {"requestParameters": {"bucketName": [self.bucket]}},
                    {"requestParameters": {"tableName": [self.bucket]}},
                ]
            },
        }
        rule_arn = aws("events").put_rule(Name=self.name, EventPattern=json.dumps(pattern), **rule)["RuleArn"]
        self._bus = Bus(aws)
        self._queue = self._bus.queue([allow("sqs:SendMessage", rule_arn)])
        aws("events").put_targets(Rule=self.name, Targets=[{"Id": "1", "Arn": self._queue}])
        aws("s3").create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})
        aws("cloudtrail").create_trail(Name=self.name, S3BucketName=self.name)
        aws("cloudtrail").put_event_selectors(TrailName=self.name, AdvancedEventSelectors=selectors(self.bucket))

    def start(self) -> None:
        self._aws("cloudtrail").start_logging(Name=self.name)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(message["Body"])["detail"] for message in self._bus.read(self._queue)]

    def remove(self) -> None:
        self._aws("cloudtrail").delete_trail(Name=self.name)
        self._aws("events").remove_targets(Rule=self.name, Ids=["1"])
        self._aws("events").delete_rule(Name=self.name)


def fields(**equal: str) -> dict[str, Any]:
    """Return an advanced selector."""
    return {"FieldSelectors": [{"Field": name.replace("_", "."), "Equals": [value]} for name, value in equal.items()]}


def objects_of(bucket: str) -> list[dict[str, Any]]:
    selector = fields(eventCategory="Data", resources_type="AWS::S3::Object")
    selector["FieldSelectors"].append({"Field": "resources.ARN", "StartsWith": [f"arn:aws:s3:::{bucket}/in/"]})
    return [selector]


@pytest.fixture
def data_trail(aws: Clients) -> Iterator[Trail]:
    trail = Trail(aws, objects_of)
    trail.start()
    yield trail
    trail.remove()


def test_a_call_on_an_object_is_recorded_with_its_caller_and_reaches_the_default_bus(
    aws: Clients, data_trail: Trail
) -> None:
    bucket = data_trail.bucket
    aws("s3").put_object(Bucket=bucket, Key="in/a b", Body=b"x")
    user, keys = a_user(aws, allowed("s3:GetObject"), allowed("sts:AssumeRole"))
    aws("s3", **keys).get_object(Bucket=bucket, Key="in/a b")
    with pytest.raises(ClientError, match="AccessDenied"):
        aws("s3", **keys).delete_object(Bucket=bucket, Key="in/a b")
    role = a_name()
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    aws("iam").create_role(
        RoleName=role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed("s3:*")]})
    aws("iam").put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document)
    made = aws("iam").get_role(RoleName=role)["Role"]
    session = aws("sts", **keys).assume_role(RoleArn=made["Arn"], RoleSessionName="chi")["Credentials"]
    of_role = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    aws("s3", **of_role).copy_object(Bucket=bucket, Key="in/b", CopySource={"Bucket": bucket, "Key": "in/a b"})
    put, got, refused, copied = eventually(lambda: found if len(found := data_trail.records()) > 3 else [])

    assert (put["eventName"], put["userIdentity"]["type"]) == ("PutObject", "Root")
    assert put["userIdentity"]["arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert put["requestParameters"].items() >= {"bucketName": bucket, "key": "in/a b"}.items()
    assert (got["eventName"], got["readOnly"]) == ("GetObject", True)
    assert got["userIdentity"] == {
        "type": "IAMUser",
        "principalId": aws("iam").get_user(UserName=user)["User"]["UserId"],
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{user}",
        "accountId": ACCOUNT,
        "accessKeyId": keys["aws_access_key_id"],
        "userName": user,
    }
    assert got["resources"][0] == {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/in/a b"}
    assert (refused["eventName"], refused["errorCode"]) == ("DeleteObject", "AccessDenied")
    assert refused["responseElements"] is None
    assert copied["eventName"] == "CopyObject"
    assert {each["ARN"] for each in copied["resources"]} == {
        f"arn:aws:s3:::{bucket}/in/a b",
        f"arn:aws:s3:::{bucket}/in/b",
    }
    assert copied["userIdentity"]["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/chi"
    assert copied["userIdentity"]["principalId"] == f"{made['RoleId']}:chi"
    issuer = copied["userIdentity"]["sessionContext"]["sessionIssuer"]
    assert issuer == {
        "type": "Role",
        "principalId": made["RoleId"],
        "arn": made["Arn"],
        "accountId": ACCOUNT,
        "userName": role,
    }
    for each in (put, got, refused, copied):
        assert (each["eventCategory"], each["managementEvent"], each["awsRegion"]) == ("Data", False, REGION)
        record.parse(each, bucket)  # the audit function reads it


def test_what_a_trail_does_not_log_reaches_no_bus(aws: Clients, data_trail: Trail) -> None:
    s3, bucket = aws("s3"), data_trail.bucket
    s3.put_object(Bucket=bucket, Key="out/a", Body=b"x")  # the selector names another prefix
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})  # a management event
    wrong = aws("s3", aws_access_key_id="AKIANOTTHERE00000000", aws_secret_access_key="x")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        wrong.get_object(Bucket=bucket, Key="in/a")  # who calls is not known
    aws("cloudtrail").stop_logging(Name=data_trail.name)
    s3.put_object(Bucket=bucket, Key="in/stopped", Body=b"x")
    aws("cloudtrail").start_logging(Name=data_trail.name)
    s3.put_object(Bucket=bucket, Key="in/last", Body=b"x")
    assert [each["requestParameters"]["key"] for each in data_trail.records()] == ["in/last"]


def test_a_new_trail_logs_nothing_until_it_is_started(aws: Clients) -> None:
    trail = Trail(aws, objects_of)
    aws("s3").put_object(Bucket=trail.bucket, Key="in/before", Body=b"x")
    trail.start()
    aws("s3").put_object(Bucket=trail.bucket, Key="in/after", Body=b"x")
    assert [each["requestParameters"]["key"] for each in trail.records()] == ["in/after"]
    trail.remove()


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("ENABLED", ["CreateTable"]),
        ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", ["CreateTable", "DescribeTable"]),
    ],
)
def test_management_events_need_a_trail_and_those_that_read_a_rule_that_wants_all(
    aws: Clients, state: str, names: list[str]
) -> None:
    trail = Trail(aws, lambda _: [fields(eventCategory="Management")], State=state)
    dynamodb, of_hash = aws("dynamodb"), {"AttributeName": "id", "KeyType": "HASH"}

    def make(name: str) -> None:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[of_hash],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        dynamodb.describe_table(TableName=name)
        dynamodb.put_item(TableName=name, Item={"id": {"S": "1"}})

    make(f"{trail.bucket}-before")
    trail.start()
    make(trail.bucket)
    records = trail.records()
    assert [each["eventName"] for each in records] == names
    assert records[0]["responseElements"]["tableDescription"]["tableName"] == trail.bucket
    assert {each["eventCategory"] for each in records} == {"Management"}
    attributes = [{"AttributeKey": "EventSource", "AttributeValue": "dynamodb.amazonaws.com"}]
    looked_up = aws("cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]
    events = [json.loads(each["CloudTrailEvent"]) for each in looked_up]
    wanted = f"{trail.bucket}-before"
    before = [each for each in events if (each["requestParameters"] or {}).get("tableName") == wanted]
    # Newest first. The history needs no trail, and has no data events.
    assert [each["eventName"] for each in before] == ["DescribeTable", "CreateTable"]
    trail.remove()


def test_a_trail_has_the_tags_that_it_is_made_with(aws: Clients) -> None:
    cloudtrail, name = aws("cloudtrail"), a_name()
    tags = [{"Key": "k", "Value": "v"}]
    arn = cloudtrail.create_trail(Name=name, S3BucketName=a_bucket(aws), TagsList=tags)["TrailARN"]
    assert cloudtrail.list_tags(ResourceIdList=[arn])["ResourceTagList"][0]["TagsList"] == tags
    cloudtrail.delete_trail(Name=name)


def test_cloudfront_reads_in_its_own_name_and_is_told_what_is_missing(aws: Clients, bare_port: int) -> None:
    trail = Trail(aws, lambda _: [fields(eventCategory="Data", resources_type="AWS::S3::Object")])
    cloudfront, bucket = aws("cloudfront"), trail.bucket
    control = cloudfront.create_origin_access_control(
        OriginAccessControlConfig={
            "Name": bucket,
            "SigningProtocol": "sigv4",
            "SigningBehavior": "always",
            "OriginAccessControlOriginType": "s3",
        }
    )["OriginAccessControl"]["Id"]
    origin = {
        "Id": "o",
        "DomainName": f"{bucket}.s3.{REGION}.amazonaws.com",
        "OriginAccessControlId": control,
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    made = cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": bucket,
            "Comment": "",
            "Enabled": True,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "o",
                "ViewerProtocolPolicy": "allow-all",
                "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
            },
        }
    )["Distribution"]

    def look(key: str) -> int:
        host = made["DomainName"].partition(".")[0]
        return fetch(f"http://{host}.cloudfront.localhost:{bare_port}/{key}").status

    def let(*actions: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "cloudfront.amazonaws.com"},
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            "Condition": {"StringEquals": {"AWS:SourceArn": made["ARN"]}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        aws("s3").put_bucket_policy(Bucket=bucket, Policy=document)

    aws("s3").put_object(Bucket=bucket, Key="there", Body=b"x")
    let("s3:GetObject")
    trail.start()
    assert (look("there"), look("missing-1")) == (200, 403)
    let("s3:GetObject", "s3:ListBucket")
    assert look("missing-2") == 404
    found = [each for each in trail.records() if each["userIdentity"]["type"] == "AWSService"]
    assert [(each["requestParameters"]["key"], each.get("errorCode")) for each in found] == [
        ("there", None),
        ("missing-1", "AccessDenied"),
        ("missing-2", "NoSuchKey"),
    ]
    assert found[0]["userIdentity"] == {"type": "AWSService", "invokedBy": "cloudfront.amazonaws.com"}
    trail.remove()


def test_calls_by_a_buckets_host_name_and_of_ses_are_recorded_too(aws: Clients, data_trail: Trail) -> None:
    bucket = data_trail.bucket
    aws("s3").put_object(Bucket=bucket, Key="in/a", Body=b"x")
    by_host = aws("s3", config=Config(s3={"addressing_style": "virtual"}))
    url = by_host.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "in/a"})
    assert f"//{bucket}.localhost:" in url
    assert fetch(url).body == b"x"
    _, got = data_trail.records()
    assert (got["eventName"], got["requestParameters"]["key"]) == ("GetObject", "in/a")
    assert got["additionalEventData"]["AuthenticationMethod"] == "QueryString"
    sender = f"{a_name()}@school.example"
    aws("sesv2").create_email_identity(EmailIdentity=sender)
    attributes = [{"AttributeKey": "EventSource", "AttributeValue": "ses.amazonaws.com"}]
    [newest, *_] = aws("cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]
    assert newest["EventName"] == "CreateEmailIdentity"
    assert json.loads(newest["CloudTrailEvent"])["requestParameters"] == {"emailIdentity": sender}
