"""Findings from facts that were recorded of a sound stack in the sandbox, and broken one by one. Pure."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import diagnosis

RECORDED = json.loads((Path(__file__).parent / "diagnosis_facts.json").read_text())
COMMANDS = diagnosis.Commands("inventories/dev", "nexus-learn-cluster")
BACKEND, WORKER, BEAT = (f"nexus-learn-{name}-service" for name in ("backend", "celery-worker", "celery-beat"))
NOW = RECORDED["now"]


def found(facts) -> list[dict]:
    return diagnosis.findings(facts, COMMANDS)


def causes(facts) -> list[tuple]:
    return [(one["cause"], one["because_of"]) for one in found(facts)]


@pytest.fixture
def facts():
    return copy.deepcopy(RECORDED)


def stop(facts, name, why, code="EssentialContainerExited", log=(), seconds=60, **container) -> dict:
    """Let one more task of a service's present deployment have stopped."""
    task = copy.deepcopy(next(one for one in facts["tasks"] if one["group"] == f"service:{name}"))
    task |= {
        "taskArn": f"{task['taskArn']}{len(facts['tasks'])}",
        "desiredStatus": "STOPPED",
        "lastStatus": "STOPPED",
        "stopCode": code,
        "stoppedReason": why,
        "stoppedAt": NOW - seconds,
    }
    task["containers"][0] |= container
    facts["tasks"].append(task)
    facts["logs"][task["taskArn"]] = list(log)
    return task


def undo(facts, name) -> None:
    """Let the last deployment have been rolled back."""
    last = {**facts["deployments"][name][0], "status": "ROLLBACK_SUCCESSFUL", "createdAt": NOW - 500}
    facts["deployments"][name].insert(0, last | {"finishedAt": NOW - 100, "statusReason": "tasks failed to start."})


def inside(facts, **parts) -> None:
    facts["inside"] |= parts


def definition(facts, name) -> dict:
    arn = facts["services"][name]["taskDefinition"]
    return facts["definitions"][arn]["containerDefinitions"][0]


def consume(facts, queues) -> None:
    container = definition(facts, WORKER)
    container["command"] = [
        f"--queues={queues}" if word.startswith("--queues=") else word for word in container["command"]
    ]


def event(facts, member, message, seconds) -> None:
    source = {"SourceIdentifier": member, "SourceType": "cache-cluster", "Message": message, "Date": NOW - seconds}
    facts["redis"]["events"].append(source)


def primary_node(facts) -> str:
    members = facts["redis"]["NodeGroups"][0]["NodeGroupMembers"]
    return next(one["CacheClusterId"] for one in members if one["CurrentRole"] == "primary")


def groups(facts, name) -> dict:
    return next(one for one in facts["security_groups"].values() if one["GroupName"] == name)


def secret(facts) -> dict:
    return next(iter(facts["secrets"].values()))


def scale(facts, *counts) -> None:
    facts["activities"][WORKER] = [
        {"Description": f"Setting desired count to {count}.", "Cause": "alarm", "StatusCode": "Successful",
         "StartTime": NOW - 1000 + 10 * place}
        for place, count in enumerate(counts)
    ]  # fmt: skip


def differ(facts, resource, path, before, after) -> None:
    facts["differences"].append(
        {"resource": resource, "action": "update", "path": path, "before": before, "after": after}
    )


def run_beat_beside(facts) -> None:
    beat = next(one for one in facts["tasks"] if one["group"] == f"service:{BEAT}")
    facts["tasks"].append({**beat, "taskArn": f"{beat['taskArn']}2", "group": "family:nexus-learn-celery-beat"})


