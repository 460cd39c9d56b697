"""Task scale-in protection: the API, the agent's endpoint in the containers, and what ECS then leaves alone."""

import datetime
import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from ecs_stack import ROLE, eventually, stack_fixture  # noqa: F401 - used as `stack`

HELD_UP = "The number of protected tasks are more than the desired count of tasks."


@pytest.fixture(scope="module")
def definition(stack) -> str:
    return stack.register(stack.container('echo "$ECS_AGENT_URI"; exec sleep 600'), taskRoleArn=ROLE)


def running(stack, name: str, count: int) -> list[str]:
    """ARNs of the service's tasks, the oldest first, once so many run."""
    eventually(lambda: stack.service(name)["runningCount"] == count)
    return [task["taskArn"] for task in sorted(stack.tasks(name), key=lambda task: task["createdAt"])]


def protect(stack, *tasks: str, enabled: bool = True, **more) -> dict:
    return stack.ecs.update_task_protection(cluster=stack.cluster, tasks=list(tasks), protectionEnabled=enabled, **more)


def protected(stack, task: str) -> bool:
    (found,) = stack.ecs.get_task_protection(cluster=stack.cluster, tasks=[task])["protectedTasks"]
    return found["protectionEnabled"]


def agent(stack, task: str, body=None) -> tuple[int, dict]:
    """What the endpoint answers to a GET, or to a PUT of this body."""
    uri = eventually(lambda: stack.printed(task))[0]
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{uri}/task-protection/v1/state", data, method="GET" if data is None else "PUT")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_task_protects_itself_through_the_agent(stack, definition):
    name = stack.create(definition)
    (task,) = running(stack, name, 1)
    nothing = {"ExpirationDate": None, "ProtectionEnabled": False, "TaskArn": task}
    assert agent(stack, task) == (200, {"protection": nothing})
    before = datetime.datetime.now(datetime.UTC)
    status, answer = agent(stack, task, {"ProtectionEnabled": True})
    assert status == 200
    assert answer == {"protection": {**nothing, "ProtectionEnabled": True,
                                     "ExpirationDate": answer["protection"]["ExpirationDate"]}}  # fmt: skip
    expires = datetime.datetime.fromisoformat(answer["protection"]["ExpirationDate"])
    # 120 minutes, of which this sandbox makes seconds
    assert datetime.timedelta(seconds=110) < expires - before < datetime.timedelta(seconds=150)
    assert agent(stack, task) == (200, answer)
    (found,) = stack.ecs.get_task_protection(cluster=stack.cluster, tasks=[task])["protectedTasks"]
    assert (found["taskArn"], found["protectionEnabled"]) == (task, True)
    assert found["expirationDate"].replace(microsecond=0) == expires
    assert agent(stack, task, {"ProtectionEnabled": False}) == (200, {"protection": nothing})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", "failed to decode request"),
        ([], "failed to decode request"),
        ({"ProtectionEnabled": True, "Other": 1}, "failed to decode request"),
        ({"ProtectionEnabled": True, "ExpiresInMinutes": "5"}, "failed to decode request"),
        ({"ExpiresInMinutes": 5}, "does not contain 'ProtectionEnabled' field"),
        ({"ProtectionEnabled": True, "ExpiresInMinutes": 2881}, "between 1 and 2880"),
    ],
)
def test_the_agent_refuses_what_it_does_not_understand(stack, standalone, body, words):
    status, answer = agent(stack, standalone, body)
    assert (status, answer["error"]["Code"]) == (400, "InvalidParameterException")
    assert words in answer["error"]["Message"]


@pytest.fixture(scope="module")
def standalone(stack, definition) -> str:
    task = stack.run(definition)
    stack.reached(task, "RUNNING")
    return task


