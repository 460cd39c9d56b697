import time

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_log_groups import prefixes

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}


@pytest.fixture
def logs(sandbox):
    return sandbox.client("logs")


def group(logs, name):
    found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return next((item for item in found if item["logGroupName"] == name), None)


def test_retention_and_key_given_up(quartet, logs):
    key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    one = {"name": "/t/up", "retention_in_days": 7, "kms_key_id": key}
    quartet("cloudwatch_log_groups", {"log_groups": [one, {"name": "/t/up/more"}], "tags": TAGS})
    assert (group(logs, "/t/up")["retentionInDays"], group(logs, "/t/up")["kmsKeyId"]) == (7, key)
    never = {"name": "/t/up", "retention_in_days": 0, "kms_key_id": ""}
    changes = quartet("cloudwatch_log_groups", {"log_groups": [never], "tags": TAGS})["changes"]
    assert {(c["path"], c["before"], c["after"]) for c in changes} == {
        ("retention_in_days", 7, None),
        ("kms_key_id", key, None),
    }
    assert not {"retentionInDays", "kmsKeyId"} & group(logs, "/t/up").keys()


def test_another_class_is_refused(quartet, module, logs, calls):
    one = {"name": "/t/class", "log_group_class": "INFREQUENT_ACCESS"}
    quartet("cloudwatch_log_groups", {"log_groups": [one], "tags": TAGS})
    assert group(logs, "/t/class")["logGroupClass"] == "INFREQUENT_ACCESS"
    calls.clear()
    other = {"log_groups": [{**one, "log_group_class": "STANDARD", "retention_in_days": 7}], "tags": TAGS}
    message = module("cloudwatch_log_groups", other, expect_failure=True)["msg"]
    assert "of the class INFREQUENT_ACCESS" in message
    assert "would lose the logs" in message
    assert calls.writes == []


def test_a_protected_log_group_is_deleted_on_purpose_only(quartet, module, logs, calls):
    one = {"name": "/t/protected", "deletion_protection_enabled": True}
    quartet("cloudwatch_log_groups", {"log_groups": [one], "tags": TAGS})
    calls.clear()
    absent = {"log_groups": [{"name": "/t/protected"}], "tags": TAGS, "state": "absent"}
    message = module("cloudwatch_log_groups", absent, expect_failure=True)["msg"]
    assert "protected from deletion" in message
    assert calls.writes == []
    absent["log_groups"][0]["deletion_protection_enabled"] = False
    quartet("cloudwatch_log_groups", absent)
    assert group(logs, "/t/protected") is None


def test_a_run_without_changes_describes_many_in_one_call(module, logs, calls):
    names = [f"/t/many/{number}" for number in range(20)]
    wanted = {"log_groups": [{"name": name, "retention_in_days": 7} for name in names], "tags": TAGS}
    module("cloudwatch_log_groups", wanted)
    calls.clear()
    assert module("cloudwatch_log_groups", wanted)["changes"] == []
    assert [operation for _, operation in calls] == ["DescribeLogGroups", *["ListTagsForResource"] * 20]


def test_what_describe_asks_for():
    assert prefixes(["/ecs/a/x", "/ecs/a/yy", "/ecs/ab/x", "/top", "one", "other"]) == [
        "/ecs/a/",
        "/ecs/ab/x",
        "/top",
        "one",
        "other",
    ]


