"""Settings of the whole account and Region: API Gateway's role, AWS Backup's opt-ins, Config, linked roles."""

from __future__ import annotations

from collections.abc import Iterator

from ops.preflight.account import Account
from ops.preflight.point import Point, later, look, ok

_REPORTS_ROLE = "AWSServiceRoleForBackupReports"


def api_log_role(account: Account) -> Iterator[Point]:
    """Which role writes the logs of API Gateway? An account has one in each Region (API Reference, GetAccount)."""
    set_to = str(account.aws("apigateway").get_account().get("cloudwatchRoleArn") or "")
    managed = account.resources("aws_api_gateway_account")
    if not managed:
        if set_to:
            yield ok("API log role", f"{set_to}, set by another stack, as configured")
        else:
            yield look(
                "API log role",
                "not set, and api.manage_account_log_role = false: API Gateway refuses a stage with logs",
                "set it with the other stack, or set api.manage_account_log_role = true",
            )
        return
    ours = account.role_name(str(managed[0]["cloudwatch_role_arn"]))
    if not set_to:
        yield later("API log role", f"the apply sets it to {ours}")
    elif set_to.rpartition("/")[2] == ours:
        yield ok("API log role", f"{ours}, of this stack")
    else:
        yield look(
            "API log role",
            f"{set_to} is set by another stack, and the apply would replace it for the whole account",
            "set api.manage_account_log_role = false",
        )


def backup_opt_in(account: Account) -> Iterator[Point]:
    """Does AWS Backup back up DynamoDB in this Region, with the copies and the cold storage of the rules?

    Source: AWS Backup Developer Guide, "Getting started 1: Service Opt-in" and "Advanced DynamoDB backup".
    """
    vault = account.settings.vault
    if not vault.enabled:
        return
    found = account.aws("backup").describe_region_settings()
    opted, managed = found["ResourceTypeOptInPreference"], found.get("ResourceTypeManagementPreference", {})
    if vault.region_opt_in:
        extra, missing = sorted(set(vault.region_opt_in) - set(opted)), sorted(set(opted) - set(vault.region_opt_in))
        if extra or missing:
            parts = [f"the Region has no {', '.join(extra)}"] if extra else []
            parts += [f"the settings leave out {', '.join(missing)}"] if missing else []
            yield look(
                "Backup opt-in",
                "vault.region_opt_in differs from the Region's list: " + "; ".join(parts),
                f"aws backup describe-region-settings --region {account.settings.region} lists them",
            )
            return
        opted, managed = opted | vault.region_opt_in, managed | vault.region_management
    needs_features = any(
        rule.copies or rule.cold_storage_after_days or any(copy.cold_storage_after_days for copy in rule.copies)
        for rule in vault.rules
    )
    update = f"aws backup update-region-settings --region {account.settings.region}"
    if not opted.get("DynamoDB"):
        yield look(
            "Backup opt-in",
            "DynamoDB is off: a plan that selects tables by tag backs up none of them",
            f"{update} --resource-type-opt-in-preference DynamoDB=true",
        )
    elif needs_features and not managed.get("DynamoDB"):
        yield look(
            "Backup opt-in",
            "the advanced features for DynamoDB are off, and rules of [vault] need them: those jobs fail",
            f"{update} --resource-type-management-preference DynamoDB=true",
        )
    else:
        yield ok("Backup opt-in", "DynamoDB is on" + (", with advanced features" if needs_features else ""))


def config_records(account: Account) -> Iterator[Point]:
    """Does AWS Config record? Without it the framework of Backup Audit Manager ends FAILED.

    Source: AWS Backup Developer Guide, "Turning on resource tracking".
    """
    if not (account.settings.vault.enabled and account.settings.vault.audit_manager):
        return
    recorders = account.aws("config").describe_configuration_recorder_status()["ConfigurationRecordersStatus"]
    running = [each["name"] for each in recorders if each["recording"]]
    failing = [each["name"] for each in recorders if str(each.get("lastStatus", "")).upper() == "FAILURE"]
    if failing:
        yield look("AWS Config", f"{', '.join(failing)} fails to record", "AWS Config console, Settings")
    elif running:
        yield ok("AWS Config", f"{', '.join(running)} records")
    else:
        stopped = ", ".join(each["name"] for each in recorders)
        yield look(
            "AWS Config",
            f"the recorder {stopped} is stopped" if stopped else "there is no recorder in this Region",
            "AWS Config console, Settings; or remove vault.audit_manager and vault.aws_config_records",
        )


def reports_role(account: Account) -> Iterator[Point]:
    """Does the role in the policy of the reports bucket exist? S3 refuses a policy with an unknown principal."""
    if not (account.settings.vault.enabled and account.settings.vault.audit_manager):
        return
    iam = account.aws("iam")
    try:
        iam.get_role(RoleName=_REPORTS_ROLE)
    except iam.exceptions.NoSuchEntityException:
        yield look(
            "service-linked role",
            f"{_REPORTS_ROLE} is missing, and S3 refuses the policy of the reports bucket without it",
            "aws iam create-service-linked-role --aws-service-name reports.backup.amazonaws.com",
        )
    else:
        yield ok("service-linked role", f"{_REPORTS_ROLE} exists")
