"""Verdicts on a deployment, and what UpdateService is sent: pure."""

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import aws, ecs_service
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_rollout import (
    DONE,
    FAILED,
    OVERTAKEN,
    WAITING,
    judge,
    serving,
)
from botocore.exceptions import ClientError


def deployment(name, status="PRIMARY", state="IN_PROGRESS", running=1, desired=1, reason=""):
    return {
        "id": name,
        "status": status,
        "rolloutState": state,
        "rolloutStateReason": reason,
        "taskDefinition": f"arn:aws:ecs:r:1:task-definition/f:{name}",
        "runningCount": running,
        "desiredCount": desired,
    }


def service(*deployments, running=1, desired=1, status="ACTIVE", events=()):
    return {
        "status": status,
        "runningCount": running,
        "desiredCount": desired,
        "deployments": list(deployments),
        "events": [{"id": str(i), "message": message} for i, message in enumerate(events)],
    }


BACK = "ECS deployment circuit breaker: rolling back to deploymentId 2."

VERDICTS = {
    "under way": (service(deployment("1")), WAITING),
    "completed": (service(deployment("1", state="COMPLETED")), DONE),
    "completed, then scaled in, and a task is protected": (
        service(deployment("1", state="COMPLETED"), running=2),
        DONE,
    ),
    "completed, then scaled out": (service(deployment("1", state="COMPLETED"), desired=2), WAITING),
    "failed, nothing to roll back to": (service(deployment("1", state="FAILED")), FAILED),
    "rolling back": (service(deployment("2", reason=BACK), deployment("1", "ACTIVE", "FAILED")), FAILED),
    "rolling back, ours gone already": (service(deployment("2", reason=BACK)), FAILED),
    "rolled back before the first look": (
        service(
            deployment("2", state="COMPLETED", reason="ECS deployment 2 completed."),
            events=["(service s) (deployment 1) deployment failed: tasks failed to start."],
        ),
        FAILED,
    ),
    "overtaken": (service(deployment("2"), deployment("1", "ACTIVE")), OVERTAKEN),
    "overtaken and gone": (service(deployment("2", state="COMPLETED")), OVERTAKEN),
    "deleted": (service(deployment("1"), status="DRAINING"), FAILED),
    "vanished": (None, FAILED),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdict(case):
    described, verdict = VERDICTS[case]
    assert judge(described, "1")[0] == verdict


def test_a_deployment_without_rollout_state_is_finished_when_it_is_alone():
    lone = deployment("1")
    del lone["rolloutState"]
    assert judge(service(lone), "1")[0] == DONE
    assert judge(service(lone, deployment("0", "ACTIVE")), "1")[0] == WAITING


def test_what_serves_leaves_the_failed_one_out():
    both = service(deployment("2", running=1, desired=2), deployment("1", "ACTIVE", "FAILED", running=1))
    assert serving(both, "1") == "f:2 (1 of 2 tasks)"
    assert serving(service()) == "nothing, no task is running"


def test_a_group_of_settings_is_sent_whole_with_what_we_do_not_manage():
    raw = {
        "deploymentConfiguration": {
            "alarms": {"alarmNames": ["a"], "enable": True, "rollback": True},
            "deploymentCircuitBreaker": {"enable": False, "rollback": False, "resetOnHealthyTask": True},
            "maximumPercent": 200,
        }
    }
    fields = {
        "minimum_healthy_percent": 50,
        "maximum_percent": 200,
        "circuit_breaker": {"enable": True, "rollback": True, "reset_on_healthy_task": True},
    }
    assert ecs_service.service_arguments(fields, {"minimum_healthy_percent", "circuit_breaker"}, raw) == {
        "deploymentConfiguration": {
            "alarms": {"alarmNames": ["a"], "enable": True, "rollback": True},
            "deploymentCircuitBreaker": {"enable": True, "rollback": True, "resetOnHealthyTask": True},
            "minimumHealthyPercent": 50,
            "maximumPercent": 200,
        }
    }


def test_back_to_a_launch_type_is_an_empty_strategy():
    assert ecs_service.service_arguments({"capacity_provider_strategy": {}}, {"capacity_provider_strategy"}, {}) == {
        "capacityProviderStrategy": []
    }


def refusal(message):
    return ClientError({"Error": {"Code": "InvalidParameterException", "Message": message}}, "CreateService")


def test_what_was_created_seconds_ago_is_waited_for(monkeypatch):
    monkeypatch.setattr(aws.time, "sleep", lambda _: None)
    answers = [refusal("Unable to assume the service linked role."), {"service": 1}]

    def call():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert aws.patiently(call, ecs_service.NOT_YET, print) == {"service": 1}
    answers[:] = [refusal("subnets can not be empty."), {"service": 1}]
    with pytest.raises(ClientError):
        aws.patiently(call, ecs_service.NOT_YET, print)
