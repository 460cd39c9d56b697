"""Scale-in protection of the worker's ECS task while a Celery task runs long.

ECS stops a task that a scale-in or a deployment has made one too many: SIGTERM, and after at most two minutes SIGKILL.
A Celery task that takes longer would go back to its queue and begin anew. An ECS task that is protected is left alone.

When: from the moment that a Celery task has run for PROTECT_AFTER seconds until the worker is idle. Not from its first
second: what is younger has the time of any stop (config.lifecycle), or loses little; and workers with short tasks
neither call ECS all the time nor hold up deployments.

How long: for a lease of twice the longest time limit of the worker's queues, renewed at half-time, so whatever runs is
covered to its end. When a worker dies, so does its ECS task; what ECS has not heard of expires with the lease.

A worker that is never idle would be protected for ever, and a deployment never end. ECS does not tell a worker that it
waits for it: in a deployment it renews the protection of the old tasks. It refuses one only where more tasks would be
protected than the service is to have (DEPLOYMENT_BLOCKED): to the new ones, or after a scale-in. So when a worker has
been protected for about as long as a lease, or a renewal is refused so, it takes no new tasks until those that run have
ended, gives its protection up and waits for a moment. ECS stops it then, if it wants to; else it takes tasks again.

The ECS agent is asked in a thread: it may fail, hang or be slow, and no Celery task waits for it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

import json
import logging
import math
import os
import random
import threading
import time
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from celery import bootsteps
from celery.worker import state

from config import settings

logger = logging.getLogger(__name__)

LOOK_INTERVAL = 1  # seconds between looks at what runs
AGENT_TIMEOUT = 5  # seconds; the agent itself gives up on ECS sooner
RETRY_INTERVAL = 10  # seconds between attempts at what has failed; the agent retries by itself, and ECS throttles
PAUSE = 15  # seconds that ECS has to stop a worker that has given its protection up
MINUTE = 60  # seconds
MOST_MINUTES = 2880  # of one request
BLOCKED = "DEPLOYMENT_BLOCKED"

draining = threading.Event()
"""Set while this worker is to take no new tasks."""


class Refused(Exception):
    """ECS or its agent has answered, and does not do it."""


class Agent:
    """The ECS agent's endpoint for the protection of the task that this process runs in."""

    def __init__(self, uri: str):
        self._address = urlsplit(f"{uri}/task-protection/v1/state")

    def protect(self, minutes: int) -> None:
        """Protect the ECS task for so many minutes from now; 0 ends the protection.

        Raises Refused with the reason, or what HTTPConnection and json raise.
        """
        wanted = {"ProtectionEnabled": True, "ExpiresInMinutes": minutes} if minutes else {"ProtectionEnabled": False}
        connection = HTTPConnection(self._address.hostname, self._address.port, AGENT_TIMEOUT)
        try:
            connection.request("PUT", self._address.path, json.dumps(wanted), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read(65536))
        finally:
            connection.close()
        if "protection" not in answer:
            said = answer.get("failure") or answer.get("error") or {}
            raise Refused(said.get("Reason") or f"{response.status} {said.get('Code')}: {said.get('Message')}")


