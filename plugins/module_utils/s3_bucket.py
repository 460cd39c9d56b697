# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One S3 bucket: versioning, encryption, public access, ownership, policy, lifecycle, tags.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    GATHERED,
    Change,
    Exact,
    Refused,
    Say,
    create,
    delete,
    is_foreign,
    leave_foreign,
    predicted,
    refuse_foreign,
    update,
    user_tags,
)

# What GetBucket... answers where nothing is configured.
_NONE = (
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "NoSuchLifecycleConfiguration",
    "NoSuchBucketPolicy",
    "NoSuchTagSet",
)
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PublicAccessBlockConfiguration.html
PUBLIC_ACCESS = {
    "block_public_acls": "BlockPublicAcls",
    "ignore_public_acls": "IgnorePublicAcls",
    "block_public_policy": "BlockPublicPolicy",
    "restrict_public_buckets": "RestrictPublicBuckets",
}
# Every object is encrypted, with SSE-S3 where nothing else is asked for.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-bucket-encryption.html
DEFAULT_ENCRYPTION = {"sse_algorithm": "AES256", "kms_key_id": None, "bucket_key_enabled": False}
# option -> where https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html has it
LIFECYCLE = {
    "expiration_days": ("Expiration", "Days"),
    "expired_object_delete_marker": ("Expiration", "ExpiredObjectDeleteMarker"),
    "noncurrent_version_expiration_days": ("NoncurrentVersionExpiration", "NoncurrentDays"),
    "abort_incomplete_multipart_upload_days": ("AbortIncompleteMultipartUpload", "DaysAfterInitiation"),
}


def resource(name: str) -> str:
    return f"bucket {name}"


def _bucket(aws: Aws, params: Mapping) -> dict[str, str]:
    """Name and owner: a bucket's name can be taken by anybody in the world before we make ours."""
    return {"Bucket": aws.fill(params["name"]), "ExpectedBucketOwner": aws.account_id}


def describe(aws: Aws, params: Mapping) -> dict[str, Any] | None:
    """``{name, arn, versioning, encryption, public_access_block, ...}`` or None."""
    s3, bucket = aws.client("s3"), _bucket(aws, params)

    def read(operation: str) -> Callable[[], dict[str, Any] | None]:
        def call() -> dict[str, Any] | None:
            try:
                return getattr(s3, operation)(**bucket)
            except s3.exceptions.ClientError as error:
                if error_code(error) == "NoSuchBucket":
                    return None
                if error_code(error) in _NONE:
                    return {}
                raise

        return call

    answers = together(
        read("get_bucket_versioning"),
        read("get_bucket_encryption"),
        read("get_public_access_block"),
        read("get_bucket_ownership_controls"),
        read("get_bucket_policy"),
        read("get_bucket_lifecycle_configuration"),
        read("get_bucket_tagging"),
    )
    if any(answer is None for answer in answers):
        return None
    versioning, encryption, public, ownership, policy, lifecycle, tags = answers
    rule = (encryption.get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}])[0]
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    blocked = public.get("PublicAccessBlockConfiguration", {})
    return {
        "name": bucket["Bucket"],
        "arn": arn(aws, params),
        # a bucket that never had it is not "Suspended", and differs in nothing else
        "versioning": versioning.get("Status") == "Enabled",
        "encryption": {
            "sse_algorithm": default.get("SSEAlgorithm", DEFAULT_ENCRYPTION["sse_algorithm"]),
            "kms_key_id": default.get("KMSMasterKeyID"),
            "bucket_key_enabled": bool(rule.get("BucketKeyEnabled", False)),
        },
        "public_access_block": {option: bool(blocked.get(name, False)) for option, name in PUBLIC_ACCESS.items()},
        # before April 2023 a new bucket had ACLs
        "object_ownership": next(
            (item["ObjectOwnership"] for item in ownership.get("OwnershipControls", {}).get("Rules", [])),
            "ObjectWriter",
        ),
        "policy": normal_policy(json.loads(policy["Policy"])) if policy.get("Policy") else None,
        "lifecycle_rules": {rule["ID"]: _rule(rule) for rule in lifecycle.get("Rules", [])},
        "tags": user_tags({tag["Key"]: tag["Value"] for tag in tags.get("TagSet", [])}),
    }


