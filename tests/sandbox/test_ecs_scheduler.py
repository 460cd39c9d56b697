"""The scheduler's promises under thousands of made-up situations: no process, no clock, no API."""

import datetime
import math
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.ecs.model import Cluster, Service, TaskDefinition, utcnow
from sandbox.ecs.scheduler import STEADY_SECONDS, Scheduler, failure_threshold
from sandbox.ecs.services import DEPLOYMENT_CONFIGURATION, deploy
from sandbox.ecs.store import Store
from sandbox.ecs.tasks import choose_provider

BODY = {"family": "f", "networkMode": "awsvpc", "containerDefinitions": [
    {"name": "main", "image": "busybox", "essential": True, "environment": [], "portMappings": []}
]}  # fmt: skip


class World:
    """A service whose tasks do what the test says. One step is one second."""

    def __init__(self, desired: int, minimum: int, maximum: int, breaker: bool = False):
        self.store = Store("123456789012")
        self.cluster = Cluster("c", "arn:aws:ecs:us-east-1:123456789012:cluster/c", "us-east-1", [])
        self.store.clusters["us-east-1"]["c"] = self.cluster
        configuration = {**DEPLOYMENT_CONFIGURATION, "minimumHealthyPercent": minimum, "maximumPercent": maximum,
                         "deploymentCircuitBreaker": {"enable": breaker, "rollback": breaker}}  # fmt: skip
        chosen = {"deploymentConfiguration": configuration, "enableExecuteCommand": False}
        self.service = Service(
            "s", "arn:aws:ecs:us-east-1:123456789012:service/c/s", self.cluster, chosen, desired, "me"
        )
        self.cluster.services["s"] = self.service
        targets = SimpleNamespace(health=lambda _: ("healthy", ""), refresh=lambda *_: None)
        runner = SimpleNamespace(stop=self.stop, advance=lambda *_: None)
        self.scheduler = Scheduler(SimpleNamespace(minutes=lambda n: n * 60, lag=0.0), self.store, runner, targets)
        self.now, self.drain = 0.0, 0
        self.stopping: dict[str, int] = {}

    def roll(self, revision: int) -> None:
        deploy(self.service, TaskDefinition(f"f:{revision}", revision, BODY, "me"), {"launchType": "FARGATE"})

    def stop(self, task, code, reason, now, failed=False) -> None:
        if task.desired_status == "RUNNING":
            task.desired_status, task.stop_code, task.stopped_reason, task.failed = "STOPPED", code, reason, failed
            task.become("STOPPING", now)
            self.stopping[task.id] = self.drain

    def step(self, crashes=lambda task: False) -> None:
        self.now += 1
        for task in list(self.store.live.values()):
            if task.status == "STOPPING":
                self.stopping[task.id] -= 1
                if self.stopping[task.id] <= 0:
                    task.become("STOPPED", self.now)
                    task.times["stoppedAt"] = utcnow()
                    del self.store.live[task.id]
            elif crashes(task):
                self.stop(task, "EssentialContainerExited", "Essential container in task exited", self.now, failed=True)
            elif task.status == "PROVISIONING":
                task.running_since = self.now
                task.become("RUNNING", self.now)
        self.scheduler.reconcile(self.service, self.now)

    def live(self, *statuses: str):
        return [task for task in self.store.live.values() if not statuses or task.status in statuses]

    def settle(self, steps: int = 100, crashes=lambda task: False) -> None:
        for _ in range(steps):
            self.step(crashes)
            if self.service.steady:
                return


percents = st.sampled_from([(0, 100), (50, 100), (50, 150), (50, 200), (100, 150), (100, 200), (0, 200), (66, 133)])


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 9), percents, st.integers(0, 6), st.data())
def test_a_rollout_stays_within_its_percents_and_ends(desired, percent, drain, data):
    minimum, maximum = percent
    most, fewest = math.floor(desired * maximum / 100), math.ceil(desired * minimum / 100)
    world = World(desired, minimum, maximum)
    world.drain = drain
    world.roll(1)
    world.settle()
    assert world.service.steady
    for revision in range(2, 2 + data.draw(st.integers(1, 3))):
        world.roll(revision)
        for _ in range(data.draw(st.integers(1, 12))):
            world.step()
            assert len(world.live()) <= max(most, desired)
            assert len([t for t in world.live("RUNNING") if world.scheduler.healthy(t)]) >= fewest
    if most == desired == fewest:  # rounded, these percents leave no room: AWS waits for ever, too
        return
    for _ in range(300):
        world.step()
        assert len(world.live()) <= max(most, desired)
        if world.service.steady:
            break
    assert world.service.primary.rollout == "COMPLETED"
    assert {task.definition.revision for task in world.live()} == {world.service.primary.definition.revision}
    assert len(world.live("RUNNING")) == desired


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), percents, st.integers(0, 3))
def test_a_bad_revision_is_rolled_back_after_the_threshold_and_never_costs_the_minimum(desired, percent, drain):
    minimum, maximum = percent
    if math.floor(desired * maximum / 100) == desired == math.ceil(desired * minimum / 100):
        return
    world = World(desired, minimum, maximum, breaker=True)
    world.drain = drain
    world.roll(1)
    world.settle()
    world.roll(2)
    bad = world.service.primary
    for _ in range(3000):
        world.step(crashes=lambda task: task.definition.revision == 2 and task.status == "RUNNING")
        healthy = [task for task in world.live("RUNNING") if task.definition.revision == 1]
        assert len(healthy) >= math.ceil(desired * minimum / 100)
        if world.service.steady:
            break
    assert bad.rollout == "FAILED"
    assert bad.service_status == "ROLLBACK_SUCCESSFUL"
    assert bad.failed_tasks >= max(3, math.ceil(desired / 2))
    assert [d.definition.revision for d in world.service.deployments] == [1]
    assert world.service.last_completed is world.service.primary


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 8), st.lists(st.integers(0, 8), min_size=1, max_size=8), st.integers(0, 4))
def test_the_desired_count_is_followed_without_a_new_deployment(desired, counts, drain):
    world = World(desired, 100, 200)
    world.drain = drain
    world.roll(1)
    world.settle()
    first = world.service.primary
    for count in counts:
        world.service.desired_count, world.service.steady = count, False
        world.settle()
        assert len(world.live("RUNNING")) == count
        assert world.service.deployments == [first]
        assert first.rollout == "COMPLETED"