CASES = {
    "redis_missing": lambda f: f.update(redis=[]),
    "service_missing": lambda f: f["services"].pop(BEAT),
    "failover_failed": lambda f: event(f, primary_node(f), "Recovering cache nodes 0001", 60),
    "security_group_closed": lambda f: groups(f, "nexus-learn-redis")["IpPermissions"].clear(),
    "another_vpc": lambda f: f["redis"].update(vpcs={"nexus-learn-redis": "vpc-other"}),
    "secret_incomplete": lambda f: secret(f).update(keys=["auth_token"], url=None),
    "tls_mismatch": lambda f: secret(f)["url"].update(scheme="redis"),
    "wrong_redis_url": lambda f: secret(f)["url"].update(host="redis.example.com"),
    "wrong_token": lambda f: inside(f, errors={"redis": "AuthenticationError"}),
    "redis_full": lambda f: f["inside"]["redis"].update(used_memory=99, maxmemory=100),
    "log_group_missing": lambda f: f["log_groups"].update({"/ecs/nexus-learn/celery-beat": False}),
    "image_not_found": lambda f: stop(f, BEAT, "CannotPullContainerError: not found", "TaskFailedToStart"),
    "out_of_memory": lambda f: stop(
        f, WORKER, "Essential container in task exited", exitCode=137, reason="OutOfMemoryError: Container killed"
    ),
    "wrong_queue_name": lambda f: stop(
        f, WORKER, "Essential container in task exited", exitCode=1,
        log=["Trying to select queue subset of ['lang'], but queue 'lang' isn't defined in the `task_queues` setting."],
    ),
    "crash_loop": lambda f: stop(f, WORKER, "Essential container in task exited", exitCode=1, log=["boom"]),
    "unhealthy": lambda f: stop(f, BEAT, "Task failed container health checks", "ServiceSchedulerInitiated"),
    "secret_unreadable": lambda f: stop(
        f, BEAT, "ResourceInitializationError: unable to pull secrets or registry auth: AccessDeniedException",
        "TaskFailedToStart",
    ),
    "redis_evicts": lambda f: next(iter(f["redis"]["parameters"].values())).clear(),
    "deployment_undone": lambda f: undo(f, WORKER),
    "scaled_to_zero": lambda f: f["services"][WORKER].update(desiredCount=0),
    "beat_dead": lambda f: f["services"][BEAT].update(desiredCount=0),
    "tasks_missing": lambda f: f["services"][WORKER].update(
        runningCount=0, events=[{"message": "(service w) was unable to place a task.", "createdAt": NOW - 60}]
    ),
    "beat_doubled": run_beat_beside,
    "beat_silent": lambda f: inside(f, beat={"refresh-courses": {"last_run": 2000, "interval": 900}}),
    "no_consumer": lambda f: (consume(f, "langgraph"), inside(f, consumers={"langgraph": 1, "embeddings": 0})),
    "workers_silent": lambda f: inside(f, consumers={"langgraph": 1, "embeddings": 0}),
    "workers_hang": lambda f: inside(f, workers={"listening": 2, "answering": 1}),
    "messages_stuck": lambda f: inside(f, unacked={"messages": 1, "oldest": 60, "lost": 1, "oldest_lost": 60}),
    "scaling_storm": lambda f: scale(f, 2, 1, 2, 1, 2, 1),
    "targets_unhealthy": lambda f: next(iter(f["target_health"].values()))[0].update(
        TargetHealth={"State": "unhealthy", "Reason": "Target.Timeout", "Description": "Request timed out"}
    ),
    "alarm": lambda f: f["alarms"].append({"AlarmName": "nexus-learn-errors", "StateReason": "1 datapoint"}),
    "task_definition_drifted": lambda f: differ(f, f"service {WORKER}", "task_definition.memory", "4096", "2048"),
    "drift": lambda f: differ(f, "VPC nexus-learn", "tags.Project", "x", "y"),
    "secret_not_rolled_out": lambda f: differ(
        f, f"service {BEAT}", "task_definition.containers.celery-beat.environment.REDIS_SECRET_VERSION", "a", "b"
    ),
    "secret_not_rolled_out ": lambda f: differ(
        f, f"service {BEAT}", "task_definition.containers.celery-beat.docker_labels.secret-version/MAIL", "a", "b"
    ),
    "aws_throttles": lambda f: f["problems"].append({"read": "alarms", "kind": "throttled", "message": "Rate"}),
    "not_allowed": lambda f: f["problems"].append({"read": "alarms", "kind": "denied", "message": "AccessDenied"}),
    "aws_fails": lambda f: f["problems"].append({"read": "alarms", "kind": "failed", "message": "no route"}),
}  # fmt: skip