def test_adopt_takes_over_exactly_what_differs(module, left_alone, logs, calls):
    theirs = {"Project": "nexus-learn", "Environment": "prod", "Theirs": "1"}
    logs.create_log_group(logGroupName="/t/adopt", tags=theirs)
    logs.put_retention_policy(logGroupName="/t/adopt", retentionInDays=30)
    created = group(logs, "/t/adopt")["creationTime"]
    wanted = {"log_groups": [{"name": "/t/adopt", "retention_in_days": 7}], "tags": TAGS}
    calls.clear()
    assert "adopt" in module("cloudwatch_log_groups", wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": ["log group /t/adopt"]}
    assert len(left_alone("cloudwatch_log_groups", adopting)) == 1
    foretold = module("cloudwatch_log_groups", adopting, check=True)["changes"]
    assert {(c["action"], c["path"]) for c in foretold} == {
        ("update", "retention_in_days"),
        ("update", "tags.Environment"),
        ("update", "tags.ManagedBy"),
        ("update", "tags.Theirs"),
    }
    assert module("cloudwatch_log_groups", adopting)["changes"] == foretold
    assert module("cloudwatch_log_groups", wanted, check=True)["changes"] == []
    assert group(logs, "/t/adopt")["creationTime"] == created


def test_retention_changes_keep_the_events(quartet, logs):
    quartet("cloudwatch_log_groups", {"log_groups": [{"name": "/t/keep", "retention_in_days": 7}], "tags": TAGS})
    logs.create_log_stream(logGroupName="/t/keep", logStreamName="s")
    now = int(time.time() * 1000)
    logs.put_log_events(
        logGroupName="/t/keep", logStreamName="s", logEvents=[{"timestamp": now, "message": "still here"}]
    )
    quartet("cloudwatch_log_groups", {"log_groups": [{"name": "/t/keep", "retention_in_days": 2192}], "tags": TAGS})
    events = logs.get_log_events(logGroupName="/t/keep", logStreamName="s", startFromHead=True)["events"]
    assert [event["message"] for event in events] == ["still here"]


def test_somebody_elses_log_group_is_refused(module, logs):
    logs.create_log_group(logGroupName="/t/foreign", tags={"Project": "nexus-learn", "Environment": "prod"})
    result = module(
        "cloudwatch_log_groups",
        {"log_groups": [{"name": "/t/foreign", "retention_in_days": 7}], "tags": TAGS},
        expect_failure=True,
    )
    assert "Environment=prod" in result["msg"]
    assert "name_prefix" in result["msg"]
    assert "retentionInDays" not in group(logs, "/t/foreign")


def test_absent(quartet, logs):
    quartet("cloudwatch_log_groups", {"log_groups": [{"name": "/t/gone"}], "tags": TAGS})
    quartet("cloudwatch_log_groups", {"log_groups": [{"name": "/t/gone"}], "tags": TAGS, "state": "absent"})
    assert group(logs, "/t/gone") is None


def test_absent_leaves_somebody_elses_log_group_alone(left_alone, logs):
    logs.create_log_group(logGroupName="/t/theirs", tags={"Project": "nexus-learn", "Environment": "prod"})
    (warning,) = left_alone("cloudwatch_log_groups", {"log_groups": [{"name": "/t/theirs"}], "tags": TAGS})
    assert warning.startswith("log group /t/theirs is left alone")
    assert "Environment=prod" in warning


def test_absent_finds_log_groups_by_their_beginning_and_tags(quartet, module, logs):
    names = ["/t/star/a", "/t/star/b", "/t/stars"]
    module("cloudwatch_log_groups", {"log_groups": [{"name": name} for name in names], "tags": TAGS})
    logs.create_log_group(logGroupName="/t/star/theirs", tags={"Project": "nexus-learn", "Environment": "prod"})
    logs.create_log_group(logGroupName="/t/star/nobodys")
    result = quartet("cloudwatch_log_groups", {"log_groups": [{"name": "/t/star/*"}], "tags": TAGS, "state": "absent"})
    assert [change["resource"] for change in result["changes"]] == ["log group /t/star/a", "log group /t/star/b"]
    assert len(result["warnings"]) == 2
    assert [name for name in (*names, "/t/star/theirs", "/t/star/nobodys") if group(logs, name)] == [
        "/t/stars",
        "/t/star/theirs",
        "/t/star/nobodys",
    ]


@pytest.mark.parametrize("more", [{"state": "present", "tags": TAGS}, {"state": "absent"}])
def test_a_beginning_needs_state_absent_and_tags(module, logs, calls, more):
    logs.create_log_group(logGroupName=f"/t/all/{len(more)}")
    calls.clear()
    message = module("cloudwatch_log_groups", {"log_groups": [{"name": "/t/all/*"}], **more}, expect_failure=True)[
        "msg"
    ]
    assert message.startswith("/t/all/* stands for several resources")
    assert calls.writes == []
