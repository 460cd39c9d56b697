# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CloudWatch log groups: retention, KMS key, tags. A log group is never deleted to change it.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_LogGroup.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Exact,
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
    user_tags,
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


def resource(name: str) -> str:
    return f"log group {name}"


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``log_groups`` with ``*`` replaced by the names of log groups."""

    def find(beginning: str) -> list[str]:
        prefix = {"logGroupNamePrefix": beginning} if beginning else {}
        return [group["logGroupName"] for group in aws.pages("logs", "describe_log_groups", "logGroups", **prefix)]

    return {**params, "log_groups": expanded(params["log_groups"], "name", params, find)}


def describe(aws: Aws, params: Mapping) -> dict[str, dict]:
    """Log groups by name: ``{retention_in_days, kms_key_id, tags}``; None for a retention means for ever."""

    def one(name: str) -> dict | None:
        # The API filters by prefix only: /ecs/a also answers /ecs/ab.
        found = aws.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name)
        group = next((item for item in found if item["logGroupName"] == name), None)
        if group is None:
            return None
        tags = aws.client("logs").list_tags_for_resource(resourceArn=arn(aws, name))["tags"]
        return {
            "retention_in_days": group.get("retentionInDays"),
            "kms_key_id": group.get("kmsKeyId"),
            "tags": user_tags(tags),
        }

    names = [group["name"] for group in params["log_groups"]]
    found = together(*(lambda name=name: one(name) for name in names))
    return {name: group for name, group in zip(names, found, strict=True) if group is not None}


def arn(aws: Aws, name: str) -> str:
    return aws.arn("logs", f"log-group:{name}")


def desired(params: Mapping, group: Mapping) -> dict[str, Any]:
    """What the parameters ask of one log group; what they leave out is left out here."""
    fields: dict[str, Any] = {key: group[key] for key in ("retention_in_days", "kms_key_id") if group[key] is not None}
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
                changes.append(delete(resource(name), there, note="the logs in it are lost"))
        elif there is None:
            changes.append(create(resource(name), desired(params, group)))
        else:
            refuse_foreign(resource(name), there["tags"], params)
            changes += update(resource(name), there, desired(params, group))
    return changes


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)
    together(
        *(
            lambda group=group: _apply_one(aws, group["name"], desired(params, group), planned[resource(group["name"])])
            for group in params["log_groups"]
            if resource(group["name"]) in planned
        )
    )


def _apply_one(aws: Aws, name: str, wanted: Mapping, changes: Sequence[Change]) -> None:
    logs = aws.client("logs")
    if changes[0].action == "delete":
        logs.delete_log_group(logGroupName=name)
        return
    created = changes[0].action == "create"
    if created:
        arguments = {"logGroupName": name, "tags": dict(wanted.get("tags", {}))}
        if "kms_key_id" in wanted:
            arguments["kmsKeyId"] = wanted["kms_key_id"]
        logs.create_log_group(**arguments)
    paths = {change.path.split(".")[0] for change in changes}
    if "retention_in_days" in wanted and (created or "retention_in_days" in paths):
        logs.put_retention_policy(logGroupName=name, retentionInDays=wanted["retention_in_days"])
    if "kms_key_id" in paths:
        logs.associate_kms_key(logGroupName=name, kmsKeyId=wanted["kms_key_id"])
    if "tags" in paths:
        gone = [change.path.removeprefix("tags.") for change in changes if change.after is None]
        if gone:
            logs.untag_resource(resourceArn=arn(aws, name), tagKeys=gone)
        logs.tag_resource(resourceArn=arn(aws, name), tags=dict(wanted["tags"]))


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Log groups are there when the call returns."""


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    new = {"retention_in_days": None, "kms_key_id": None, "tags": {}}
    return {
        "log_groups": {
            group["name"]: {
                "arn": arn(aws, group["name"]),
                **predicted(current.get(group["name"], new), desired(params, group)),
            }
            for group in params["log_groups"]
        }
    }


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
