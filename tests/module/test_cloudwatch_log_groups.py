import time

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}


@pytest.fixture
def logs(sandbox):
    return sandbox.client("logs")


def group(logs, name):
    found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return next((item for item in found if item["logGroupName"] == name), None)


def test_create_and_drift(quartet, module, logs):
    args = {"log_groups": [{"name": "/t/one", "retention_in_days": 7}, {"name": "/t/one/more"}], "tags": TAGS}
    result = quartet("cloudwatch_log_groups", args)
    assert [change["action"] for change in result["changes"]] == ["create", "create"]
    assert group(logs, "/t/one")["retentionInDays"] == 7

    logs.put_retention_policy(logGroupName="/t/one", retentionInDays=30)
    logs.tag_resource(resourceArn=result["log_groups"]["/t/one"]["arn"], tags={"extra": "yes"})
    changes = quartet("cloudwatch_log_groups", args)["changes"]
    assert {(c["path"], c["before"], c["after"]) for c in changes} == {
        ("retention_in_days", 30, 7),
        ("tags.extra", "yes", None),
    }


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