def test_a_task_must_hold_for_a_while_before_the_deployment_is_complete():
    world = World(1, 100, 200)
    world.roll(1)
    world.step()
    world.step()
    started = world.now
    assert world.service.primary.rollout == "IN_PROGRESS"
    world.settle()
    assert world.now - started >= STEADY_SECONDS
    assert world.service.primary.rollout == "COMPLETED"


def test_a_deployment_during_a_roll_back_has_nothing_to_roll_back_to():
    world = World(1, 100, 200, breaker=True)
    world.roll(1)
    world.settle()
    for revision in (2, 3):
        world.roll(revision)
        bad = world.service.primary
        while bad.rollout == "IN_PROGRESS":
            world.step(crashes=lambda task: task.definition.revision > 1)
    assert world.service.primary.definition.revision == 3
    assert world.service.primary.rollout == "FAILED"


@given(st.integers(0, 5), st.integers(1, 5), st.integers(0, 5), st.integers(0, 30))
def test_providers_are_chosen_by_base_then_weight(base, first, second, count):
    strategy = [
        {"capacityProvider": "A", "base": base, "weight": first},
        {"capacityProvider": "B", "base": 0, "weight": second},
    ]
    taken: list = []
    for _ in range(count):
        taken.append(choose_provider(strategy, taken))
    assert taken[: min(base, count)] == ["A"] * min(base, count)
    rest = max(0, count - base)
    share = rest * first / (first + second)
    assert abs(taken.count("A") - min(base, count) - share) <= 1


def test_thresholds_are_those_of_the_documentation():
    """API reference, ThresholdConfiguration: 3 to 200 bound a BOUNDED_PERCENT only, which is the default."""

    def threshold(kind, value, desired):
        return failure_threshold({"thresholdConfiguration": {"type": kind, "value": value}}, desired)

    assert [failure_threshold({}, desired) for desired in (0, 1, 6, 7, 500)] == [3, 3, 3, 4, 200]
    assert [threshold("BOUNDED_PERCENT", 10, desired) for desired in (1, 40, 4000)] == [3, 4, 200]
    assert [threshold("UNBOUNDED_PERCENT", 10, desired) for desired in (1, 40, 4000)] == [1, 4, 400]
    assert [threshold("COUNT", 2, desired) for desired in (1, 4000)] == [2, 2]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), percents, st.integers(0, 6), st.data())
def test_protected_tasks_are_left_alone_and_all_else_goes_on(desired, percent, count, data):
    """A deployment, or another desired count, with some tasks protected; and its end once none is any more."""
    minimum, maximum = percent
    if math.floor(desired * maximum / 100) == desired == math.ceil(desired * minimum / 100):
        return
    world = World(desired, minimum, maximum)
    world.roll(1)
    world.settle()
    chosen = data.draw(st.sets(st.sampled_from(world.live())))
    for task in chosen:
        task.protected_until = utcnow() + datetime.timedelta(days=1)
    if data.draw(st.booleans()):
        world.roll(2)
        count = desired
    else:
        world.service.desired_count, world.service.steady = count, False
    for _ in range(60):
        world.step()
        assert chosen <= {*world.live("RUNNING")}
        assert len(world.live()) <= max(math.floor(desired * maximum / 100), desired, count)
    primary = world.service.primary
    in_the_way = bool(chosen) if primary.definition.revision == 2 else len(chosen) > count
    assert (primary.rollout == "COMPLETED") == (not in_the_way or primary.definition.revision == 1)
    assert any("protected tasks" in event["message"] for event in world.service.events) == in_the_way
    if primary.definition.revision == 1:
        assert len(world.live()) == max(count, len(chosen))
    for task in chosen:
        task.protected_until = None
    world.service.steady = False
    world.settle()
    assert {task.deployment for task in world.live()} <= {primary}
    assert len(world.live("RUNNING")) == count
    assert primary.rollout == "COMPLETED"
