"""The settings of the records, functions, API, site and mail."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from infra.settings.fields import BucketName, Email, FunctionName, RetentionDays, Section, TableName


class Records(Section):
    """The table of student records."""

    table_name: TableName = Field(description="DynamoDB table (3 to 255 characters).")
    deletion_protection: bool = Field(True, description="Makes DynamoDB refuse to delete the table.")
    backup_tag: str = Field("daily", description="Value of the table's tag `backup`, by which AWS Backup selects it.")


class Functions(Section):
    """Settings of all functions, and of the two functions of the API."""

    runtime: Literal["python3.11", "python3.12", "python3.13"] = Field("python3.13", description="Lambda runtime.")
    architecture: Literal["arm64", "x86_64"] = Field("arm64", description="arm64 costs a fifth less per GB-second.")
    log_retention_days: RetentionDays = Field(30, description="Days for which CloudWatch keeps a function's log.")
    get_name: FunctionName = Field(description="Function behind `GET /students`.")
    insert_name: FunctionName = Field(description="Function behind `POST /students`.")
    memory_mb: int = Field(256, ge=128, le=10240, description="Memory of both, MB (Lambda: 128 to 10,240).")
    timeout_seconds: int = Field(
        15, ge=1, le=29, description="Time limit of both, seconds (API Gateway waits up to 29)."
    )
    reserved_concurrency: int = Field(
        -1, ge=-1, le=1000, description="Concurrent executions reserved for each; -1 for none."
    )


class Api(Section):
    """The REST API."""

    # The names of a role (at most 64 characters) and of a log group contain it (IAM API reference, CreateRole;
    # CloudWatch Logs API reference, CreateLogGroup).
    name: str = Field(
        "student", pattern=r"^[A-Za-z0-9_.-]{1,56}$", description="Name of the REST API (up to 56 characters)."
    )
    stage: str = Field("prod", pattern=r"^[A-Za-z0-9_-]{1,128}$", description="Stage that the site uses.")
    key_name: str = Field("StudentApiKey", min_length=1, description="Name of the API key that CloudFront adds.")
    usage_plan_name: str = Field("StudentUsagePlan", min_length=1, description="Name of the usage plan.")
    rate_limit: float = Field(50, gt=0, le=10_000, description="Requests a second that the key may make on average.")
    burst_limit: int = Field(100, ge=1, le=5_000, description="Requests that may exceed the rate at once.")
    quota_per_day: int = Field(100_000, ge=1, description="Requests a day that the key may make.")
    max_body_bytes: int = Field(
        262_144,
        ge=1_024,
        le=400_000,
        description="Maximum size of the body of `POST /students`, bytes (DynamoDB item: 400 KB).",
    )
    log_retention_days: RetentionDays = Field(30, description="Days for which the access log keeps an entry.")
    manage_account_log_role: bool = Field(
        True,
        description="Set the role that API Gateway uses to write logs. Account and Region have only one: set `false` "
        "if another stack sets it.",
    )


class Site(Section):
    """The website and its CloudFront distribution."""

    bucket_name: BucketName = Field(description="Bucket of the site's files.")
    distribution_name: str = Field(
        "StudentWebsiteDistribution", min_length=1, description="Comment and tag `Name` of the distribution."
    )
    price_class: Literal["PriceClass_100", "PriceClass_200", "PriceClass_All"] = Field(
        "PriceClass_200", description="CloudFront edge locations that serve the site."
    )
    domain_name: str | None = Field(None, description="Your own domain name; needs `certificate_arn`.")
    certificate_arn: str | None = Field(
        None, pattern=r"^arn:aws:acm:us-east-1:\d{12}:certificate/.+$", description="ACM certificate in us-east-1."
    )

    @model_validator(mode="after")
    def _domain_needs_certificate(self) -> Self:
        if (self.domain_name is None) != (self.certificate_arn is None):
            raise ValueError("domain_name and certificate_arn need each other; set both or none")
        return self


class Mail(Section):
    """Mail through SES."""

    sender: Email = Field(description="Sender of all mail; its owner must confirm it in SES.")
    recipient: Email = Field(
        description="Recipient of notifications; must be confirmed, too, while SES is in its sandbox."
    )
    on_save: bool = Field(True, description="Mail the recipient when a student record is saved.")
