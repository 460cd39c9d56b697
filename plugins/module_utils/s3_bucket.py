# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One S3 bucket: versioning, encryption, public access, ownership, policy, lifecycle, access logging, tags.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.policy import compare_policies
from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, patiently, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
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
    "newer_noncurrent_versions": ("NoncurrentVersionExpiration", "NewerNoncurrentVersions"),
    "abort_incomplete_multipart_upload_days": ("AbortIncompleteMultipartUpload", "DaysAfterInitiation"),
}
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRuleFilter.html
FILTER = {"object_size_greater_than": "ObjectSizeGreaterThan", "object_size_less_than": "ObjectSizeLessThan"}
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Transition.html, API_NoncurrentVersionTransition.html
TRANSITIONS = {
    "transitions": ("Transitions", {"days": "Days", "storage_class": "StorageClass"}),
    "noncurrent_version_transitions": (
        "NoncurrentVersionTransitions",
        {
            "days": "NoncurrentDays",
            "storage_class": "StorageClass",
            "newer_noncurrent_versions": "NewerNoncurrentVersions",
        },
    ),
}
# What a rule deletes, if it is in force
_DELETES = {
    "expiration_days": "objects that are older than {days} days are deleted; with versioning, a version of each stays",
    "noncurrent_version_expiration_days": "versions that have been replaced for {days} days are deleted for good",
}
# Storage classes that take an object only when it is so many days old
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
_LEAST_DAYS = {"STANDARD_IA": 30, "ONEZONE_IA": 30}


def resource(name: str) -> str:
    return f"bucket {name}"


def _bucket(aws: Aws, params: Mapping) -> dict[str, str]:
    """Name and owner: a bucket's name can be taken by anybody in the world before we make ours."""
    return {"Bucket": aws.fill(params["name"]), "ExpectedBucketOwner": aws.account_id}


# option -> the call that reads it
_READS = {
    "versioning": "get_bucket_versioning",
    "encryption": "get_bucket_encryption",
    "public_access_block": "get_public_access_block",
    "object_ownership": "get_bucket_ownership_controls",
    "policy": "get_bucket_policy",
    "lifecycle_rules": "get_bucket_lifecycle_configuration",
    "logging": "get_bucket_logging",
}


def describe(aws: Aws, params: Mapping) -> dict[str, Any] | None:
    """``{name, arn, tags, ...}`` with those options that are given (for state gathered with all of them), or None.

    For state absent there is ``empty`` instead, unless that does not matter.
    """
    s3, bucket = aws.client("s3"), _bucket(aws, params)

    def read(operation: str, **more: Any) -> Callable[[], dict[str, Any] | None]:
        def call() -> dict[str, Any] | None:
            try:
                return getattr(s3, operation)(**bucket, **more)
            except s3.exceptions.ClientError as error:
                if error_code(error) == "NoSuchBucket":
                    return None
                if error_code(error) in _NONE:
                    return {}
                raise

        return call

    asked = {"tags": read("get_bucket_tagging")}
    if params["state"] == "absent":
        asked |= {} if params["force"] else {"empty": read("list_object_versions", MaxKeys=1)}
    else:
        given = [option for option in _READS if params["state"] == GATHERED or params[option] is not None]
        asked |= {option: read(_READS[option]) for option in given}
    answers = together(*asked.values())
    if any(answer is None for answer in answers):
        return None
    fields = {option: _NORMAL[option](answer) for option, answer in zip(asked, answers, strict=True)}
    return {"name": bucket["Bucket"], "arn": arn(aws, params), **fields}


def _encryption(answer: Mapping) -> dict[str, Any]:
    rule = (answer.get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}])[0]
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    return {
        "sse_algorithm": default.get("SSEAlgorithm", DEFAULT_ENCRYPTION["sse_algorithm"]),
        "kms_key_id": default.get("KMSMasterKeyID"),
        "bucket_key_enabled": bool(rule.get("BucketKeyEnabled", False)),
    }


def _public_access_block(answer: Mapping) -> dict[str, bool]:
    blocked = answer.get("PublicAccessBlockConfiguration", {})
    return {option: bool(blocked.get(name, False)) for option, name in PUBLIC_ACCESS.items()}


def _logging(answer: Mapping) -> dict[str, Any] | None:
    there = answer.get("LoggingEnabled")
    return there and {"target_bucket": there["TargetBucket"], "target_prefix": there.get("TargetPrefix", "")}


