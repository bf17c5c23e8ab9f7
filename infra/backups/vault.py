"""AWS Backup: the vault, the plan, the selections, and copies to other Regions."""

from __future__ import annotations

from cdktf import TerraformProvider
from cdktf_cdktf_provider_aws.backup_plan import (
    BackupPlan,
    BackupPlanRule,
    BackupPlanRuleCopyAction,
    BackupPlanRuleCopyActionLifecycle,
    BackupPlanRuleLifecycle,
)
from cdktf_cdktf_provider_aws.backup_region_settings import BackupRegionSettings
from cdktf_cdktf_provider_aws.backup_selection import (
    BackupSelection,
    BackupSelectionCondition,
    BackupSelectionConditionStringEquals,
    BackupSelectionSelectionTag,
)
from cdktf_cdktf_provider_aws.backup_vault import BackupVault
from cdktf_cdktf_provider_aws.backup_vault_lock_configuration import BackupVaultLockConfiguration
from cdktf_cdktf_provider_aws.backup_vault_notifications import BackupVaultNotifications
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy_attachment import IamRolePolicyAttachment
from cdktf_cdktf_provider_aws.kms_key import KmsKey
from constructs import Construct

from infra.backups.audit_manager import audit_manager
from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.observability.alerts import Alerts
from infra.platform import Aws
from infra.settings import vault as models

accept(
    "aws_kms_key",
    {"CKV2_AWS_64": "KMS's default policy lets the account's IAM policies decide and cannot lock the account out"},
)
_AWS_POLICIES = "arn:aws:iam::aws:policy"


class Vault(Construct):
    """The vault and the plan, which backs up all resources of its selections, including those of other stacks."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, alerts: Alerts) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        self._settings = settings
        vault = settings.vault
        self.vault = self._vault("vault", vault.vault_name, None)
        self._lock(vault)
        if vault.notifications:
            BackupVaultNotifications(
                self,
                "notifications",
                backup_vault_name=self.vault.name,
                sns_topic_arn=alerts.topic_arn,
                backup_vault_events=vault.notifications,
            )
        regions = sorted({copy.region for rule in vault.rules for copy in rule.copies})
        copies = {
            region: self._vault(f"vault-{region}", vault.vault_name, platform.provider_of(region)) for region in regions
        }
        plan = BackupPlan(
            self,
            "plan",
            name=vault.plan_name,
            rule=[self._rule(rule, copies) for rule in vault.rules],
        )
        self.role = self._service_role(platform)
        for selection in vault.selections:
            self._select(plan, selection)
        if vault.region_opt_in:
            BackupRegionSettings(
                self,
                "region-settings",
                resource_type_opt_in_preference=vault.region_opt_in,
                resource_type_management_preference=vault.region_management or None,
            )
        if vault.audit_manager:
            audit_manager(self, platform)

    def _vault(self, id_: str, name: str, provider: TerraformProvider | None) -> BackupVault:
        key = None
        if self._settings.vault.customer_key:
            key = KmsKey(
                self,
                f"{id_}-key",
                description=f"Recovery points in {name}",
                enable_key_rotation=True,
                deletion_window_in_days=30,
                provider=provider,
            )
        return BackupVault(
            self,
            id_,
            name=name,
            kms_key_arn=key.arn if key else None,
            force_destroy=self._settings.force_destroy,
            provider=provider,
        )

    def _lock(self, vault: models.Vault) -> None:
        if vault.lock is None:
            return
        BackupVaultLockConfiguration(
            self,
            "lock",
            backup_vault_name=self.vault.name,
            min_retention_days=vault.lock.min_retention_days,
            max_retention_days=vault.lock.max_retention_days,
            # With this value it is a compliance lock, without it a governance lock.
            changeable_for_days=vault.lock.changeable_for_days if vault.lock.mode == "compliance" else None,
        )

    def _rule(self, rule: models.VaultRule, copies: dict[str, BackupVault]) -> BackupPlanRule:
        return BackupPlanRule(
            rule_name=rule.name,
            target_vault_name=self.vault.name,
            schedule=rule.expression,
            schedule_expression_timezone=rule.time_zone,
            start_window=rule.start_window_minutes,
            completion_window=rule.completion_window_minutes,
            enable_continuous_backup=rule.continuous,
            recovery_point_tags=rule.recovery_point_tags or None,
            lifecycle=BackupPlanRuleLifecycle(
                cold_storage_after=rule.cold_storage_after_days, delete_after=rule.delete_after_days
            ),
            copy_action=[
                BackupPlanRuleCopyAction(
                    destination_vault_arn=copies[copy.region].arn,
                    lifecycle=BackupPlanRuleCopyActionLifecycle(
                        cold_storage_after=copy.cold_storage_after_days, delete_after=copy.delete_after_days
                    ),
                )
                for copy in rule.copies
            ],
        )

    def _service_role(self, platform: Aws) -> IamRole:
        role = IamRole(
            self,
            "role",
            name=self._settings.vault.role_name,
            assume_role_policy=policy.trust(
                "backup.amazonaws.com", {"StringEquals": {"aws:SourceAccount": platform.account_id}}
            ),
        )
        for name in ("AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"):
            IamRolePolicyAttachment(self, name, role=role.name, policy_arn=f"{_AWS_POLICIES}/service-role/{name}")
        if self._settings.vault.s3_buckets:
            # The two policies above have no permissions for S3 (AWS Backup Developer Guide, "Amazon S3 backups").
            for name in ("AWSBackupServiceRolePolicyForS3Backup", "AWSBackupServiceRolePolicyForS3Restore"):
                IamRolePolicyAttachment(self, name, role=role.name, policy_arn=f"{_AWS_POLICIES}/{name}")
        return role

    def _select(self, plan: BackupPlan, selection: models.VaultSelection) -> None:
        conditions = [
            BackupSelectionConditionStringEquals(key=f"aws:ResourceTag/{key}", value=value)
            for key, value in sorted(selection.all_tags.items())
        ]
        BackupSelection(
            self,
            f"selection-{selection.name}",
            name=selection.name,
            plan_id=plan.id,
            iam_role_arn=self.role.arn,
            selection_tag=[
                BackupSelectionSelectionTag(type="STRINGEQUALS", key=key, value=value)
                for key, value in sorted(selection.any_tags.items())
            ],
            condition=[BackupSelectionCondition(string_equals=conditions)] if conditions else None,
            resources=selection.resources or (["*"] if conditions else None),
            not_resources=selection.not_resources or None,
        )
