from __future__ import annotations

from pathlib import Path

import pytest

from infra.settings import ENVIRONMENTS, SettingsError, load, load_all

HOW = ("daily", "daily", "weekly", "hourly")
WORKSHOP = (ENVIRONMENTS / "workshop.toml").read_text()


def load_changed(tmp_path: Path, old: str, new: str) -> str:
    assert old in WORKSHOP
    path = tmp_path / "changed.toml"
    path.write_text(WORKSHOP.replace(old, new))
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


def rule(text: str, fault: str) -> tuple[str, str, str]:
    return "[records]", f"[[vault.rules]]\n{text}\n[records]", fault


def table(text: str, fault: str) -> tuple[str, str, str]:
    return "[records]", f'[[backups.tables]]\ntable_name = "other"\n{text}\n[records]', fault


def test_tables_of_a_frequency_are_spread(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(
        WORKSHOP
        + "".join(f'[[backups.tables]]\ntable_name = "t-{n}"\nfrequency = "{how}"\n' for n, how in enumerate(HOW))
    )
    plans = load(path).backed_up_tables[1:]
    assert [plan.expression for plan in plans] == [
        "cron(0 0 * * ? *)",
        "cron(15 0 * * ? *)",
        "cron(30 0 ? * SUN *)",
        "cron(45 * * * ? *)",
    ]
    assert [plan.key_prefix for plan in plans] == ["t-0/", "t-1/", "t-2/", "t-3/"]


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
        ("[records]", '[github]\nrepository = "a/b"\n[records]', "name a bucket in [state]"),
        ("[records]", '[github]\nrepository = "a"\n[records]', "github.repository = 'a'"),
        ("Asia/Ho_Chi_Minh", "Asia/Hanoi", "no such IANA time zone"),
        ("admin@studentapp.com", "admin", "mail.recipient = 'admin'"),
        ('table_name = "studentData"', "", "records.table_name: is missing; It is: DynamoDB table"),
        ('sender = "no-reply@studentapp.com"', "sender = 5", "mail.sender = 5"),
        ("flexible_window_minutes = 5", "expire_after_days = 90", "expire_after_days = 90 must be more than glacier"),
        (
            "flexible_window_minutes = 5",
            "glacier_after_days = 45",
            "by 30 or more (S3's minimum)",
        ),
        ('distribution_name = "StudentWebsiteDistribution"', 'domain_name = "a.b"', "need each other"),
        ("[records]", 'name = "other"\n[records]', "the file's name is the environment's name"),
        ("[records]", "[records", "is not TOML"),
        rule(
            "cold_storage_after_days = 30\ndelete_after_days = 119",
            "= 119 must exceed cold_storage_after",
        ),
        rule('copies = [{ region = "us-east-1", cold_storage_after_days = 1, delete_after_days = 90 }]', "90 or more"),
        rule('copies = [{ region = "us-east-1" }]', "is the vault's own Region"),
        rule(
            'frequency = "hourly"\nstart_window_minutes = 61\ncompletion_window_minutes = 200',
            "is longer than the 1:00",
        ),
        rule("completion_window_minutes = 119", "greater than or equal to 120"),
        rule("start_window_minutes = 61", "must exceed start_window_minutes = 61 by 60 or more"),
        rule('schedule_expression = "cron(0/30 * ? * * *)"', "AWS Backup runs a rule once an hour at most"),
        rule('schedule_expression = "rate(1 day)"', "AWS Backup accepts only cron"),
        rule('schedule_expression = "cron(0 5 * * *)"', "has 5 fields"),
        rule('schedule_expression = "cron(0 5 * * * *)"', "exactly one of day-of-month and day-of-week must be ?"),
        rule('time_zone = "Asia/Hanoi"', "no such IANA time zone"),
        rule('frequency = "daily"\nschedule_expression = "cron(0 5 ? * * *)"', "exclude each other"),
        rule("continuous = true\ndelete_after_days = 36", "needs delete_after_days from 1 to 35"),
        rule('name = "x"\n[[vault.rules]]\nname = "x"', "two rules have the name x"),
        rule('[vault.lock]\nmode = "compliance"', 'set lock.confirm_compliance = "StudentBackupVault"'),
        rule("[vault.lock]\nmin_retention_days = 40", "every job would fail"),
        rule("[vault.lock]\nmin_retention_days = 9\nmax_retention_days = 8", "is less than min_retention_days"),
        rule("[[vault.selections]]\nname = 'x'", "selects nothing"),
        rule('[vault.restore_testing]\nplan_name = "with-a-dash"', "vault.restore_testing.plan_name = 'with-a-dash'"),
        (
            "[records]",
            "[weekly_report]\nenabled = false\n[records]",
            "the schedule of the drill of studentData: with cron(0 3 ? * SUN *), the alarm fires after 7 days, 3:15:00",
        ),
        ("cron(0 0 * * ? *)", "rate(30 seconds)", "write a number above 0 and a unit: rate(5 minutes)"),
        table("", "give either frequency or schedule_expression"),
        table('frequency = "daily"\nschedule_expression = "rate(1 day)"', "give either frequency or"),
        table(
            'frequency = "daily"\nkey_prefix = "students-backup-2"', "begins with 'students-backup-' of another table"
        ),
        table('frequency = "daily"\nreplicate_to = "us-east-1"', "is the Region of the backups"),
        table('frequency = "daily"\nengine = "export"', 'set format = "dynamodb-export", too'),
        table(
            'frequency = "daily"\nschedule_name = "DailyDynamoDBBackup"',
            "have the schedule DailyDynamoDBBackup",
        ),
        table('schedule_expression = "at(2100-01-01T00:00:00)"', "fires once at most"),
        ("[records]", "[vault]\nrules = []\n[records]", "rules is empty, so nothing would be backed up"),
        ("[records]", "[vault]\nselections = []\n[records]", "selections is empty"),
        ("[records]", "[vault.region_opt_in]\nDynamoDB = false\n[records]", "the records would not be backed up"),
        ("[records]", '[records]\nbackup_tag = "weekly"', "none selects the tag backup = 'weekly'"),
        rule('[[vault.selections]]\nany_tags = { backup = "daily" }\nnot_resources = ["*"]', "excludes everything"),
        rule('schedule_expression = "cron(0 5 ? * * 2025)"', "will never fire again"),
        ("cron(0 0 * * ? *)", "cron(0 0 * * ? 2025)", "will never fire again"),
        ("student-backup-20250706", "student-management-website-2025", "are the same bucket"),
        ("flexible_window_minutes = 5", 'history_table_name = "studentData"', "are the same table"),
        ("flexible_window_minutes = 5", "history_days = 10", "the history must be kept for twice that time"),
        ("flexible_window_minutes = 5", "reserved_concurrency = 0", "prevents the function from running"),
        ('region = "us-east-1"', 'region = "cn-north-1"', "are not supported"),
        ("[records]", "[vault]\naudit_manager = true\n[records]", "set aws_config_records = true"),
        rule('[[vault.selections]]\nresources = ["arn:aws:s3:::b"]', "set s3_buckets = true"),
        table('schedule_expression = "rate(5 minutes)"', "flexible_window_minutes = 5 is not shorter than the 0:05:00"),
        ("[records]", '[snapshots]\ndestination_region = "us-east-1"\n[records]', "is the databases' own Region"),
        table(
            'frequency = "daily"\nkms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1"', "is not a key in us-east-1"
        ),
        # Names that others are made of: AWS refuses the longer ones in the middle of an apply.
        ("[records]", f'[events]\nbus_name = "{"x" * 49}"\n[records]', "events.bus_name = 'xxx"),
        ("[records]", '[events]\nbus_name = "a/b"\n[records]', "events.bus_name = 'a/b'"),
        ("[records]", '[events]\nbus_name = "default"\n[records]', "is the bus that every account has"),
        ('"getStudentData"', f'"{"x" * 61}"', "functions.get_name = 'xxx"),
        ('name = "student"', 'name = "a student"', "api.name = 'a student'"),
        ('name = "student"', f'name = "{"x" * 57}"', "api.name = 'xxx"),
        ("flexible_window_minutes = 5", f'dead_letter_queue_name = "{"x" * 73}"', "backups.dead_letter_queue_name"),
    ],
)
def test_a_bad_setting_is_named_with_its_reason(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert fault in load_changed(tmp_path, old, new)


def test_the_bucket_of_the_audit_managers_reports_has_a_name_that_s3_takes(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    text = WORKSHOP.replace("student-backup-20250706", "x" * 56) + '[audit]\nbucket_name = "short"\n'
    path.write_text(text)
    load(path)
    path.write_text(text + "[vault]\naudit_manager = true\naws_config_records = true\n")
    with pytest.raises(SettingsError, match=r"x-reports', is longer than S3's 63"):
        load(path)


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
        settings.region = "eu-west-1"  # type: ignore[misc]


def test_a_storage_class_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "never.toml"
    never = "infrequent_access_after_days = 0\nglacier_after_days = 0\nexpire_after_days = 60"
    path.write_text(WORKSHOP.replace("flexible_window_minutes = 5", never))
    backups = load(path).backups
    assert (backups.infrequent_access_after_days, backups.glacier_after_days) == (None, None)
    [table] = load(path).reported_tables
    assert table.days == {"STANDARD": 60}