def arn(aws: Aws, params: Mapping) -> str:
    return f"arn:{aws.partition}:s3:::{aws.fill(params['name'])}"


def normal_policy(document: Any) -> Any:
    """A policy in which a list of one is the item, as IAM reads it; compared whole."""
    if isinstance(document, Mapping):
        return Exact((key, normal_policy(value)) for key, value in document.items())
    if isinstance(document, list):
        items = [normal_policy(item) for item in document]
        return items[0] if len(items) == 1 else items
    return document


def _rule(rule: Mapping) -> dict[str, Any]:
    """A lifecycle rule of the API as the option has it; what it has besides is kept, for then it is not as asked."""
    known = {
        "prefix": rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")) or "",
        "enabled": rule["Status"] == "Enabled",
        **{option: rule.get(section, {}).get(field) for option, (section, field) in LIFECYCLE.items()},
    }
    sections = {section for section, _ in LIFECYCLE.values()}
    other = {key: value for key, value in rule.items() if key not in {"ID", "Filter", "Prefix", "Status", *sections}}
    other |= {"Filter": rule["Filter"]} if set(rule.get("Filter", {})) - {"Prefix"} else {}
    return {**known, **other}


def _rule_argument(name: str, rule: Mapping) -> dict[str, Any]:
    """The inverse, for a rule that is wanted."""
    argument: dict[str, Any] = {
        "ID": name,
        "Filter": {"Prefix": rule["prefix"]},
        "Status": "Enabled" if rule["enabled"] else "Disabled",
    }
    for option, (section, field) in LIFECYCLE.items():
        if rule[option] is not None:
            argument.setdefault(section, {})[field] = rule[option]
    return argument


def desired(aws: Aws, params: Mapping) -> dict[str, Any]:
    fields: dict[str, Any] = {key: params[key] for key in ("versioning", "object_ownership") if params[key] is not None}
    if params["encryption"] is not None:
        fields["encryption"] = {key: value for key, value in params["encryption"].items() if key != "kms_key_id"}
        fields["encryption"]["kms_key_id"] = params["encryption"]["kms_key_id"] or None
    if params["public_access_block"] is not None:
        fields["public_access_block"] = params["public_access_block"]
    if params["policy"] is not None:
        fields["policy"] = normal_policy(aws.fill(params["policy"])) or None
    if params["lifecycle_rules"] is not None:
        fields["lifecycle_rules"] = Exact(
            (rule["id"], Exact({key: value for key, value in rule.items() if key != "id"}))
            for rule in params["lifecycle_rules"]
        )
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def plan(aws: Aws, params: Mapping, current: Mapping | None) -> list[Change]:
    label = resource(aws.fill(params["name"]))
    if params["state"] == "absent":
        if current is None:
            return []
        if is_foreign(current["tags"], params["tags"]):
            return [leave_foreign(label, current["tags"])]
        note = "all objects in it are deleted, in all versions" if params["force"] else ""
        return [delete(label, current, note=note)]
    if current is None:
        return [create(label, desired(aws, params))]
    refuse_foreign(label, current["tags"], params)
    return update(label, current, desired(aws, params))


