"""The service scheduler: keeps every service at its desired count and rolls deployments out, or back.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages.html
"""

import datetime
import logging
import math
import threading
import time

from moto.cloudwatch.models import cloudwatch_backends

from .model import Deployment, Service, Task, utcnow
from .runner import Runner
from .services import roll_back, unassumable
from .store import Store
from .targets import Targets
from .tasks import choose_provider, new_task

log = logging.getLogger("sandbox.ecs")

BUSY_TICK, QUIET_TICK = 0.1, 0.3
"""Seconds between two looks at everything, while something is on its way and while nothing is."""
STEADY_SECONDS = 2.0
"""How long a task must have been healthy to count as started well. AWS takes longer."""
FORGET_AFTER = datetime.timedelta(hours=1)
"""AWS shows stopped tasks for at least an hour."""
FREE_CRASHES = 3
"""Failures in a row before a deployment is held back; the circuit breaker of a small service needs as many."""
FIRST_HOLD, LONGEST_HOLD = 10 / 60, 15
"""AWS minutes that a crash loop is held back: doubled with each further failure."""


class Scheduler(threading.Thread):
    def __init__(self, sandbox, store: Store, runner: Runner, targets: Targets):
        super().__init__(name="ecs-scheduler", daemon=True)
        self.sandbox, self.store, self.runner, self.targets = sandbox, store, runner, targets
        self._stopped = False

    def run(self) -> None:
        wait = BUSY_TICK
        while not self._stopped:
            self.store.changed.wait(wait)
            self.store.changed.clear()
            try:
                wait = BUSY_TICK if self.tick() else QUIET_TICK
            except Exception:
                log.exception("the scheduler met an error; it goes on")

    def stop(self) -> None:
        self._stopped = True
        self.store.changed.set()
        self.join(10)

    def reset(self) -> None:
        """Kill all tasks and forget everything."""
        with self.store.lock:
            for task in list(self.store.live.values()):
                self.runner.kill(task)
            self.store.clear()
            self.targets.reset()

    def tick(self) -> bool:
        """Look at everything once; whether anything is on its way."""
        with self.store.lock:
            now = time.monotonic()
            for task in list(self.store.live.values()):
                try:
                    self.runner.advance(task, now)
                except Exception as error:
                    log.exception("task %s", task.id)
                    self.runner.stop(task, "TaskFailedToStart", f"Task failed to start: {error}", now, failed=True)
            self.targets.refresh([task for task in self.store.live.values() if task.registered], now)
            for service in self.store.services():
                if service.status != "INACTIVE":
                    self.reconcile(service, now)
            self._forget()
            moving = any(task.status != "RUNNING" for task in self.store.live.values())
            return moving or any(not s.steady and s.status != "INACTIVE" for s in self.store.services())

    def reconcile(self, service: Service, now: float) -> None:
        tasks = service.tasks()
        if service.status == "DRAINING":
            self._drain(service, tasks, now)
            return
        self._replace_unhealthy(service, tasks, now)
        self._count(service, now)
        self._start_and_stop(service, tasks, now)
        self._settle(service, now)

    def healthy(self, task: Task) -> bool:
        """RUNNING, its container checks pass if it has any, and so do its load balancer's."""
        return (
            task.status == "RUNNING"
            and (not _checked(task) or task.health_status == "HEALTHY")
            and self.targets.health(task)[0] == "healthy"
        )

    def proven(self, task: Task) -> bool:
        """Healthy by its checks or, where it has none, by having run for a while: it may take an old task's place."""
        return self.healthy(task) and (task.steady or _checked(task) or bool(task.registered))

    # ---- steps of a reconciliation ----

    def _drain(self, service: Service, tasks: list[Task], now: float) -> None:
        for task in tasks:
            self._stop(service, task, f"Scaling activity initiated by ({_subject(task)})", now)
        # Tasks that still stop do not keep a service DRAINING, once ECS has looked at it again:
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteService.html
        still = [task for task in tasks if task.status not in ("STOPPING", "DEPROVISIONING")]
        if not still and all(now - task.since >= self.sandbox.minutes(0.5) for task in tasks):
            service.status = "INACTIVE"
            for deployment in service.deployments:
                deployment.status = "INACTIVE"

    def _replace_unhealthy(self, service: Service, tasks: list[Task], now: float) -> None:
        grace = service.settings.get("healthCheckGracePeriodSeconds") or 0
        for task in tasks:
            if task.desired_status == "STOPPED" or task.status != "RUNNING" or now - task.running_since < grace:
                continue
            state, reason = self.targets.health(task)
            if task.health_status == "UNHEALTHY":
                service.event(f"(task {task.id}) failed container health checks.")
                self._stop(service, task, "Task failed container health checks", now, failed=True)
            elif state == "unhealthy":
                arn, port = task.registered[0]
                service.event(f"(port {port}) is unhealthy in (target-group {arn}) due to (reason {reason})")
                self._stop(service, task, f"Task failed ELB health checks in (target-group {arn})", now, failed=True)

    def _count(self, service: Service, now: float) -> None:
        """Count tasks that failed and tasks that turned out well; trip the circuit breaker; hold crash loops back."""
        for task in service.cluster.tasks.values():
            if task.service is not service or not task.deployment:
                continue
            deployment = task.deployment
            if self.healthy(task):
                task.healthy_since = task.healthy_since or now
                if not task.steady and now - task.healthy_since >= STEADY_SECONDS:
                    task.steady, deployment.crashes, deployment.hold_until = True, 0, 0.0
                    if _breaker(service).get("resetOnHealthyTask", True):
                        deployment.failed_tasks = 0
            else:
                task.healthy_since = None
            if task.failed and not task.counted:
                task.counted, service.steady = True, False
                self._count_failure(service, deployment, task, now)
        primary = service.primary
        breaker = _breaker(service)
        primary.threshold = failure_threshold(breaker, service.desired_count)
        if breaker["enable"] and primary.rollout == "IN_PROGRESS" and primary.failed_tasks >= primary.threshold:
            self._fail(service, primary, breaker["rollback"], "ECS deployment circuit breaker", "tasks failed to start")
        self._heed_alarms(service, primary)

    def _heed_alarms(self, service: Service, primary: Deployment) -> None:
        """Fail a deployment when one of its alarms goes off; heed none when one was in ALARM as it began."""
        alarms = service.settings["deploymentConfiguration"].get("alarms") or {}
        if not alarms.get("enable") or primary.rollout != "IN_PROGRESS" or primary.alarms == "IGNORED":
            return
        found = cloudwatch_backends[self.sandbox.account_id][service.cluster.region].alarms
        ringing = [name for name in alarms["alarmNames"] if name in found and found[name].state_value == "ALARM"]
        if primary.alarms == "NEW":
            primary.alarms = "IGNORED" if ringing else "WATCHED"
        elif ringing:
            self._fail(service, primary, alarms["rollback"], "ECS deployment alarms", "alarm detected")

    def _count_failure(self, service: Service, deployment: Deployment, task: Task, now: float) -> None:
        deployment.crashes += 1
        deployment.updated_at = utcnow()
        if deployment.rollout == "IN_PROGRESS":
            deployment.failed_tasks += 1
        if task.stop_code == "TaskFailedToStart":
            service.event(f"was unable to place a task. Reason: {task.stopped_reason}.")
        if deployment.crashes >= FREE_CRASHES:
            hold = min(FIRST_HOLD * 2 ** min(deployment.crashes - FREE_CRASHES, 20), LONGEST_HOLD)
            deployment.hold_until = now + self.sandbox.minutes(hold)
            if deployment.crashes == FREE_CRASHES:
                service.event(
                    "is unable to consistently start tasks successfully. For more information, see the Troubleshooting "
                    "section of the Amazon ECS Developer Guide."
                )

    def _fail(self, service: Service, failed: Deployment, rollback: bool, who: str, why: str) -> None:
        failed.rollout, failed.updated_at = "FAILED", utcnow()
        failed.reason = f"{who}: {why}."
        service.event(f"(deployment {failed.id}) deployment failed: {why}.")
        record = failed.rolled_back or failed
        record.service_status, record.finished_at = ("ROLLBACK_FAILED" if failed.rolled_back else "STOPPED"), utcnow()
        if rollback:
            roll_back(service, failed, who)

    def _start_and_stop(self, service: Service, tasks: list[Task], now: float) -> None:
        desired, primary = service.desired_count, service.primary
        percents = service.settings["deploymentConfiguration"]
        running = [task for task in tasks if task.desired_status == "RUNNING"]
        if primary.rollout == "FAILED":  # no new tasks for it; what it replaces is kept up
            leader = next((d for d in service.deployments if d.rollout == "COMPLETED"), None)
            mine, old = running, []
        else:
            leader = primary
            mine = [task for task in running if task.deployment is primary]
            old = [task for task in running if task.deployment is not primary]
        rolling = len(service.deployments) > 1
        # While a deployment replaces another, a task that is still stopping takes up room: with 0 and 100 percent
        # there are never two tasks of a singleton.
        occupied = len(tasks) if rolling else len(running)
        room = max(0, math.floor(desired * percents["maximumPercent"] / 100) - occupied) if rolling else desired
        missing = max(0, desired - len(mine))
        if leader and now >= leader.hold_until:
            self._start(service, leader, min(missing, room), tasks)
        kept = self._stop_old(service, old, mine, max(0, missing - room), now)
        surplus = sorted(_free(mine), key=lambda task: (self.healthy(task), -(task.running_since or math.inf)))
        excess = max(0, len(mine) - desired)
        self._scale_in(service, surplus[:excess], now)
        self._say_what_holds_up(service, kept + max(0, excess - len(surplus)))
        for deployment in service.deployments:
            count = desired if deployment is primary else len([t for t in running if t.deployment is deployment])
            deployment.requested = count

    def _stop_old(self, service: Service, old: list[Task], mine: list[Task], blocked: int, now: float) -> int:
        """Stop tasks that the new deployment has replaced or whose room it needs, above the healthy minimum.

        Returns how many of them it has to leave because the others are protected.
        """
        desired = service.desired_count
        minimum = math.ceil(desired * service.settings["deploymentConfiguration"]["minimumHealthyPercent"] / 100)
        sound = [task for task in mine if self.proven(task)]
        wanted = max(len(sound) + len(old) - desired, blocked)
        bad = [task for task in old if not self.healthy(task)]
        good = [task for task in old if task not in bad]
        spare = max(0, len(sound) + len(good) - minimum)
        ready = (_free(bad) + _free(good)[:spare])[: max(0, wanted)]
        self._scale_in(service, ready, now)
        return max(0, min(wanted, len(bad) + min(spare, len(good))) - len(ready))

    def _say_what_holds_up(self, service: Service, kept: int) -> None:
        """Say once that protected tasks are in the way, in the words for task sets: no others are documented."""
        if kept and not service.held_up:
            service.event(
                f"was unable to reach steady state because task set ({service.deployments[-1].id}) was unable to scale "
                "in. Reason: The number of protected tasks are more than the desired count of tasks."
            )
        service.held_up = kept > 0

    def _start(self, service: Service, deployment: Deployment, count: int, tasks: list[Task]) -> None:
        if deployment.spec.get("launchType") == "EC2":
            if count and not deployment.failed_tasks and not service.events:
                service.event(
                    "was unable to place a task because no container instance met all of its requirements. "
                    "Reason: No Container Instances were found in your cluster."
                )
            return
        reason = unassumable(self.sandbox, deployment.definition) if count else ""
        if reason:
            # Again half a minute later: https://github.com/pulumi/pulumi-awsx/issues/927
            # They are failed tasks: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html
            service.event(f"failed to launch a task with (error {reason}).")
            deployment.failed_tasks += count
            deployment.hold_until = time.monotonic() + self.sandbox.minutes(0.5)
            return
        strategy = deployment.spec.get("capacityProviderStrategy") or []
        taken = [
            t.spec.get("capacityProviderName")
            for t in tasks
            if t.deployment is deployment and t.desired_status == "RUNNING"
        ]
        started = []
        for _ in range(count):
            provider = choose_provider(strategy, taken)
            taken.append(provider)
            task = new_task(
                service.cluster,
                deployment.definition,
                {**deployment.spec, "capacityProviderName": provider,
                 "enableExecuteCommand": service.settings["enableExecuteCommand"]},
                group=f"service:{service.name}",
                tags=_task_tags(service, deployment),
                started_by=deployment.id,
                service=service,
                deployment=deployment,
            )  # fmt: skip
            service.cluster.tasks[task.id] = self.store.live[task.id] = task
            started.append(task)
        if started:
            service.steady = False
            service.event(f"has started {len(started)} tasks: {' '.join(f'(task {task.id})' for task in started)}.")

    def _scale_in(self, service: Service, tasks: list[Task], now: float) -> None:
        if not tasks:
            return
        draining = [task for task in tasks if task.registered]
        if draining:
            service.event(f"has begun draining connections on {len(draining)} tasks.")
        service.event(f"has stopped {len(tasks)} running tasks: {' '.join(f'(task {task.id})' for task in tasks)}.")
        for task in tasks:
            self._stop(service, task, f"Scaling activity initiated by ({_subject(task, service)})", now)

    def _stop(self, service: Service, task: Task, reason: str, now: float, failed: bool = False) -> None:
        service.steady = False
        self.runner.stop(task, "ServiceSchedulerInitiated", reason, now, failed)

    def _settle(self, service: Service, now: float) -> None:
        """Drop deployments that are gone, complete the PRIMARY, and say so when all is steady."""
        tasks, primary, desired = service.tasks(), service.primary, service.desired_count
        busy = {task.deployment for task in tasks}
        keep_good = primary.rollout == "FAILED"
        service.deployments = [
            d for d in service.deployments if d is primary or d in busy or (keep_good and d.rollout == "COMPLETED")
        ]
        mine = [task for task in tasks if task.deployment is primary and task.desired_status == "RUNNING"]
        good = len([task for task in mine if task.steady and self.healthy(task)])
        alone = len(service.deployments) == 1
        early = service.settings["deploymentConfiguration"].get("earlySuccessCriteria") or {}
        enough = math.ceil(desired * early["healthyPercent"] / 100) if early.get("enable") else desired
        replaced = alone or (early.get("enable") and early["sourceServiceRevisionCleanup"] == "DEFERRED")
        if primary.rollout == "IN_PROGRESS" and replaced and good >= enough:
            primary.rollout, primary.failed_tasks, primary.updated_at = "COMPLETED", 0, utcnow()
            primary.reason = f"ECS deployment {primary.id} completed."
            service.last_completed = primary
            record = primary.rolled_back or primary
            record.service_status = "ROLLBACK_SUCCESSFUL" if primary.rolled_back else "SUCCESSFUL"
            record.finished_at = utcnow()
            service.event(f"(deployment {primary.id}) deployment completed.")
        steady = primary.rollout == "COMPLETED" and alone and good == desired == len(tasks)
        if steady and not service.steady:
            service.event("has reached a steady state.")
        service.steady = steady

    def _forget(self) -> None:
        limit = utcnow() - FORGET_AFTER
        for region in self.store.clusters.values():
            for cluster in region.values():
                for task in [
                    t for t in cluster.tasks.values() if t.status == "STOPPED" and t.times["stoppedAt"] < limit
                ]:
                    del cluster.tasks[task.id]