def test_a_sound_stack_has_no_findings(facts):
    assert found(facts) == []


@pytest.mark.parametrize("cause", CASES)
def test_one_thing_is_wrong(facts, cause):
    CASES[cause](facts)
    (finding, *more) = found(facts)
    assert (finding["cause"], finding["number"], finding["because_of"]) == (cause.strip(), 1, None)
    assert more == []
    assert all(finding[field] for field in ("resource", "text", "evidence", "command"))


@pytest.mark.parametrize("cause", CASES)
def test_what_could_not_be_read_is_no_error(facts, cause):
    CASES[cause](facts)
    for key in set(facts) - {"now", "expected", "problems"}:
        for nothing in [None, *([{}] if isinstance(facts[key], dict) else [])]:
            found({**copy.deepcopy(facts), key: nothing})


def test_what_could_not_be_read_is_no_finding(facts):
    for key in set(facts) - {"now", "expected", "problems"}:
        assert found({**copy.deepcopy(facts), key: None}) == [], key


def test_a_cause_stands_above_what_follows_from_it(facts):
    """And what does not follow from it stands by itself."""
    CASES["beat_doubled"](facts)
    CASES["security_group_closed"](facts)
    stop(facts, WORKER, "Task failed container health checks", "ServiceSchedulerInitiated")
    inside(facts, consumers={"langgraph": 0, "embeddings": 0})
    differ(facts, "security group nexus-learn-redis", "ingress", [], ["tcp 6379"])
    assert causes(facts) == [
        ("security_group_closed", None),
        ("unhealthy", 1),
        ("workers_silent", 1),
        ("workers_silent", 1),
        ("drift", 1),
        ("beat_doubled", None),
    ]


def test_symptoms_of_another_service_are_not_explained(facts):
    CASES["image_not_found"](facts)
    stop(facts, WORKER, "Essential container in task exited", exitCode=1)
    assert causes(facts) == [("image_not_found", None), ("crash_loop", None)] or causes(facts) == [
        ("crash_loop", None),
        ("image_not_found", None),
    ]


def test_a_failure_that_the_service_has_got_over_is_history(facts):
    stop(facts, WORKER, "Essential container in task exited", exitCode=1, seconds=500)
    facts["services"][WORKER]["events"].insert(0, {"message": "has reached a steady state.", "createdAt": NOW - 400})
    assert found(facts) == []
    for seconds in (450, 1000):
        stop(facts, WORKER, "Essential container in task exited", exitCode=1, seconds=seconds)
    assert causes(facts) == [("crash_loop", None)], "again and again is no history"


def test_tasks_that_were_told_to_stop_have_not_failed(facts):
    stop(facts, WORKER, "Scaling activity initiated by (deployment ecs-svc/1)", "ServiceSchedulerInitiated")
    stop(facts, WORKER, "Task stopped by user", "UserInitiated")
    assert found(facts) == []


