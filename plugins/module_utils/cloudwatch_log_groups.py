# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CloudWatch log groups: retention, KMS key, class, deletion protection, tags. None is ever deleted to change it.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os.path import commonprefix
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Exact,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    expanded,
    is_foreign,
    leave_foreign,
    predicted,
    refuse_foreign,
    update,
)

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION_DAYS = [
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
]


CLASSES = ["STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"]


def resource(name: str) -> str:
    return f"log group {name}"


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``log_groups`` with ``*`` replaced by the names of log groups."""

    def find(beginning: str) -> list[str]:
        prefix = {"logGroupNamePrefix": beginning} if beginning else {}
        return [group["logGroupName"] for group in aws.pages("logs", "describe_log_groups", "logGroups", **prefix)]

    return {**params, "log_groups": expanded(params["log_groups"], "name", params, find)}


def describe(aws: Aws, params: Mapping) -> dict[str, dict]:
    """Log groups by name, with the fields of the option ``log_groups``, ``arn`` and ``tags``.

    None for a retention means for ever, None for a key one of CloudWatch Logs' own.
    """
    names = {group["name"] for group in params["log_groups"]}
    answers = together(
        *(
            lambda prefix=prefix: aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
            for prefix in prefixes(names)
        )
    )
    found = {group["logGroupName"]: group for groups in answers for group in groups if group["logGroupName"] in names}
    arns = {name: group["arn"].removesuffix(":*") for name, group in found.items()}
    logs = aws.client("logs")
    tags = aws.tags(
        arns.values(),
        lambda arn: logs.list_tags_for_resource(resourceArn=arn)["tags"],
    )
    return {
        name: {
            "arn": arns[name],
            "retention_in_days": group.get("retentionInDays"),
            "kms_key_id": group.get("kmsKeyId"),
            "log_group_class": group.get("logGroupClass", "STANDARD"),
            "deletion_protection_enabled": group.get("deletionProtectionEnabled", False),
            "tags": tags[arns[name]],
        }
        for name, group in found.items()
    }


def prefixes(names: Iterable[str]) -> list[str]:
    """What to ask DescribeLogGroups for, which knows prefixes only: one for all names of a folder (``/ecs/stack/``).

    Names outside a folder have one each: what they have in common may be nothing, and that is every log group there is.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folder = name.rpartition("/")[0]
        folders.setdefault(folder or name, []).append(name)
    return sorted(commonprefix(group) for group in folders.values())  # noqa: RUF071 - no path: characters are meant


def arn(aws: Aws, name: str) -> str:
    return aws.arn("logs", f"log-group:{name}")


def desired(params: Mapping, group: Mapping) -> dict[str, Any]:
    """What the parameters ask of one log group; what they leave out is left out here."""
    given = ("retention_in_days", "kms_key_id", "log_group_class", "deletion_protection_enabled")
    fields: dict[str, Any] = {key: group[key] for key in given if group[key] is not None}
    for key in ("retention_in_days", "kms_key_id"):
        if key in fields:
            fields[key] = fields[key] or None
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    changes: list[Change] = []
    for group in params["log_groups"]:
        name = group["name"]
        there = current.get(name)
        if params["state"] == "absent":
            if there is not None and is_foreign(there["tags"], params["tags"]):
                changes.append(leave_foreign(resource(name), there["tags"]))
            elif there is not None:
                _refuse_protected(group, there)
                changes.append(delete(resource(name), there, note="the logs in it are lost"))
        elif there is None:
            changes.append(create(resource(name), desired(params, group)))
        else:
            refuse_foreign(resource(name), there["tags"], params)
            _refuse_another_class(group, there)
            changes += update(resource(name), there, desired(params, group))
    return changes


def _refuse_protected(group: Mapping, there: Mapping) -> None:
    if there["deletion_protection_enabled"] and group["deletion_protection_enabled"] is not False:
        raise Refused(
            f"{resource(group['name'])} is protected from deletion, and with it the logs in it would be lost. If that "
            "is meant, give deletion_protection_enabled: false (observability_deletion_protection_enabled)."
        )


