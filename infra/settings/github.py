"""The settings of the GitHub workflows' access to the account."""

from __future__ import annotations

from pydantic import Field

from infra.settings.fields import RoleName, Section


class GitHub(Section):
    """Access for GitHub workflows to plan and deploy an environment, without stored keys."""

    repository: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$",
        description="`owner/name`; adds the stack `<environment>-github`. Leave out for none.",
    )
    branch: str = Field("main", pattern=r"^[A-Za-z0-9._/-]+$", description="Branch whose nightly run checks for drift.")
    environment: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="GitHub environment whose approval a deploy needs; by default that of the file's name.",
    )
    plan_role_name: RoleName = Field("RollbookPlan", description="Role that reads the configuration, never a record.")
    deploy_role_name: RoleName = Field("RollbookDeploy", description="Role that applies an approved plan.")
    provider_exists: bool = Field(
        False, description="The account has GitHub's OIDC provider already. It can have only one."
    )
