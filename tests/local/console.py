"""The workshop as its console steps make it, in an account of its own: what `rollbook adopt` finds at a user's."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

REGION = "us-east-1"
SITE, BACKUPS = "student-management-website-by-hand", "student-backup-by-hand"
BACKUP_KEY = "students-backup-20250708T0700.json"
STUDENTS = {f"SV{number:03}": {"name": f"Student {number}", "class": "10A"} for number in range(1, 31)}

Client = Callable[[str], Any]


def build(client: Client, account: str) -> None:
    """Make everything, in the workshop's order; functions get the console's roles, and a schedule too many is left."""
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="studentData",
        AttributeDefinitions=[{"AttributeName": "studentid", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "studentid", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for id_, attributes in STUDENTS.items():
        item = {name: {"S": value} for name, value in attributes.items()}
        dynamodb.put_item(TableName="studentData", Item={"studentid": {"S": id_}, **item})
    roles = {
        "getStudentData": _role(client, "getStudentData-role-x1y2z3", "lambda", ["dynamodb:*"]),
        "insertStudentData": _role(client, "insertStudentData-role-a4b5c6", "lambda", ["dynamodb:*"]),
        "BackupDynamoDBAndSendEmail": _role(
            client, "DynamoDBBackupRoleStudent", "lambda", ["dynamodb:Scan", "s3:PutObject", "ses:SendEmail"]
        ),
    }
    functions = {name: _function(client, name, role) for name, role in roles.items()}
    _api(client, account, functions)
    s3 = client("s3")
    for bucket in (SITE, BACKUPS):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=SITE, Key="index.html", Body=b"<h1>By hand</h1>", ContentType="text/html")
    s3.put_object(Bucket=BACKUPS, Key=BACKUP_KEY, Body=json.dumps([{"studentid": "SV001"}]).encode())
    _distribution(client)
    for address in ("no-reply@studentapp.com", "admin@studentapp.com"):
        client("sesv2").create_email_identity(EmailIdentity=address)
    role = _role(client, "Amazon_EventBridge_Scheduler_LAMBDA_7e5e967abf", "scheduler", ["lambda:InvokeFunction"])
    scheduler, target = client("scheduler"), functions["BackupDynamoDBAndSendEmail"]
    scheduler.create_schedule_group(Name="student-backups")
    for group, name in (("student-backups", "DailyDynamoDBBackup"), ("default", "TryTheBackup")):
        scheduler.create_schedule(
            Name=name,
            GroupName=group,
            Description="Backup DynamoDB and send email daily at 7:00 AM +07.",
            ScheduleExpression="cron(0 0 * * ? *)",
            FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
            Target={"Arn": target, "RoleArn": role},
        )


def _role(client: Client, name: str, service: str, actions: list[str]) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    iam = client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="ByHand", PolicyDocument=_document(policy))
    return str(role["Arn"])


def _document(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _function(client: Client, name: str, role: str) -> str:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("lambda_function.py", "def lambda_handler(event, context):\n    return {'statusCode': 200}\n")
    client("logs").create_log_group(logGroupName=f"/aws/lambda/{name}")
    client("logs").create_log_stream(logGroupName=f"/aws/lambda/{name}", logStreamName="by-hand")
    made = client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": body.getvalue()},
        Timeout=3,
        MemorySize=128,
    )
    return str(made["FunctionArn"])


def _api(client: Client, account: str, functions: dict[str, str]) -> None:
    gateway = client("apigateway")
    api = gateway.create_rest_api(name="student", endpointConfiguration={"types": ["REGIONAL"]})["id"]
    [root] = gateway.get_resources(restApiId=api)["items"]
    routes = {
        "students": {"GET": "getStudentData", "POST": "insertStudentData", "OPTIONS": None},
        "backup": {"POST": "BackupDynamoDBAndSendEmail"},
        "hello": {"GET": "getStudentData"},
    }
    for path, methods in routes.items():
        resource = gateway.create_resource(restApiId=api, parentId=root["id"], pathPart=path)["id"]
        for method, function in methods.items():
            _method(client, account, (api, resource, path, method), function and functions[function])
    gateway.create_deployment(restApiId=api, stageName="prod")
    key = gateway.create_api_key(name="StudentApiKey", enabled=True)["id"]
    plan = gateway.create_usage_plan(name="StudentUsagePlan", apiStages=[{"apiId": api, "stage": "prod"}])["id"]
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")


def _method(client: Client, account: str, where: tuple[str, str, str, str], function: str | None) -> None:
    api, resource, path, method = where
    gateway, of_method = client("apigateway"), {"restApiId": api, "resourceId": resource, "httpMethod": method}
    gateway.put_method(**of_method, authorizationType="NONE", apiKeyRequired=function is not None)
    if function is None:
        gateway.put_integration(**of_method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
        gateway.put_method_response(**of_method, statusCode="200")
        gateway.put_integration_response(**of_method, statusCode="200")
        return
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
    gateway.put_integration(**of_method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    client("lambda").add_permission(
        FunctionName=function,
        StatementId=f"console-{path}-{method}",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{REGION}:{account}:{api}/*/{method}/{path}",
    )


def _distribution(client: Client) -> None:
    """With everything that the console's form sends, as the provider reads it back."""
    methods = {"Quantity": 2, "Items": ["GET", "HEAD"]}
    nothing = {"Quantity": 0}
    origin = {
        "Id": SITE,
        "DomainName": f"{SITE}.s3.{REGION}.amazonaws.com",
        "OriginPath": "",
        "CustomHeaders": nothing,
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    behavior = {
        "TargetOriginId": SITE,
        "ViewerProtocolPolicy": "redirect-to-https",
        "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        "AllowedMethods": {**methods, "CachedMethods": methods},
        "Compress": True,
        "SmoothStreaming": False,
        "TrustedSigners": {"Enabled": False, **nothing},
        "TrustedKeyGroups": {"Enabled": False, **nothing},
        "LambdaFunctionAssociations": nothing,
        "FunctionAssociations": nothing,
        "FieldLevelEncryptionId": "",
    }
    configuration = {
        "CallerReference": SITE,
        "Comment": "",
        "Enabled": True,
        "Aliases": nothing,
        "DefaultRootObject": "index.html",
        "Origins": {"Quantity": 1, "Items": [origin]},
        "OriginGroups": nothing,
        "DefaultCacheBehavior": behavior,
        "CacheBehaviors": nothing,
        "CustomErrorResponses": nothing,
        "Logging": {"Enabled": False, "IncludeCookies": False, "Bucket": "", "Prefix": ""},
        "PriceClass": "PriceClass_All",
        "ViewerCertificate": {"CloudFrontDefaultCertificate": True, "MinimumProtocolVersion": "TLSv1"},
        "Restrictions": {"GeoRestriction": {"RestrictionType": "none", **nothing}},
        "WebACLId": "",
        "HttpVersion": "http2",
        "IsIPV6Enabled": True,
    }
    tags = {"Items": [{"Key": "Name", "Value": "StudentWebsiteDistribution"}]}
    client("cloudfront").create_distribution_with_tags(
        DistributionConfigWithTags={"DistributionConfig": configuration, "Tags": tags}
    )