def _refuse_another_class(group: Mapping, there: Mapping) -> None:
    if group["log_group_class"] not in (None, there["log_group_class"]):
        raise Refused(
            f"{resource(group['name'])} is of the class {there['log_group_class']}, and AWS sets a log group's class "
            f"once and for all, when it is made. Take log_group_class {group['log_group_class']} back, or give another "
            "name to a new log group. Deleting this one to make it anew would lose the logs in it, so that is not done."
        )


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)
    together(
        *(
            lambda group=group: _apply_one(
                aws, group["name"], desired(params, group), current.get(group["name"]), planned[resource(group["name"])]
            )
            for group in params["log_groups"]
            if resource(group["name"]) in planned
        )
    )


def _apply_one(aws: Aws, name: str, wanted: Mapping, there: Mapping | None, changes: Sequence[Change]) -> None:
    logs = aws.client("logs")
    if changes[0].action == "delete":
        if there is not None and there["deletion_protection_enabled"]:
            logs.put_log_group_deletion_protection(logGroupIdentifier=name, deletionProtectionEnabled=False)
        logs.delete_log_group(logGroupName=name)
        return
    if there is None:
        arguments = {
            key: wanted[field]
            for field, key in (
                ("kms_key_id", "kmsKeyId"),
                ("log_group_class", "logGroupClass"),
                ("deletion_protection_enabled", "deletionProtectionEnabled"),
            )
            if wanted.get(field) is not None
        }
        if wanted.get("tags"):
            arguments["tags"] = dict(wanted["tags"])
        logs.create_log_group(logGroupName=name, **arguments)
        if wanted.get("retention_in_days"):
            logs.put_retention_policy(logGroupName=name, retentionInDays=wanted["retention_in_days"])
        return
    paths = {change.path.split(".")[0] for change in changes}
    if "retention_in_days" in paths:
        if wanted["retention_in_days"] is None:
            logs.delete_retention_policy(logGroupName=name)
        else:
            logs.put_retention_policy(logGroupName=name, retentionInDays=wanted["retention_in_days"])
    if "kms_key_id" in paths:
        if wanted["kms_key_id"] is None:
            logs.disassociate_kms_key(logGroupName=name)
        else:
            logs.associate_kms_key(logGroupName=name, kmsKeyId=wanted["kms_key_id"])
    if "deletion_protection_enabled" in paths:
        logs.put_log_group_deletion_protection(
            logGroupIdentifier=name, deletionProtectionEnabled=wanted["deletion_protection_enabled"]
        )
    if "tags" in paths:
        gone = [change.path.removeprefix("tags.") for change in changes if change.path and change.after is None]
        gone = [key for key in gone if key in there["tags"]]
        if gone:
            logs.untag_resource(resourceArn=there["arn"], tagKeys=gone)
        logs.tag_resource(resourceArn=there["arn"], tags=dict(wanted["tags"]))


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Log groups are there when the call returns."""


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    def one(group: Mapping) -> dict[str, Any]:
        there = current.get(group["name"])
        if there is None:  # only then: the account's number costs a call
            there = {
                "arn": arn(aws, group["name"]),
                "retention_in_days": None,
                "kms_key_id": None,
                "log_group_class": "STANDARD",
                "deletion_protection_enabled": False,
                "tags": {},
            }
        return predicted(there, desired(params, group))

    return {"log_groups": {group["name"]: one(group) for group in params["log_groups"]}}


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [resource(group["name"]) for group in params["log_groups"]]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    groups = {group["name"]: current.get(group["name"]) for group in params["log_groups"]}
    if wanted:
        groups = {
            group["name"]: predicted(groups[group["name"]] or {}, desired(params, group))
            for group in params["log_groups"]
        }
    return [
        {"kind": "logs", "resource": resource(name), "retention_in_days": fields.get("retention_in_days")}
        for name, fields in groups.items()
        if fields is not None
    ]
