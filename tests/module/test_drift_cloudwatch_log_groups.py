"""Every option of cloudwatch_log_groups: changed by hand, seen as exactly that field, mended, nothing else moved."""

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "cloudwatch_log_groups"
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-55555555555{}"
TAGS = {"Project": "nexus-learn", "Environment": "test"}
NAME = "/drift/logs"
ARGUMENTS = {
    "log_groups": [
        {
            "name": NAME,
            "retention_in_days": 7,
            "kms_key_id": KEY.format(1),
            "log_group_class": "STANDARD",
            "deletion_protection_enabled": False,
        }
    ],
    "tags": TAGS,
}
LABEL = f"log group {NAME}"

# option -> (what somebody does by hand, what a check says of it)
CASES = {
    "log_groups.retention_in_days": (
        lambda logs, arn: logs.put_retention_policy(logGroupName=NAME, retentionInDays=30),
        {(LABEL, "retention_in_days")},
    ),
    "log_groups.retention_in_days removed": (
        lambda logs, arn: logs.delete_retention_policy(logGroupName=NAME),
        {(LABEL, "retention_in_days")},
    ),
    "log_groups.kms_key_id": (
        lambda logs, arn: logs.associate_kms_key(logGroupName=NAME, kmsKeyId=KEY.format(2)),
        {(LABEL, "kms_key_id")},
    ),
    "log_groups.kms_key_id removed": (
        lambda logs, arn: logs.disassociate_kms_key(logGroupName=NAME),
        {(LABEL, "kms_key_id")},
    ),
    "log_groups.deletion_protection_enabled": (
        lambda logs, arn: logs.put_log_group_deletion_protection(
            logGroupIdentifier=NAME, deletionProtectionEnabled=True
        ),
        {(LABEL, "deletion_protection_enabled")},
    ),
    "tags": (
        lambda logs, arn: logs.tag_resource(resourceArn=arn, tags={"more": "yes"}),
        {(LABEL, "tags.more")},
    ),
    "log_groups.name": (lambda logs, arn: logs.delete_log_group(logGroupName=NAME), {(LABEL, "create")}),
}
NO_FIELD = {
    "state": "says whether there is to be one at all",
    "log_groups.log_group_class": "AWS never changes it: another one is refused, in test_cloudwatch_log_groups.py",
}


@pytest.fixture(scope="module")
def logs(sandbox):
    return sandbox.client("logs")


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, logs, change, expected):
    arn = module(MODULE, ARGUMENTS)["log_groups"][NAME]["arn"]

    def snapshot():
        (group,) = logs.describe_log_groups(logGroupNamePrefix=NAME)["logGroups"] or [{}]
        tags = logs.list_tags_for_resource(resourceArn=arn)["tags"] if group else {}
        return {key: value for key, value in group.items() if key != "creationTime"}, tags

    drifts(module, MODULE, ARGUMENTS, snapshot, lambda: change(logs, arn), expected)


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
