"""A new account of the embedded AWS: what it may not do before somebody prepares it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.local.aws import open_links
from tests.local.bare import ACCOUNT, REGION, Clients, a_bucket, a_function, a_name, a_user, ask, of_role, refused


@pytest.fixture
def aws(bare_port: int) -> Clients:
    return Clients(bare_port)


def fault(call: Any, **given: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**given)
    error = raised.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def test_an_address_sends_after_its_owner_opened_the_link(aws: Clients) -> None:
    ses, sender = aws("sesv2"), f"{a_name()}@school.example"
    mail = {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}}
    wanted = {"FromEmailAddress": sender, "Destination": {"ToAddresses": [sender]}, "Content": mail}
    assert ses.create_email_identity(EmailIdentity=sender)["VerifiedForSendingStatus"] is False
    assert "AlreadyExists" in fault(ses.create_email_identity, EmailIdentity=sender)
    assert "not verified" in fault(ses.send_email, **wanted)
    assert sender in open_links(aws.port, REGION)
    ses.send_email(**wanted)


def test_a_new_account_is_in_the_sandbox(aws: Clients) -> None:
    account = aws("sesv2", aws_access_key_id="400000000001")
    found = account.get_account()
    assert (found["ProductionAccessEnabled"], found["SendQuota"]["Max24HourSend"]) == (False, 200)
    account.put_account_details(
        MailType="TRANSACTIONAL", WebsiteURL="https://school.example", ProductionAccessEnabled=True
    )
    assert account.get_account()["ProductionAccessEnabled"] is True


def test_a_subscription_by_mail_waits_for_its_confirmation(aws: Clients) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name=a_name())["TopicArn"]

    def listed() -> list[str]:
        return [found["SubscriptionArn"] for found in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]]

    wanted = {"TopicArn": topic, "Protocol": "email", "Endpoint": "an@school.example"}
    assert sns.subscribe(**wanted)["SubscriptionArn"] == "pending confirmation"
    arn = sns.subscribe(**wanted, ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["PendingConfirmation"] == "true"
    assert listed() == ["PendingConfirmation"]
    open_links(aws.port, REGION)
    assert listed() == [arn]


def test_a_bucket_policy_names_roles_that_exist(aws: Clients) -> None:
    s3, bucket, role = aws("s3"), a_bucket(aws), of_role(aws)

    def policy(principal: str) -> str:
        allow = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [allow | {"Principal": {"AWS": principal}}]})

    missing = f"arn:aws:iam::{ACCOUNT}:role/{a_name()}"
    assert fault(s3.put_bucket_policy, Bucket=bucket, Policy=policy(missing)) == (
        "MalformedPolicy: Invalid principal in policy"
    )
    for there in (role, f"arn:aws:iam::{ACCOUNT}:root"):
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(there))


def test_a_service_linked_role_has_the_name_of_its_service_and_is_made_once(aws: Clients) -> None:
    iam = aws("iam", aws_access_key_id="400000000002")
    made = iam.create_service_linked_role(AWSServiceName="reports.backup.amazonaws.com")["Role"]
    assert made["Arn"].endswith("role/aws-service-role/reports.backup.amazonaws.com/AWSServiceRoleForBackupReports")
    assert iam.get_role(RoleName="AWSServiceRoleForBackupReports")["Role"]["Arn"] == made["Arn"]
    again = fault(iam.create_service_linked_role, AWSServiceName="reports.backup.amazonaws.com")
    assert again.startswith("InvalidInput: Service role name AWSServiceRoleForBackupReports has been taken")


def test_concurrency_is_reserved_as_far_as_the_account_has_it(aws: Clients) -> None:
    client, function = aws("lambda"), a_function(aws, "def handler(event, context): pass")
    quota = {"ServiceCode": "lambda", "QuotaCode": "L-B99A9384"}
    try:
        ask(aws.port, "service-quota", quota | {"Value": 10})
        assert client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 10
        assert "below its minimum value of [10]" in fault(
            client.put_function_concurrency, FunctionName=function, ReservedConcurrentExecutions=1
        )
    finally:
        ask(aws.port, "service-quota", quota)
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=900)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    assert "below its minimum value of [100]" in fault(
        client.put_function_concurrency, FunctionName=function, ReservedConcurrentExecutions=901
    )
    client.delete_function(FunctionName=function)


def test_a_region_lists_its_opt_ins_and_refuses_others(aws: Clients) -> None:
    backup = aws("backup", aws_access_key_id="400000000003")
    found = backup.describe_region_settings()
    assert found["ResourceTypeManagementPreference"]["DynamoDB"] is False
    assert "DSQL" in fault(backup.update_region_settings, ResourceTypeOptInPreference={"DSQL": True})
    backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": True})
    now = backup.describe_region_settings()
    assert now["ResourceTypeManagementPreference"]["DynamoDB"] is True
    assert now["ResourceTypeOptInPreference"] == found["ResourceTypeOptInPreference"]


def test_a_recorder_starts_where_its_records_can_be_delivered(aws: Clients) -> None:
    config = aws("config", aws_access_key_id="400000000004")
    role = "arn:aws:iam::400000000004:role/config"
    config.put_configuration_recorder(ConfigurationRecorder={"name": "default", "roleARN": role})
    start = config.start_configuration_recorder
    assert fault(start, ConfigurationRecorderName="default").startswith("NoAvailableDeliveryChannelException")
    config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": "records"})
    start(ConfigurationRecorderName="default")


def test_a_region_that_has_to_be_enabled_is_off(aws: Clients) -> None:
    account = aws("account", aws_access_key_id="400000000005")
    assert account.get_region_opt_status(RegionName=REGION)["RegionOptStatus"] == "ENABLED_BY_DEFAULT"
    assert account.get_region_opt_status(RegionName="ap-east-1")["RegionOptStatus"] == "DISABLED"
    account.enable_region(RegionName="ap-east-1")
    assert account.get_region_opt_status(RegionName="ap-east-1")["RegionOptStatus"] == "ENABLED"


def test_quotas_are_served_and_need_the_permission(aws: Clients) -> None:
    quota = {"ServiceCode": "dynamodb", "QuotaCode": "L-F98FE922"}
    assert aws("service-quotas").get_service_quota(**quota)["Quota"]["Value"] == 2500
    assert "NoSuchResource" in fault(
        aws("service-quotas").get_service_quota, ServiceCode="dynamodb", QuotaCode="L-00000000"
    )
    _, keys = a_user(aws)
    assert refused(aws("service-quotas", **keys).get_service_quota, **quota)
    assert refused(aws("lambda", **keys).get_account_settings)
    assert refused(aws("account", **keys).get_region_opt_status, RegionName=REGION)
