"""What becomes of tasks when the sandbox is reset or dies."""

import os
import signal

import psutil
import pytest
from ecs_stack import Stack, eventually


def pids(sandbox) -> set[int]:
    """Processes whose home lies in the sandbox's: its tasks and all their children."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("HOME", "").startswith(
                str(sandbox.home / "tasks")
            ):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def running(start_sandbox):
    """A sandbox of its own with a service of two tasks that ignore SIGTERM and have children."""
    sandbox = start_sandbox(60.0)
    stack = Stack(sandbox)
    definition = stack.register(stack.container("trap '' TERM; sleep 601 & while :; do sleep 0.2; done"))
    stack.completed(stack.create(definition, 2))
    assert len(pids(sandbox)) >= 4
    return sandbox, stack


def test_reset_ends_all_tasks_and_forgets_everything(running):
    sandbox, stack = running
    sandbox.run("reset")
    assert pids(sandbox) == set()
    assert sandbox.client("ecs").list_clusters()["clusterArns"] == []
    assert list((sandbox.home / "tasks").iterdir()) == []
    again = Stack(sandbox)
    again.completed(again.create(again.register(), 1))
    assert stack.cluster not in str(sandbox.client("ecs").list_clusters())


def test_six_tasks_fit_into_its_memory(start_sandbox):
    sandbox = start_sandbox(60.0)
    stack = Stack(sandbox)
    stack.completed(stack.create(stack.register(), 6), 60)
    status = sandbox.status()
    assert status["services"][0]["running"] == 6
    assert 0 < status["memory_mb"] < 300


def test_nothing_is_left_after_down_and_after_kill_9(running):
    sandbox, _ = running
    os.kill(int((sandbox.home / "pid").read_text().split()[0]), signal.SIGKILL)
    eventually(lambda: not pids(sandbox))
    sandbox.up()
    stack = Stack(sandbox)
    stack.completed(stack.create(stack.register(), 2))
    assert len(pids(sandbox)) >= 2
    sandbox.down()
    assert pids(sandbox) == set()