def apply(aws: Aws, params: Mapping, current: Mapping | None, changes: Sequence[Change], say: Say) -> None:
    s3, bucket = aws.client("s3"), _bucket(aws, params)
    if changes[0].action == "delete":
        _delete(aws, params, say)
        return
    wanted = desired(aws, params)
    paths = {change.path.split(".")[0] for change in changes}
    if changes[0].action == "create":
        _create(aws, params, wanted)
        paths = set(wanted) - {"tags"}
        if wanted.get("encryption") == DEFAULT_ENCRYPTION:
            paths.remove("encryption")
    merged: dict[str, Any] = {**(current or {}), **wanted}
    if "versioning" in paths and (wanted["versioning"] or current):
        status = "Enabled" if wanted["versioning"] else "Suspended"
        s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": status})
    if "encryption" in paths:
        key = wanted["encryption"]["kms_key_id"]
        default = {"SSEAlgorithm": wanted["encryption"]["sse_algorithm"], **({"KMSMasterKeyID": key} if key else {})}
        # the rule may also block SSE-C, which is not ours to undo
        rule = _encryption_rule(aws, params) if current else {}
        rule["ApplyServerSideEncryptionByDefault"] = default
        rule["BucketKeyEnabled"] = wanted["encryption"]["bucket_key_enabled"]
        s3.put_bucket_encryption(**bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    if "public_access_block" in paths:
        blocked = {name: merged["public_access_block"][option] for option, name in PUBLIC_ACCESS.items()}
        s3.put_public_access_block(**bucket, PublicAccessBlockConfiguration=blocked)
    if "object_ownership" in paths:
        rules = [{"ObjectOwnership": wanted["object_ownership"]}]
        s3.put_bucket_ownership_controls(**bucket, OwnershipControls={"Rules": rules})
    if "policy" in paths:
        if wanted["policy"] is None:
            s3.delete_bucket_policy(**bucket)
        else:
            s3.put_bucket_policy(**bucket, Policy=json.dumps(aws.fill(params["policy"])))
    if "lifecycle_rules" in paths:
        rules = [_rule_argument(name, rule) for name, rule in wanted["lifecycle_rules"].items()]
        if rules:
            s3.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": rules})
        else:
            s3.delete_bucket_lifecycle(**bucket)
    if "tags" in paths:
        s3.put_bucket_tagging(**bucket, Tagging={"TagSet": _tag_set(wanted["tags"])})


def _encryption_rule(aws: Aws, params: Mapping) -> dict[str, Any]:
    s3 = aws.client("s3")
    try:
        answer = s3.get_bucket_encryption(**_bucket(aws, params))
    except s3.exceptions.ClientError as error:
        if error_code(error) in _NONE:
            return {}
        raise
    return dict(answer["ServerSideEncryptionConfiguration"]["Rules"][0])


def _tag_set(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _create(aws: Aws, params: Mapping, wanted: Mapping) -> None:
    """Make it with its tags, so that there is no moment in which it is nobody's."""
    s3, name = aws.client("s3"), aws.fill(params["name"])
    configuration: dict[str, Any] = {}
    if aws.region != "us-east-1":  # which must not be named
        configuration["LocationConstraint"] = aws.region
    if wanted.get("tags"):
        configuration["Tags"] = _tag_set(wanted["tags"])
    try:
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": configuration} if configuration else {}))
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass  # somebody else was quicker and asked for the same
    except s3.exceptions.BucketAlreadyExists as error:
        raise Refused(
            f"Another AWS account has a bucket {name}; the names of buckets are shared by all accounts. "
            "Set name_prefix in the inventory to another name."
        ) from error
    s3.get_waiter("bucket_exists").wait(**_bucket(aws, params))


def _delete(aws: Aws, params: Mapping, say: Say) -> None:
    s3, bucket = aws.client("s3"), _bucket(aws, params)
    if not params["force"] and s3.list_object_versions(**bucket, MaxKeys=1).keys() & {"Versions", "DeleteMarkers"}:
        raise Refused(f"{resource(bucket['Bucket'])} is not empty. Set force: true to delete what is in it, for good.")
    for page in s3.get_paginator("list_object_versions").paginate(**bucket) if params["force"] else ():
        objects = [
            {"Key": item["Key"], "VersionId": item["VersionId"]}
            for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
        if objects:
            say(f"{resource(bucket['Bucket'])}: deleting {len(objects)} object versions")
            answer = s3.delete_objects(**bucket, Delete={"Objects": objects, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise Refused(f"{resource(bucket['Bucket'])}: {first['Key']} cannot be deleted: {first['Message']}")
    s3.delete_bucket(**bucket)


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """What is written to a bucket's configuration may take a moment to be read; all else is done when it answers.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
    """


def resources(aws: Aws, params: Mapping, current: Mapping | None) -> list[str]:
    return [resource(aws.fill(params["name"]))]


def output(aws: Aws, params: Mapping, current: Mapping | None) -> dict[str, Any]:
    name = aws.fill(params["name"])
    if params["state"] == "absent":
        return {"bucket": {"name": name}}
    if params["state"] == GATHERED:
        return {"bucket": current}
    return {"bucket": {"name": name, "arn": arn(aws, params), **predicted(current or {}, desired(aws, params))}}
