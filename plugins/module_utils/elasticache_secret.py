# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The secret of a replication group: ``{"auth_token": ..., "url": ...}`` in Secrets Manager, and nowhere else.

With a user group ``auth_token`` is the password of the user whom ``url`` logs in as; see ``elasticache_users``.

A new group's token is written here before ElastiCache hears of it, so that no crash can lose it. A group that serves
already gets a token in the steps of AWS's own rotation: the version is staged as AWSPENDING, ElastiCache takes it
with ROTATE, it becomes AWSCURRENT, and AWSPENDING goes away. As long as AWSPENDING is there, the change is unfinished,
and the next run takes it up where it was left.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth.html
https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, patiently, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Change, Say, user_tags

HIDDEN, NEW = "(hidden)", "(hidden, new)"

# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth.html ("Overview of AUTH")
_TOKEN = re.compile(r"[A-Za-z0-9!&#$^<>-]{16,128}")

_CURRENT, _PENDING = "AWSCURRENT", "AWSPENDING"
# Marks a pending version whose token shall be the only way in (ROTATE, then SET).
_THEN_SET = "THEN_SET"


def new_token() -> str:
    """64 letters and digits: 381 bits, and nothing that a URL or a shell would have to quote."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(64))


def token_of(value: Mapping) -> str | None:
    """The token in a secret's value, if it is one that ElastiCache would take."""
    token = value.get("auth_token")
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None


def url(address: str, port: int, tls: bool, token: str | None, user: str = "") -> str:
    """The URL that Celery needs; ``ssl_cert_reqs`` has no default there that would verify the server.

    https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
    """
    if not tls:
        return f"redis://{address}:{port}/0"
    login = quote(user, safe="") + (f":{quote(token, safe='')}" if token else "")
    login += "@" if login else ""
    return f"rediss://{login}{address}:{port}/0?ssl_cert_reqs=required"


def describe(aws: Aws, name: str) -> dict[str, Any] | None:
    """``{arn, description, kms_key_id, tags, deletion_date, value, version, pending}`` or None.

    ``value`` and ``pending["value"]`` hold the token: they never leave this process. A secret that is scheduled for
    deletion cannot be read: its ``value`` is empty.
    """
    manager = aws.client("secretsmanager")
    try:
        found, current = together(lambda: manager.describe_secret(SecretId=name), lambda: _version(aws, name, _CURRENT))
    except manager.exceptions.ResourceNotFoundException:
        return None
    stages = found.get("VersionIdsToStages", {})
    pending = next((version for version, labels in stages.items() if _PENDING in labels), None)
    deleted = found.get("DeletedDate")
    return {
        "arn": found["ARN"],
        "description": found.get("Description", ""),
        "kms_key_id": found.get("KmsKeyId", ""),
        "tags": user_tags({tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}),
        "deletion_date": deleted.isoformat() if deleted else None,
        "value": current["value"],
        "version": current["version"],
        "pending": {**_version(aws, name, _PENDING), "then_set": _THEN_SET in stages[pending]}
        if pending and not deleted
        else None,
    }


def _version(aws: Aws, name: str, stage: str) -> dict[str, Any]:
    """``{value, version, created}`` of the version with this label; empty when it cannot be read."""
    manager = aws.client("secretsmanager")
    try:
        found = manager.get_secret_value(SecretId=name, VersionStage=stage)
    except manager.exceptions.ClientError as error:
        # no such secret, no such version; scheduled for deletion
        if error_code(error) in ("ResourceNotFoundException", "InvalidRequestException"):
            return {"value": {}, "version": None, "created": None}
        raise
    try:
        value = json.loads(found.get("SecretString", ""))
    except ValueError:
        value = {}
    return {
        "value": value if isinstance(value, dict) else {},
        "version": found["VersionId"],
        "created": found["CreatedDate"],
    }


def apply(aws: Aws, name: str, wanted: Mapping, changes: Sequence[Change], say: Say) -> None:
    """Create or restore the secret and mend its description, key and tags; its value comes with write or stage."""
    manager = aws.client("secretsmanager")
    paths = {change.path.split(".")[0] for change in changes}
    settings = {
        argument: wanted[field]
        for field, argument in (("description", "Description"), ("kms_key_id", "KmsKeyId"))
        if field in wanted
    }
    if changes[0].action == "create":
        settings["Tags"] = ansible_dict_to_boto3_tag_list(wanted.get("tags", {}))
        # One that was deleted without recovery is gone some time later, and keeps its name until then.
        # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html
        patiently(lambda: manager.create_secret(Name=name, **settings), ("scheduled for deletion",), say)
        return
    if "deletion_date" in paths:
        manager.restore_secret(SecretId=name)
    if paths & {"description", "kms_key_id"}:
        manager.update_secret(SecretId=name, **settings)
    if "tags" in paths:
        gone = [
            change.path.removeprefix("tags.")
            for change in changes
            if change.path.startswith("tags.") and change.after is None
        ]
        if gone:
            manager.untag_resource(SecretId=name, TagKeys=gone)
        manager.tag_resource(SecretId=name, Tags=ansible_dict_to_boto3_tag_list(wanted["tags"]))


def write(aws: Aws, name: str, value: Mapping) -> None:
    """Make ``value`` the current one."""
    aws.client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps(value))


def stage(aws: Aws, name: str, value: Mapping, then_set: bool) -> None:
    """Keep ``value`` as the pending one, before ElastiCache is told."""
    aws.client("secretsmanager").put_secret_value(
        SecretId=name, SecretString=json.dumps(value), VersionStages=[_PENDING, *([_THEN_SET] if then_set else [])]
    )


def promote(aws: Aws, name: str, secret: Mapping) -> None:
    """Make the pending version the current one. The first version of a secret is that from the start."""
    if secret["version"] != secret["pending"]["version"]:
        remove = {"RemoveFromVersionId": secret["version"]} if secret["version"] else {}
        aws.client("secretsmanager").update_secret_version_stage(
            SecretId=name, VersionStage=_CURRENT, MoveToVersionId=secret["pending"]["version"], **remove
        )


def finish(aws: Aws, name: str, secret: Mapping) -> None:
    """Take the labels of an unfinished change away."""
    for label in (_THEN_SET, _PENDING) if secret["pending"]["then_set"] else (_PENDING,):
        aws.client("secretsmanager").update_secret_version_stage(
            SecretId=name, VersionStage=label, RemoveFromVersionId=secret["pending"]["version"]
        )


def delete(aws: Aws, name: str, recovery_window_in_days: int) -> None:
    """Schedule the deletion; 0 days deletes at once, and nothing can bring the token back."""
    window: dict[str, Any] = (
        {"RecoveryWindowInDays": recovery_window_in_days}
        if recovery_window_in_days
        else {"ForceDeleteWithoutRecovery": True}
    )
    aws.client("secretsmanager").delete_secret(SecretId=name, **window)
