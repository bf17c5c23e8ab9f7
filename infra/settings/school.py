"""The settings of the school's own system: records, functions, API, site, mail."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from infra.settings.fields import BucketName, Email, FunctionName, RetentionDays, Section, TableName


class Records(Section):
    """The table of student records."""

    table_name: TableName = Field(description="DynamoDB table (3 to 255 characters).")
    deletion_protection: bool = Field(True, description="DynamoDB refuses to delete the table while this is on.")
    backup_tag: str = Field("daily", description="Value of the tag `backup`, by which AWS Backup selects the table.")


class Functions(Section):
    """What all functions share, and the two of the API."""

    runtime: Literal["python3.11", "python3.12", "python3.13"] = Field("python3.13", description="Lambda runtime.")
    architecture: Literal["arm64", "x86_64"] = Field("arm64", description="arm64 costs a fifth less per GB-second.")
    log_retention_days: RetentionDays = Field(30, description="Days until CloudWatch drops a function's log events.")
    get_name: FunctionName = Field(description="Function behind `GET /students`.")
    insert_name: FunctionName = Field(description="Function behind `POST /students`.")
    memory_mb: int = Field(256, ge=128, le=10240, description="Memory of the two, MB (Lambda: 128 to 10,240).")
    timeout_seconds: int = Field(
        15, ge=1, le=29, description="Time limit of the two, seconds (API Gateway gives up after 29)."
    )
    reserved_concurrency: int = Field(
        -1, ge=-1, le=1000, description="Executions at once kept for each of the two; -1 takes from the account's pool."
    )


class Api(Section):
    """The REST API."""

    # It is part of the names of a role (64 characters) and of a log group (IAM API reference, CreateRole; CloudWatch
    # Logs API reference, CreateLogGroup).
    name: str = Field(
        "student", pattern=r"^[A-Za-z0-9_.-]{1,56}$", description="Name of the REST API (up to 56 characters)."
    )
    stage: str = Field("prod", pattern=r"^[A-Za-z0-9_-]{1,128}$", description="Stage that the site is served from.")
    key_name: str = Field("StudentApiKey", min_length=1, description="Name of the API key that CloudFront adds.")
    usage_plan_name: str = Field("StudentUsagePlan", min_length=1, description="Name of the usage plan.")
    rate_limit: float = Field(50, gt=0, le=10_000, description="Requests a second that the key may make, sustained.")
    burst_limit: int = Field(100, ge=1, le=5_000, description="Requests at once above the rate.")
    quota_per_day: int = Field(100_000, ge=1, description="Requests a day that the key may make.")
    max_body_bytes: int = Field(
        262_144, ge=1_024, le=400_000, description="Largest body that `POST /students` takes (DynamoDB item: 400 KB)."
    )
    log_retention_days: RetentionDays = Field(30, description="Days until the access log drops an entry.")
    manage_account_log_role: bool = Field(
        True,
        description="Set the role by which API Gateway writes logs. It is one for the whole account and Region: turn "
        "this off where another stack has set it.",
    )


class Site(Section):
    """The website and the CloudFront distribution before it."""

    bucket_name: BucketName = Field(description="Bucket of the site's files.")
    distribution_name: str = Field("StudentWebsiteDistribution", min_length=1, description="Comment and tag Name.")
    price_class: Literal["PriceClass_100", "PriceClass_200", "PriceClass_All"] = Field(
        "PriceClass_200", description="CloudFront edge locations that serve the site."
    )
    domain_name: str | None = Field(None, description="Own domain name; needs `certificate_arn`.")
    certificate_arn: str | None = Field(
        None, pattern=r"^arn:aws:acm:us-east-1:\d{12}:certificate/.+$", description="ACM certificate in us-east-1."
    )

    @model_validator(mode="after")
    def _domain_needs_certificate(self) -> Self:
        if (self.domain_name is None) != (self.certificate_arn is None):
            raise ValueError("domain_name and certificate_arn come together; set both or none")
        return self


class Mail(Section):
    """Mail through SES."""

    sender: Email = Field(description="Address that mail comes from; verified in SES.")
    recipient: Email = Field(description="Address that is told; verified too while SES is in its sandbox.")
    on_save: bool = Field(True, description="Mail the recipient when a student record is saved.")
