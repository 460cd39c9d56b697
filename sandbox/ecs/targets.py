"""Registers tasks with load balancers and knows their target health, through the sandbox's own API."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from .model import Task

log = logging.getLogger("sandbox.ecs")

BUSY_SECONDS, QUIET_SECONDS = 0.5, 5.0
"""How often target health is asked for while something is in transit, and while all is well."""
ADDRESS = "127.0.0.1"


class Targets:
    def __init__(self, sandbox, pool: ThreadPoolExecutor):
        self.sandbox, self.pool = sandbox, pool
        self._health: dict[tuple[str, int], tuple[str, str]] = {}
        self._polling = threading.Lock()
        """Held from the question to the answer's place in `_health`: no answer overwrites a later one."""
        self._next = 0.0
        self._poll: Future | None = None

    def register(self, task: Task) -> None:
        """Blocking. Port = the port on 127.0.0.1 that stands for the container port."""
        for balancer in task.deployment.spec.get("loadBalancers") or []:
            arn = balancer["targetGroupArn"]
            container = next(c for c in task.containers if c.name == balancer["containerName"])
            target = {"Id": ADDRESS, "Port": container.ports[balancer["containerPort"]]}
            self._client(task).register_targets(TargetGroupArn=arn, Targets=[target])
            task.registered.append((arn, target["Port"]))

    def deregister(self, task: Task) -> None:
        """Blocking. A target group that is gone has nothing left to deregister."""
        for arn, port in task.registered:
            try:
                self._client(task).deregister_targets(TargetGroupArn=arn, Targets=[{"Id": ADDRESS, "Port": port}])
            except Exception as error:
                log.info("deregistering %s from %s: %s", port, arn, error)
        self.poll({(arn, task.cluster.region) for arn, _ in task.registered})

    def health(self, task: Task) -> tuple[str, str]:
        """(state, reason) of the task's worst target, as DescribeTargetHealth has it; `unused` when not listed."""
        order = ["unhealthy", "draining", "unavailable", "initial", "unused", "healthy"]
        states = [self._health.get(target, ("unused", "")) for target in task.registered]
        return min(states, key=lambda state: order.index(state[0]) if state[0] in order else 2, default=("healthy", ""))

    def refresh(self, tasks: list[Task], now: float) -> None:
        """Start a background poll when one is due. `tasks` are all tasks with registered targets."""
        if self._poll and not self._poll.done():
            return
        busy = any(task.status != "RUNNING" or self.health(task)[0] != "healthy" for task in tasks)
        if tasks and now >= self._next - (QUIET_SECONDS - BUSY_SECONDS if busy else 0.0):
            self._next = now + QUIET_SECONDS
            groups = {(arn, task.cluster.region) for task in tasks for arn, _ in task.registered}
            self._poll = self.pool.submit(self.poll, groups)

    def poll(self, groups: set[tuple[str, str]]) -> None:
        for arn, region in groups:
            with self._polling:
                found = self._ask(arn, region)
                self._health = {target: state for target, state in self._health.items() if target[0] != arn} | found

    def _ask(self, arn: str, region: str) -> dict[tuple[str, int], tuple[str, str]]:
        try:
            answer = self.sandbox.client("elbv2", region).describe_target_health(TargetGroupArn=arn)
        except Exception as error:
            log.info("target health of %s: %s", arn, error)
            return {}
        return {
            (arn, entry["Target"]["Port"]): (
                entry["TargetHealth"]["State"],
                entry["TargetHealth"].get("Description", ""),
            )
            for entry in answer["TargetHealthDescriptions"]
            if entry["Target"]["Id"] == ADDRESS
        }

    def drained(self, task: Task, now: float) -> bool:
        return self.health(task)[0] != "draining" or now - task.since > 300

    def _client(self, task: Task):
        return self.sandbox.client("elbv2", task.cluster.region)

    def reset(self) -> None:
        self._health, self._next = {}, time.monotonic()
