from __future__ import annotations

from pathlib import Path

import pytest

from infra.settings import ENVIRONMENTS, SettingsError, load, load_all

WORKSHOP = (ENVIRONMENTS / "workshop.toml").read_text()


def load_changed(tmp_path: Path, old: str, new: str) -> str:
    assert old in WORKSHOP
    path = tmp_path / "changed.toml"
    path.write_text(WORKSHOP.replace(old, new))
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_the_environments_of_the_project_are_valid() -> None:
    assert [settings.name for settings in load_all()] == ["local", "production", "workshop"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("cron(0 0 * * ? *)", "0 0 * * SUN", "backups.schedule_expression = '0 0 * * SUN'"),
        ("flexible_window_minutes = 5", "flexible_window_minutes = 1440", "is not shorter than the 1 day"),
        ("flexible_window_minutes = 5", "flexible_window = 5", "backups.flexible_window: no such setting"),
        ("student-backup-20250706", "Student_Backup", "backups.bucket_name = 'Student_Backup'"),
        ("student-backup-20250706", "192.168.5.4", "look like an IP address"),
        ("DynamoDBBackupRoleStudent", "a role", "backups.role_name = 'a role'"),
        ("Asia/Ho_Chi_Minh", "Asia/Hanoi", "no such IANA time zone"),
        ("admin@studentapp.com", "admin", "mail.recipient = 'admin'"),
        ('table_name = "studentData"', "", "records.table_name: is missing; It is: DynamoDB table"),
        ('sender = "no-reply@studentapp.com"', "sender = 5", "mail.sender = 5"),
        ("flexible_window_minutes = 5", "expire_after_days = 90", "expire_after_days = 90 must be more than glacier"),
        ("flexible_window_minutes = 5", "glacier_after_days = 45", "30 or more past infrequent_access"),
        ('distribution_name = "StudentWebsiteDistribution"', 'domain_name = "a.b"', "come together"),
        ("[records]", 'name = "other"\n[records]', "the file's name is the environment's name"),
        ("[records]", "[records", "is no TOML"),
    ],
)
def test_a_bad_setting_is_named_with_its_reason(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert fault in load_changed(tmp_path, old, new)


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(WORKSHOP.replace("studentData", "x").replace("DailyDynamoDBBackup", "y" * 65))
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert len(str(refused.value).splitlines()) == 2


def test_a_folder_without_environments_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"copy environments/workshop\.toml"):
        load_all(tmp_path)


def test_settings_cannot_change() -> None:
    settings = load(ENVIRONMENTS / "workshop.toml")
    with pytest.raises(ValueError, match="frozen"):
        settings.region = "us-east-1"  # type: ignore[misc]