class Protection:
    """Decides, from the ages of the running tasks, what to ask of the agent. Times are seconds of one clock."""

    def __init__(self, protect, after: float, longest: float):
        self._protect, self._after = protect, after
        self._minutes = min(math.ceil(2 * longest / MINUTE), MOST_MINUTES)
        self._lease = MINUTE * self._minutes
        self._protected = False
        self._until = 0.0  # when the protection that ECS has granted expires
        self._may_last = 0.0  # the same of one that ECS may have granted: its answer was lost
        self._bound = 0.0  # when to take no more tasks under it
        self._resume_at = math.inf
        self._idle = False
        self._try_at = 0.0
        self._problem = ""

    def look(self, ages: list[float], now: float) -> None:
        """Act on what runs at this moment."""
        if self._protected and now >= self._until:
            self._protected = False
            logger.warning("No longer protected from scale-in and deployments: it has expired")
        if now >= self._resume_at:
            logger.info("Taking new tasks again: ECS has not stopped the worker")
            draining.clear()
            self._resume_at = math.inf
            self._limit(now)
        # Seen twice, or it may be the moment between two tasks.
        idle_before, self._idle = self._idle, not ages
        if not ages:
            if idle_before:
                self._end(now)
        elif self._protected and not draining.is_set():
            self._hold(now)
        elif not self._protected and max(ages) >= self._after and self._ask(self._minutes, now):
            self._protected, self._until = True, now + self._lease
            self._limit(now)
            logger.info(
                "Protected from scale-in and deployments for up to %d min: a task has run for %.0f s",
                self._minutes, max(ages),
            )  # fmt: skip

    def _limit(self, now: float) -> None:
        # Not all at once: the workers of a service often begin together.
        self._bound = now + self._lease * random.uniform(0.75, 1)  # noqa: S311 - no secret

    def _hold(self, now: float) -> None:
        blocked = False
        if self._until - now <= self._lease / 2:
            if self._ask(self._minutes, now):
                self._until = now + self._lease
            else:
                blocked = self._problem == BLOCKED
        if blocked or now >= self._bound:
            draining.set()
            logger.info("Taking no new tasks until the running ones have ended: a scale-in or a deployment may wait")

    def _end(self, now: float) -> None:
        if draining.is_set() and self._resume_at == math.inf:
            self._resume_at = now + PAUSE
        if now < self._may_last and self._ask(0, now):
            if self._protected:
                logger.info("No longer protected from scale-in and deployments: no task runs")
            self._protected, self._may_last = False, 0.0

    def _ask(self, minutes: int, now: float) -> bool:
        """Whether ECS has done it. What has failed is not tried again at once."""
        if now < self._try_at:
            return False
        try:
            self._protect(minutes)
        except (Refused, OSError, HTTPException, ValueError) as error:
            self._try_at = now + RETRY_INTERVAL
            before, self._problem = self._problem, str(error) or type(error).__name__
            if self._problem != before:
                logger.warning(
                    "Protection from scale-in and deployments cannot be %s, trying again: %s",
                    "had" if minutes else "given up", self._problem,
                )  # fmt: skip
            if minutes and not isinstance(error, Refused):
                self._may_last = now + self._lease
            return False
        self._problem = ""
        if minutes:
            self._may_last = now + self._lease
        return True


class Watch:
    """Looks, in a thread of the worker's main process, at what its pool runs."""

    def __init__(self, protection: Protection):
        self._protection = protection

    def start(self) -> None:
        threading.Thread(target=self._run, name="protection", daemon=True).start()

    def stop(self) -> None:
        """The worker ends, and with it the ECS task and its protection."""

    def _run(self) -> None:
        while state.should_stop is None and state.should_terminate is None:
            try:
                ages = [time.time() - request.time_start for request in tuple(state.active_requests)]
                self._protection.look(ages, time.monotonic())
            except RuntimeError:  # the worker has begun or ended a task while the set of them was read
                continue
            except Exception:
                logger.exception("Looking after the protection from scale-in and deployments failed; it goes on")
            time.sleep(LOOK_INTERVAL)


class Step(bootsteps.StartStopStep):
    """Celery's way to add it to the worker: only where there is an ECS agent, and only if it is wanted."""

    requires = ("celery.worker.components:Pool",)

    def include_if(self, parent):
        return bool(os.environ.get("ECS_AGENT_URI")) and settings.PROTECT_AFTER > 0

    def create(self, parent):
        longest = max(settings.TIME_LIMIT[queue] for queue in parent.app.amqp.queues.consume_from)
        agent = Agent(os.environ["ECS_AGENT_URI"])
        return Watch(Protection(agent.protect, settings.PROTECT_AFTER, longest))