# option -> an answer of the API as the option has it
_NORMAL: dict[str, Callable[[Mapping], Any]] = {
    # a bucket that never had it is not "Suspended", and differs in nothing else
    "versioning": lambda answer: answer.get("Status") == "Enabled",
    "encryption": _encryption,
    "public_access_block": _public_access_block,
    # before April 2023 a new bucket had ACLs
    "object_ownership": lambda answer: next(
        (rule["ObjectOwnership"] for rule in answer.get("OwnershipControls", {}).get("Rules", [])), "ObjectWriter"
    ),
    "policy": lambda answer: normal_policy(json.loads(answer["Policy"])) if answer.get("Policy") else None,
    "lifecycle_rules": lambda answer: {rule["ID"]: _rule(rule) for rule in answer.get("Rules", [])},
    "logging": _logging,
    "tags": lambda answer: user_tags({tag["Key"]: tag["Value"] for tag in answer.get("TagSet", [])}),
    "empty": lambda answer: not answer.keys() & {"Versions", "DeleteMarkers"},
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
    given = rule.get("Filter", {})
    where = given.get("And", given)
    known: dict[str, Any] = {
        "prefix": where.get("Prefix", rule.get("Prefix", "")) or "",
        "enabled": rule["Status"] == "Enabled",
        **{option: where.get(name) for option, name in FILTER.items()},
        # a marker that is not to go is none that is spoken of
        **{option: rule.get(section, {}).get(field) or None for option, (section, field) in LIFECYCLE.items()},
    }
    for option, (section, names) in TRANSITIONS.items():
        known[option] = _in_order(
            {ours: one.get(name) for ours, name in names.items()} for one in rule.get(section, [])
        )
    sections = {section for section, _ in [*LIFECYCLE.values(), *TRANSITIONS.values()]}
    other = {key: value for key, value in rule.items() if key not in {"ID", "Filter", "Prefix", "Status", *sections}}
    other |= {"Filter": given} if where.keys() - {"Prefix", *FILTER.values()} else {}
    if "Date" in rule.get("Expiration", {}):
        other["Expiration"] = rule["Expiration"]
    return {**known, **other}


def _in_order(transitions: Iterable[Mapping]) -> list[Mapping]:
    return sorted(transitions, key=lambda one: (one["days"] or 0, one["storage_class"]))


def _rule_argument(name: str, rule: Mapping) -> dict[str, Any]:
    """The inverse, for a rule that is wanted."""
    sizes = {field: rule[option] for option, field in FILTER.items() if rule[option] is not None}
    where = {**({"Prefix": rule["prefix"]} if rule["prefix"] or not sizes else {}), **sizes}
    argument: dict[str, Any] = {
        "ID": name,
        "Filter": {"And": where} if len(where) > 1 else where,
        "Status": "Enabled" if rule["enabled"] else "Disabled",
    }
    for option, (section, field) in LIFECYCLE.items():
        if rule[option] is not None:
            argument.setdefault(section, {})[field] = rule[option]
    for option, (section, names) in TRANSITIONS.items():
        if rule[option]:
            argument[section] = [
                {name: one[ours] for ours, name in names.items() if one[ours] is not None} for one in rule[option]
            ]
    return argument


def desired(aws: Aws, params: Mapping, current: Mapping | None) -> dict[str, Any]:
    fields: dict[str, Any] = {key: params[key] for key in ("versioning", "object_ownership") if params[key] is not None}
    if params["encryption"] is not None:
        fields["encryption"] = {**params["encryption"], "kms_key_id": params["encryption"]["kms_key_id"] or None}
    if params["public_access_block"] is not None:
        fields["public_access_block"] = params["public_access_block"]
    if params["policy"] is not None:
        wanted, there = aws.fill(params["policy"]), (current or {}).get("policy")
        # in the wording of what is there when both mean the same
        same = wanted and there and not compare_policies(there, wanted)
        fields["policy"] = there if same else normal_policy(wanted) or None
    if params["lifecycle_rules"] is not None:
        fields["lifecycle_rules"] = Exact((rule["id"], _wanted_rule(rule)) for rule in params["lifecycle_rules"])
    if params["logging"] is not None:
        target = params["logging"]["target_bucket"]
        fields["logging"] = {**params["logging"], "target_bucket": aws.fill(target)} if target else None
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def _wanted_rule(rule: Mapping) -> Exact:
    fields = Exact((option, value) for option, value in rule.items() if option != "id")
    fields["expired_object_delete_marker"] = rule["expired_object_delete_marker"] or None
    for option in TRANSITIONS:
        fields[option] = _in_order(rule[option] or [])
    return fields


def _refuse_impossible(label: str, params: Mapping) -> None:
    """What S3 would refuse when it has taken other changes already."""
    encryption = params["encryption"]
    if encryption and encryption["kms_key_id"] and encryption["sse_algorithm"] == "AES256":
        raise Refused(f"{label}: AES256 has no kms_key_id. Set encryption.sse_algorithm to aws:kms, or leave it out.")
    if encryption and encryption["bucket_key_enabled"] and encryption["sse_algorithm"] == "aws:kms:dsse":
        raise Refused(f"{label}: aws:kms:dsse takes no bucket key. Set encryption.bucket_key_enabled to false.")
    rules = params["lifecycle_rules"] or []
    ids = [rule["id"] for rule in rules]
    for rule in rules:
        if ids.count(rule["id"]) > 1:
            raise Refused(f"{label} has two lifecycle rules with the id {rule['id']}: give each an id of its own.")
        problem = _problem_of(rule)
        if problem:
            raise Refused(f"Lifecycle rule {rule['id']} of {label}: {problem}")


def _problem_of(rule: Mapping) -> str:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html"""
    transitions = [*(rule["transitions"] or []), *(rule["noncurrent_version_transitions"] or [])]
    for option in LIFECYCLE:
        if rule[option] is not None and rule[option] < 1 and option != "expired_object_delete_marker":
            return f"{option} is {rule[option]}, and 1 is the least."
    if not transitions and not any(rule[option] for option in LIFECYCLE):
        return f"it does nothing. Give one of {', '.join([*LIFECYCLE, *TRANSITIONS])}."
    if rule["expired_object_delete_marker"] and rule["expiration_days"] is not None:
        return "expired_object_delete_marker goes not with expiration_days. Leave one of them out."
    if rule["newer_noncurrent_versions"] is not None and rule["noncurrent_version_expiration_days"] is None:
        return "newer_noncurrent_versions needs noncurrent_version_expiration_days. Add it."
    for one in transitions:
        least = _LEAST_DAYS.get(one["storage_class"], 0)
        if one["days"] < least:
            return f"objects move to {one['storage_class']} after {least} days at the earliest. Raise days to that."
    for moves, ends in (
        ("transitions", "expiration_days"),
        ("noncurrent_version_transitions", "noncurrent_version_expiration_days"),
    ):
        if rule[ends] is not None and any(one["days"] >= rule[ends] for one in rule[moves] or []):
            return f"{ends} is not later than the last of {moves}. Raise it."
    return ""


def plan(aws: Aws, params: Mapping, current: Mapping | None) -> list[Change]:
    label = resource(aws.fill(params["name"]))
    if params["state"] == "absent":
        if current is None:
            return []
        if is_foreign(current["tags"], params["tags"]):
            return [leave_foreign(label, current["tags"])]
        if not current.get("empty", True):
            raise Refused(f"{label} is not empty. Set force: true to delete what is in it, for good.")
        note = "all objects in it are deleted, in all versions" if params["force"] else ""
        return [delete(label, current, note=note)]
    if current is not None:
        refuse_foreign(label, current["tags"], params)
    _refuse_impossible(label, params)
    wanted = desired(aws, params, current)
    if current is None:
        return [create(label, wanted)]
    rules = wanted.get("lifecycle_rules", {})
    return [_deleting(change, current, rules) for change in update(label, current, wanted)]


def _deleting(change: Change, current: Mapping, wanted: Mapping) -> Change:
    """A lifecycle rule that begins to delete, or deletes sooner or more than before: what that takes is gone for good.

    ``wanted`` are the bucket's rules as they shall be. What a rule that is not in force would delete, it does not.
    """
    name, _, option = change.path.removeprefix("lifecycle_rules.").rpartition(".")
    rule, known = wanted.get(name), current.get("lifecycle_rules", {}).get(name)
    if not change.path.startswith("lifecycle_rules.") or rule is None or not rule["enabled"]:
        return change
    notes = {one: text.format(days=rule[one]) for one, text in _DELETES.items() if rule[one] is not None}
    if option in _DELETES:
        more = change.after is not None and (change.before is None or change.after < change.before)
        notes = {option: notes.get(option, "")}
    elif option == "newer_noncurrent_versions":
        more = (change.after or 0) < (change.before or 0)
        notes.pop("expiration_days", None)
    elif option == "prefix":
        more = not change.after.startswith(change.before or "")
    elif option == "object_size_greater_than":
        more = change.after is None or (change.before is not None and change.after < change.before)
    elif option == "object_size_less_than":
        more = change.after is None or (change.before is not None and change.after > change.before)
    else:
        more = option in ("enabled", "Filter")  # such as a filter by tags, which is taken away
    if (known is None and option not in _DELETES) or not more or not notes:
        return change
    return replace(change, impact=DISRUPTIVE, note="; ".join(notes.values()))


def apply(aws: Aws, params: Mapping, current: Mapping | None, changes: Sequence[Change], say: Say) -> None:
    s3, bucket = aws.client("s3"), _bucket(aws, params)
    if changes[0].action == "delete":
        _delete(aws, params, say)
        return
    wanted = desired(aws, params, current)
    paths = {change.path.split(".")[0] for change in changes}
    if changes[0].action == "create":
        _create(aws, params, wanted, say)
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
            # how small an object may be that the transitions move is not ours to undo
            there = _asked(s3, "get_bucket_lifecycle_configuration", bucket) if current else {}
            kept = {key: there[key] for key in ("TransitionDefaultMinimumObjectSize",) if key in there}
            s3.put_bucket_lifecycle_configuration(**bucket, LifecycleConfiguration={"Rules": rules}, **kept)
        else:
            s3.delete_bucket_lifecycle(**bucket)
    if "logging" in paths:
        there = _asked(s3, "get_bucket_logging", bucket) if current and wanted["logging"] else {}
        status = _logging_argument(wanted["logging"], there.get("LoggingEnabled", {}))
        s3.put_bucket_logging(**bucket, BucketLoggingStatus=status)
    if "tags" in paths:
        s3.put_bucket_tagging(**bucket, Tagging={"TagSet": ansible_dict_to_boto3_tag_list(wanted["tags"])})


def _logging_argument(wanted: Mapping | None, there: Mapping) -> dict[str, Any]:
    """Besides what is wanted, how the logs' keys are made stays as it is, and who may read them in the same bucket."""
    if wanted is None:
        return {}
    target = {"TargetBucket": wanted["target_bucket"], "TargetPrefix": wanted["target_prefix"]}
    if there.get("TargetBucket") != target["TargetBucket"]:
        there = {key: value for key, value in there.items() if key != "TargetGrants"}
    return {"LoggingEnabled": {**there, **target}}


def _encryption_rule(aws: Aws, params: Mapping) -> dict[str, Any]:
    answer = _asked(aws.client("s3"), "get_bucket_encryption", _bucket(aws, params))
    return dict(answer["ServerSideEncryptionConfiguration"]["Rules"][0]) if answer else {}


def _asked(s3: Any, operation: str, bucket: Mapping) -> Mapping:
    """What S3 answers, and nothing where nothing is configured."""
    try:
        return getattr(s3, operation)(**bucket)
    except s3.exceptions.ClientError as error:
        if error_code(error) in _NONE:
            return {}
        raise


def _create(aws: Aws, params: Mapping, wanted: Mapping, say: Say) -> None:
    """Make it with its tags, so that there is no moment in which it is nobody's."""
    s3, name = aws.client("s3"), aws.fill(params["name"])
    configuration: dict[str, Any] = {}
    if aws.region != "us-east-1":  # which must not be named
        configuration["LocationConstraint"] = aws.region
    if wanted.get("tags"):
        configuration["Tags"] = ansible_dict_to_boto3_tag_list(wanted["tags"])
    arguments = {"CreateBucketConfiguration": configuration} if configuration else {}
    try:
        # the name of a bucket that was just deleted is free some time later
        # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        patiently(lambda: s3.create_bucket(Bucket=name, **arguments), ("OperationAborted",), say)
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
    there = current or {"name": name, "arn": arn(aws, params), "tags": {}}
    return {"bucket": predicted(there, desired(aws, params, current))}
