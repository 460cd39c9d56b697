"""Roll-outs that several tasks have begun, followed by one: what site.yml does with the API and the workers."""

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ecs_examples import Stack


@pytest.fixture(scope="module")
def stack(sandbox):
    return Stack(sandbox)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ecs_rollout, "PAUSE", 0.1)


def begun(module, stack, *services):
    """What ecs_service tells of each service's deployment, begun by a task of its own and not waited for."""
    deployments = {}
    for service in services:
        deployments |= module("ecs_service", stack.args(service, wait=False))["deployments"]
    return deployments


def follow(module, stack, deployments, **more):
    return module("ecs_rollout", {"cluster": stack.cluster, "deployments": deployments, "wait_timeout": 60, **more})


def test_two_tasks_are_followed_together(module, stack, capsys):
    one, two = stack.service("api"), stack.service("worker", desired_count=2)
    deployments = begun(module, stack, one, two)
    assert set(deployments) == {"api", "worker"}
    capsys.readouterr()
    result = follow(module, stack, deployments)
    assert (result["changed"], result["settled"], result["followed"]) == (False, False, ["api", "worker"])
    shown = capsys.readouterr().out
    assert "(service api) (deployment" in shown
    assert f"worker: {stack.cluster}-worker:1 (busybox), 2 of 2 tasks running: " in shown
    for service in (one, two):
        again = module("ecs_service", stack.args(service, wait=False))
        assert (again["settled"], again["deployments"]) == (True, {})


def test_nothing_to_follow_asks_nothing(module, stack, calls):
    assert follow(module, stack, {})["settled"]
    assert calls == []


def test_check_mode_follows_nothing(module, stack, calls):
    deployments = begun(module, stack, stack.service("checked", desired_count=0))
    calls.clear()
    result = module("ecs_rollout", {"cluster": stack.cluster, "deployments": deployments}, check=True)
    assert (result["settled"], calls) == (False, [])


def test_the_one_that_fails_is_told_with_the_command_for_again(module, stack):
    good, bad = stack.service("good"), stack.service("bad")
    follow(module, stack, begun(module, stack, good, bad))
    good["task_definition"]["containers"][0]["environment"]["A"] = "2"
    bad["task_definition"]["containers"][0]["command"] = ["sh", "-c", "echo no broker; exit 3"]
    deployments = begun(module, stack, good, bad)
    args = {"cluster": stack.cluster, "deployments": deployments, "retry": "ansible-playbook site.yml"}
    result = module("ecs_rollout", args, expect_failure=True)
    assert result["undone"] == ["service bad"]
    assert result["msg"].startswith("1 of 2 services")
    assert result["msg"].endswith("\n  ansible-playbook site.yml")
    for part in ("exit code 3", "no broker", f"serving now: {stack.cluster}-bad:1 (1 of 1 tasks)"):
        assert part in result["msg"]


def test_a_quick_deployment_of_somebody_else_is_not_taken_for_ours(module, stack):
    """Ours is known from the answer to the call that began it, not from what is there a moment later."""
    service = stack.service("theirs")
    follow(module, stack, begun(module, stack, service))
    service["task_definition"]["containers"][0]["environment"]["A"] = "2"
    deployments = begun(module, stack, service)
    stack.ecs.update_service(cluster=stack.cluster, service="theirs", taskDefinition=f"{stack.cluster}-theirs:1")
    message = module("ecs_rollout", {"cluster": stack.cluster, "deployments": deployments}, expect_failure=True)["msg"]
    assert f"{stack.cluster}-theirs:1 took its place" in message


def test_what_a_killed_run_began_is_followed_by_the_next(module, stack, tmp_path):
    """Its end comes when the next run is there to see it: until then no task is healthy, and none has failed."""
    go = tmp_path / "go"
    never = {"command": ["CMD-SHELL", "exit 1"], "interval": 300, "retries": 10}
    script = f"while ! test -e {go}; do sleep 0.1; done; exit 3"
    service = stack.service("killed", script, container={"health_check": never})
    begun(module, stack, service)
    result = module("ecs_service", stack.args(service, wait=False))
    assert (result["changes"], result["settled"]) == ([], False)
    go.touch()
    message = module(
        "ecs_rollout", {"cluster": stack.cluster, "deployments": result["deployments"]}, expect_failure=True
    )["msg"]
    assert "exit code 3" in message