def _breaker(service: Service) -> dict:
    return service.settings["deploymentConfiguration"]["deploymentCircuitBreaker"]


def failure_threshold(breaker: dict, desired: int) -> int:
    """How many tasks may fail: API reference, ThresholdConfiguration."""
    rule = breaker.get("thresholdConfiguration") or {"type": "BOUNDED_PERCENT", "value": 50}
    if rule["type"] == "COUNT":
        return rule["value"]
    share = math.ceil(desired * rule["value"] / 100)
    return min(max(3, share), 200) if rule["type"] == "BOUNDED_PERCENT" else max(1, share)


def _free(tasks: list[Task]) -> list[Task]:
    """Those that neither scaling in nor a deployment has to leave alone."""
    return [task for task in tasks if not task.protected]


def _checked(task: Task) -> bool:
    return any(container.health and container.definition["essential"] for container in task.containers)


def _subject(task: Task, service: Service | None = None) -> str:
    deployment = service.primary if service else task.deployment
    return f"deployment {deployment.id}"


def _task_tags(service: Service, deployment: Deployment) -> list[dict]:
    propagate = service.settings.get("propagateTags")
    tags = {"SERVICE": service.tags, "TASK_DEFINITION": deployment.definition.tags}.get(propagate, [])
    managed = []
    if service.settings.get("enableECSManagedTags"):
        managed = [
            {"key": "aws:ecs:clusterName", "value": service.cluster.name},
            {"key": "aws:ecs:serviceName", "value": service.name},
        ]
    return [*tags, *managed]