def test_refusals(stack, definition, standalone):
    for minutes in (0, 2881):
        with pytest.raises(ClientError, match="InvalidParameterException"):
            protect(stack, standalone, expiresInMinutes=minutes)
    with pytest.raises(ClientError, match="more than 10 elements"):
        protect(stack, *([standalone] * 11))
    reasons = {failure["arn"]: failure["reason"] for failure in protect(stack, standalone, "x")["failures"]}
    assert reasons[standalone] == "TASK_NOT_VALID"
    assert sorted(reasons.values()) == ["MISSING", "TASK_NOT_VALID"]
    failure = {"Arn": standalone, "Detail": None, "Reason": "TASK_NOT_VALID"}
    assert agent(stack, standalone, {"ProtectionEnabled": True}) == (200, {"failure": failure})
    bare = stack.run(stack.register(stack.container('echo "$ECS_AGENT_URI"; exec sleep 600')))
    stack.reached(bare, "RUNNING")
    status, answer = agent(stack, bare)
    assert (status, answer["error"]["Code"]) == (403, "AccessDeniedException")
    name = stack.create(definition)
    (task,) = running(stack, name, 1)
    stack.ecs.stop_task(cluster=stack.cluster, task=task)
    assert [failure["reason"] for failure in protect(stack, task)["failures"]] == ["TASK_NOT_VALID"]


def test_scaling_in_leaves_protected_tasks_alone(stack, definition):
    name = stack.create(definition, 3)
    first, second, third = running(stack, name, 3)
    assert protect(stack, first, second)["failures"] == []
    stack.update(name, desiredCount=1)
    stack.reached(third, "STOPPED")
    eventually(lambda: HELD_UP in stack.messages(name)[0])
    assert [task["lastStatus"] for task in stack.tasks(name)] == ["RUNNING", "RUNNING"]
    # more would be protected than the service is to have
    assert [failure["reason"] for failure in protect(stack, first)["failures"]] == ["DEPLOYMENT_BLOCKED"]
    protect(stack, first, enabled=False)
    stack.reached(first, "STOPPED")
    assert protect(stack, second)["failures"] == []
    stack.update(name, desiredCount=0)
    eventually(lambda: sum(HELD_UP in message for message in stack.messages(name)) == 2)
    protect(stack, second, enabled=False)
    assert stack.reached(second, "STOPPED")["stopCode"] == "ServiceSchedulerInitiated"


def test_protection_expires(stack, definition):
    name = stack.create(definition)
    (task,) = running(stack, name, 1)
    protect(stack, task, expiresInMinutes=3)
    assert protected(stack, task)
    stack.update(name, desiredCount=0)
    stack.reached(task, "STOPPED")


def test_a_deployment_waits_for_protected_tasks(stack, definition):
    name = stack.create(definition)
    (old,) = running(stack, name, 1)
    stack.completed(name)
    protect(stack, old)
    deployment = stack.update(name, forceNewDeployment=True)["deployments"][0]["id"]
    eventually(lambda: HELD_UP in stack.messages(name)[0])
    service = stack.service(name)
    assert (service["runningCount"], service["desiredCount"]) == (2, 1)
    assert service["deployments"][0]["id"] == deployment
    assert service["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert stack.task(old)["desiredStatus"] == "RUNNING"
    protect(stack, old, enabled=False)
    stack.completed(name)
    assert stack.task(old)["desiredStatus"] == "STOPPED"


@pytest.mark.parametrize("how", ["StopTask", "DeleteService"])
def test_whoever_asks_for_the_end_of_a_task_gets_it(stack, definition, how):
    """Protection is against scaling in and deployments only."""
    name = stack.create(definition)
    (task,) = running(stack, name, 1)
    protect(stack, task)
    if how == "StopTask":
        stack.ecs.stop_task(cluster=stack.cluster, task=task)
    else:
        stack.ecs.delete_service(cluster=stack.cluster, service=name, force=True)
    stack.reached(task, "STOPPED")
    assert not any(HELD_UP in message for message in stack.messages(name))
