"""What each role may do, by whom it may be taken, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra.settings import Settings
from tests.synth.values.names import Names, functions, scheduled
from tests.synth.values.requests import OTHER_ACCOUNT, Grant, Request, allows, of_roles, trusts, wrong_of_role
from tests.synth.values.view import ACCOUNT, View, check, differs

_LAMBDA, _SCHEDULER = "lambda.amazonaws.com", "scheduler.amazonaws.com"
_DESCRIBE = tuple(
    f"dynamodb:{action}"
    for action in ("DescribeContinuousBackups", "DescribeTable", "DescribeTimeToLive", "ListTagsOfResource")
)
# IAM User Guide and each service's guide: what AWS writes for its own services' roles.
_MANAGED = "arn:aws:iam::aws:policy/service-role/"


def grants(s: Settings) -> dict[str, tuple[Grant, ...]]:
    """Return what each role may do, by the role's name."""
    n, b = Names(s), s.backups
    prefixes = tuple(f"{n.store}/{plan.key_prefix}*" for plan in s.backed_up_tables)
    sender = {"ses:fromaddress": s.mail.sender}
    identities = tuple(n.arn("ses", f"identity/{address}") for address in (s.mail.sender, s.mail.recipient))
    fleet = tuple(n.table(plan.table_name) for plan in s.backed_up_tables[1:])
    drilled = tuple(f"{table}-{s.drills.scratch_suffix}-*" for table in (n.records, *fleet))
    keys = tuple(sorted({table.kms_key_arn for table in b.tables if table.kms_key_arn}))
    through_dynamodb = {"kms:viaservice": f"dynamodb.{s.region}.amazonaws.com"}
    read_fleet = Grant("read with the tables' keys", ("kms:Decrypt", "kms:DescribeKey"), keys, through_dynamodb)
    encrypt_scratch = Grant(
        "encrypt scratch tables",
        (
            *("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"),
            *("kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
        ),
        keys,
        through_dynamodb,
    )
    restored = f"{n.records}-{s.restores.restored_suffix}-*"
    tags = ("s3:PutObjectTagging",) if any(plan.options.tags for plan in s.backed_up_tables) else ()

    look_at_exports = Grant(
        "look at exports",
        ("dynamodb:DescribeExport",),
        tuple(f"{table}/export/*" for table in (n.records, *fleet)),
    )
    mail = Grant("send mail", ("ses:SendEmail",), identities, sender)
    bus = Grant("report on the bus", ("events:PutEvents",), (n.bus,))
    history = Grant("keep the history", ("dynamodb:GetItem", "dynamodb:UpdateItem"), (n.history,))
    proof = Grant("read what the history records", ("dynamodb:GetItem", "dynamodb:Scan"), (n.history,))
    list_backups = Grant("list backups", ("s3:ListBucket",), (n.store,))
    read_backups = Grant("read backups", ("s3:GetObject", "s3:GetObjectVersion"), prefixes)
    write_backups = Grant("write backups", ("s3:AbortMultipartUpload", "s3:PutObject", *tags), prefixes)
    alert = Grant("alert", ("sns:Publish",), (n.topic,))
    reporting = (mail, bus, history, list_backups, read_backups)
    scan = Grant("read the records", ("dynamodb:Scan",), (n.records,))

    of_functions: dict[str, tuple[Grant, ...]] = {
        s.functions.get_name: (scan,),
        s.functions.insert_name: (Grant("save a record", ("dynamodb:UpdateItem",), (n.records,)), bus, mail),
        b.function_name: (
            *reporting,
            write_backups,
            Grant("back tables up", (*_DESCRIBE, "dynamodb:Scan"), (n.records, *fleet)),
            *((read_fleet,) if keys else ()),
            Grant("start exports", ("dynamodb:ExportTableToPointInTime",), (n.records, *fleet)),
            look_at_exports,
        ),
        b.finish_function_name: (*reporting, write_backups, look_at_exports),
        s.checks.function_name: (*reporting, proof),
        s.restores.verify_function_name: (
            list_backups,
            read_backups,
            proof,
            Grant("compare with the table", ("dynamodb:DescribeTable", "dynamodb:Scan"), (n.records,)),
        ),
        s.restores.restore_function_name: (
            list_backups,
            read_backups,
            history,
            proof,
            bus,
            Grant(
                "restore into the table",
                tuple(
                    f"dynamodb:{action}"
                    for action in ("DeleteItem", "DescribeTable", "GetItem", "PutItem", "Scan", "UpdateItem")
                ),
                (n.records,),
            ),
            Grant(
                "recognize the AWS managed key",
                ("kms:DescribeKey",),
                (n.arn("kms", "key/*"),),
                {"kms:requestalias": "alias/aws/dynamodb"},
            ),
            Grant(
                "restore into a new table",
                tuple(
                    f"dynamodb:{action}"
                    for action in (
                        "BatchWriteItem",
                        "CreateTable",
                        "DescribeTable",
                        "DescribeTimeToLive",
                        "PutItem",
                        "Scan",
                        "TagResource",
                        "UpdateContinuousBackups",
                        "UpdateTable",
                        "UpdateTimeToLive",
                    )
                ),
                (restored,),
            ),
        ),
        s.drills.function_name: (
            *reporting,
            proof,
            Grant(
                "fill a scratch table",
                tuple(
                    f"dynamodb:{action}"
                    for action in ("BatchWriteItem", "CreateTable", "DeleteTable", "DescribeTable", "Scan")
                ),
                drilled,
            ),
            *((encrypt_scratch,) if keys else ()),
        ),
        s.signups.function_name: (
            Grant("send mail", ("ses:SendEmail",), identities[:1], sender),
            Grant(
                "welcome once",
                ("dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
                (n.table(s.signups.idempotency_table_name),),
            ),
        ),
        s.audit.function_name: (alert,),
        s.weekly_report.function_name: (mail, list_backups, *_report(s, n)),
    }
    if destination := s.snapshots.destination_region:
        of_functions[s.snapshots.function_name] = (alert, *_snapshots(s, n, destination))
    retained = [plan for plan in s.backed_up_tables if plan.options.retention]
    if retained:
        objects = tuple(f"{n.store}/{plan.key_prefix}*" for plan in retained)
        of_functions[b.retention_function_name] = (
            list_backups,
            read_backups,
            history,
            Grant("read the whole history", ("dynamodb:Scan",), (n.history,)),
            Grant("mark backups", ("s3:GetObjectTagging", "s3:PutObjectTagging"), objects),
        )
    if s.vault.restore_testing.enabled:
        of_functions[s.vault.restore_testing.function_name] = (
            list_backups,
            read_backups,
            Grant("answer AWS Backup", ("backup:DescribeRestoreJob", "backup:PutRestoreValidationResult"), ("*",)),
            Grant(
                "compare what was restored",
                (*_DESCRIBE, "dynamodb:Scan"),
                (n.records, n.table("awsbackup-restore-test-*")),
            ),
        )
    found = {}
    for function in functions(s).values():
        log = f"{n.log_group(f'/aws/lambda/{function.name}')}:*"
        own = [Grant("write its log", ("logs:CreateLogStream", "logs:PutLogEvents"), (log,))]
        if function.queue:
            own.append(Grant("keep dead letters", ("sqs:SendMessage",), (n.queue(function.queue),)))
        found[function.role] = (*of_functions[function.name], *own)
    for called, role, _ in set(scheduled(s).values()):
        found[role] = (Grant("start its function", ("lambda:InvokeFunction",), (n.function(called),)),)
    if any(plan.options.replicate_to for plan in s.backed_up_tables):
        found[b.replication_role_name] = _replication(s, n)
    return found


def _report(s: Settings, n: Names) -> Iterator[Grant]:
    yield Grant("read the history", ("dynamodb:Scan",), (n.history,))
    tables = tuple(n.table(plan.table_name) for plan in s.backed_up_tables)
    yield Grant("say how large tables are", ("dynamodb:DescribeTable",), tables)
    schedules = (
        n.arn("scheduler", f"schedule/{s.backups.schedule_group}/{p.schedule_name}") for p in s.backed_up_tables
    )
    yield Grant("say whether schedules are on", ("scheduler:GetSchedule",), tuple(schedules))
    vault = n.arn("backup", f"backup-vault:{s.vault.vault_name}")
    yield Grant("read the vault", ("backup:ListRecoveryPointsByBackupVault",), (vault,))
    yield Grant("read plans", ("backup:GetBackupPlan",), (n.arn("backup", "backup-plan:*"),))
    yield Grant("read jobs", ("backup:ListBackupJobs", "backup:ListBackupPlans", "backup:ListCopyJobs"), ("*",))


def _snapshots(s: Settings, n: Names, destination: str) -> Iterator[Grant]:
    kinds, prefix = ("snapshot", "cluster-snapshot"), s.snapshots.copy_prefix
    here = tuple(n.arn("rds", f"{kind}:*") for kind in kinds)
    there = tuple(n.arn("rds", f"{kind}:*", destination) for kind in kinds)
    ours = tuple(n.arn("rds", f"{kind}:{prefix}-*", destination) for kind in kinds)
    copy = ("rds:CopyDBClusterSnapshot", "rds:CopyDBSnapshot")
    yield Grant("copy from here", copy, here)
    yield Grant("copy to there", ("rds:AddTagsToResource", *copy), ours)
    yield Grant("see snapshots", ("rds:DescribeDBClusterSnapshots", "rds:DescribeDBSnapshots"), here + there)
    yield Grant(
        "delete its own old copies",
        ("rds:DeleteDBClusterSnapshot", "rds:DeleteDBSnapshot"),
        ours,
        {"aws:resourcetag/rollbook:copied-by": s.snapshots.function_name},
    )
    key = (f"arn:aws_kms_key:{destination}:Copies of database snapshots",)
    yield Grant("see its key", ("kms:DescribeKey",), key)
    yield Grant("encrypt copies", ("kms:CreateGrant",), key, {"kms:grantisforawsresource": "true"})


def _replication(s: Settings, n: Names) -> tuple[Grant, ...]:
    """S3 User Guide, "Setting up permissions for live replication"."""
    plans = [plan for plan in s.backed_up_tables if plan.options.replicate_to]
    objects = tuple(f"{n.store}/{plan.key_prefix}*" for plan in plans)
    copies = tuple({f"arn:aws:s3:::{s.replica_bucket_name(str(plan.options.replicate_to))}/*" for plan in plans})
    return (
        Grant("read the rules", ("s3:GetReplicationConfiguration", "s3:ListBucket"), (n.store,)),
        Grant(
            "read what is new",
            ("s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"),
            objects,
        ),
        Grant("write copies", ("s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"), copies),
    )


@check
def each_role_may_do_what_it_needs_and_nothing_else(view: View) -> Iterator[str]:
    held, wanted = of_roles(view), grants(view.settings)
    yield from differs("the roles with policies", sorted(held), sorted(wanted))
    universe = tuple(sorted({grant for each in wanted.values() for grant in each}, key=repr))
    for role in held.keys() & wanted.keys():
        for fault in wrong_of_role(held[role], wanted[role], universe):
            yield f"{role}: {fault}"


@check
def the_retention_sets_no_other_tag(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    retained = [plan for plan in s.backed_up_tables if plan.options.retention]
    held = of_roles(view).get(f"{s.backups.retention_function_name}Role", ())
    yield from differs("whether there is a retention", bool(held), bool(retained))
    carried = sorted({name for plan in retained for name in plan.options.tags})
    for plan in retained:
        for tags, should in (
            ({"rollbook-expired": "yes"}, True),
            ({"rollbook-pinned": "yes"}, True),
            *(({name: "any"}, True) for name in carried),
            ({"rollbook-expired": "no"}, False),
            ({"rollbook-pinned": "no"}, False),
            ({"other": "yes"}, False),
        ):
            [(name, value)] = tags.items()
            context = (("s3:requestobjecttagkeys", name), (f"s3:requestobjecttag/{name}", value))
            request = Request("s3:PutObjectTagging", f"{n.store}/{plan.key_prefix}example", context=context)
            if allows(held, request) is not should:
                yield f"{'refused' if should else 'allowed'}: {request}"


@check
def each_role_is_taken_by_its_service_alone(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    group = n.arn("scheduler", f"schedule-group/{s.backups.schedule_group}")
    account = {"aws:sourceaccount": ACCOUNT}
    wanted: dict[str, tuple[str, Mapping[str, str]]] = {each.role: (_LAMBDA, {}) for each in functions(s).values()}
    wanted |= {role: (_SCHEDULER, account | {"aws:sourcearn": group}) for _, role, _ in scheduled(s).values()}
    wanted[f"{s.api.name}-api-log"] = ("apigateway.amazonaws.com", {})
    if s.vault.enabled:
        wanted[s.vault.role_name] = ("backup.amazonaws.com", account)
    if any(plan.options.replicate_to for plan in s.backed_up_tables):
        wanted[s.backups.replication_role_name] = ("s3.amazonaws.com", account)
    roles = view.by("aws_iam_role", "name")
    yield from differs("the roles", sorted(roles), sorted(wanted))
    for name, (service, context) in wanted.items():
        policy, arn = roles[name]["assume_role_policy"], n.role(name)

        def request(by: str, given: Mapping[str, str], arn: str = arn) -> Request:
            return Request("sts:AssumeRole", arn, by, tuple(sorted(given.items())))

        if not trusts(policy, request(service, context)):
            yield f"{name} cannot be taken by {service}"
        if trusts(policy, request("ec2.amazonaws.com", context)):
            yield f"{name} can be taken by another service"
        if trusts(policy, request(f"arn:aws:iam::{OTHER_ACCOUNT}:root", context)):
            yield f"{name} can be taken by another account"
        for key in context:
            # S3 documents no condition key for the replication role's trust (issue 13, part 2, item 10).
            if service != "s3.amazonaws.com" and trusts(policy, request(service, {**context, key: OTHER_ACCOUNT})):
                yield f"{name} can be taken with another {key}"
        yield from differs(f"{name}'s longest session", roles[name].get("max_session_duration", 3600), 3600)


@check
def aws_own_policies_are_attached_where_its_services_need_them(view: View) -> Iterator[str]:
    s = view.settings
    wanted = {(f"{s.api.name}-api-log", f"{_MANAGED}AmazonAPIGatewayPushToCloudWatchLogs")}
    if s.vault.enabled:
        for what in ("Backup", "Restores"):
            wanted.add((s.vault.role_name, f"{_MANAGED}AWSBackupServiceRolePolicyFor{what}"))
    found = {(each["role"], each["policy_arn"]) for each in view.all("aws_iam_role_policy_attachment").values()}
    yield from differs("the attached policies", sorted(found), sorted(wanted))