def test_what_was_undone_is_told_with_its_cause(facts):
    task = stop(facts, BEAT, "CannotPullContainerError: not found", "TaskFailedToStart", seconds=200)
    task |= {"startedBy": "ecs-svc/gone", "createdAt": NOW - 300}
    undo(facts, BEAT)
    assert causes(facts) == [("image_not_found", None), ("deployment_undone", 1)]
    task |= {"stoppedReason": "Essential container in task exited", "stopCode": "EssentialContainerExited"}
    facts["logs"][task["taskArn"]] = ["boom"]
    (finding,) = found(facts)
    assert finding["cause"] == "deployment_undone"
    assert '"boom"' in finding["evidence"]
    # what serves is what the inventory asks for: a run of site.yml would find nothing to do, and leave it as it is
    assert finding["command"].endswith("playbooks/restart.yml -i inventories/dev -e service=celery-beat")
    facts["differences"].append(
        {"resource": f"service {BEAT}", "action": "update", "path": "desired_count", "before": 0, "after": 1}
    )
    assert found(facts)[0]["command"].endswith("site.yml -i inventories/dev --tags ecs_celery_beat")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "consumer: Cannot connect to rediss://:**@redis:6379/0: Error 111 connecting to redis:6379.",
            "cannot_connect",
        ),
        ("consumer: Cannot connect to rediss://:**@redis:6379/0: invalid username-password pair.", "wrong_token"),
    ],
)
def test_a_task_that_has_lost_redis_says_so_until_it_is_back(facts, line, cause):
    task = next(one for one in facts["tasks"] if one["group"] == f"service:{WORKER}")
    facts["logs"][task["taskArn"]].append(line)
    assert causes(facts)[0] == (cause, None)
    facts["logs"][task["taskArn"]].append("INFO MainProcess Connected to rediss://:**@redis:6379/0")
    assert found(facts) == []


def test_a_recovery_that_has_ended_is_no_finding(facts):
    event(facts, primary_node(facts), "Recovering cache nodes 0001", 60)
    event(facts, primary_node(facts), "Finished recovery for cache nodes 0001", 30)
    assert found(facts) == []


def test_a_lost_node_without_failover_says_so(facts):
    event(facts, primary_node(facts), "Recovering cache nodes 0001", 60)
    facts["redis"]["AutomaticFailover"] = "disabled"
    (finding,) = found(facts)
    assert finding["cause"] == "redis_node_down"
    assert "automatic failover is off" in finding["text"]


def test_both_the_metrics_and_redis_itself_tell_that_it_is_full(facts):
    facts["redis"]["metrics"] = {"DatabaseMemoryUsagePercentage": 99.0}
    assert causes(facts) == [("redis_full", None)]


def test_off_at_night_is_not_scaled_to_zero_by_hand(facts):
    facts["services"][WORKER]["desiredCount"] = 0
    inside(facts, consumers={"langgraph": 0, "embeddings": 0})
    assert causes(facts) == [("scaled_to_zero", None)]
    (finding,) = found(facts)
    assert finding["command"].endswith("playbooks/scale.yml -i inventories/dev -e service=celery-worker -e count=1")
    for target in facts["scalable_targets"]:
        target |= {"MinCapacity": 0, "MaxCapacity": 0}
    assert found(facts) == []
    facts["inside"]["queues"]["embeddings"] = 7
    assert causes(facts) == [("workers_silent", None)]


def test_scaling_out_and_back_once_is_no_storm(facts):
    scale(facts, 1, 3, 5, 4, 1)
    assert found(facts) == []


def test_messages_that_nobody_will_give_out_again_need_a_restart(facts):
    inside(facts, unacked={"messages": 1, "oldest": 900, "lost": 0, "oldest_lost": 0})
    (finding,) = found(facts)
    assert "playbooks/restart.yml" in finding["command"]


def test_a_rule_for_all_protocols_or_for_addresses_lets_in(facts):
    group = groups(facts, "nexus-learn-redis")
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [], "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
    group["IpPermissions"] = [rule]
    assert found(facts) == []
    group["IpPermissions"] = [{**rule, "IpProtocol": "tcp", "FromPort": 80, "ToPort": 90}]
    assert [cause for cause, _ in causes(facts)] == ["security_group_closed"]


def test_a_url_loses_its_password():
    assert diagnosis.where("rediss://:secret@host:6380/0?ssl_cert_reqs=required") == {
        "scheme": "rediss",
        "host": "host",
        "port": 6380,
    }
    assert diagnosis.where("nonsense") is diagnosis.where(None) is diagnosis.where("redis://host:port") is None
