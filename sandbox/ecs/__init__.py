"""Elastic Container Service: the API in moto's place, and a scheduler that runs tasks as processes."""

import time
from concurrent.futures import ThreadPoolExecutor

from .memory import MemoryLimits
from .metrics import Metrics
from .model import Task
from .responses import EcsResponse
from .runner import Runner
from .scheduler import Scheduler
from .store import Store
from .targets import Targets


class Ecs:
    """Everything of ECS in one sandbox."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.store = Store(sandbox.account_id)
        pool = ThreadPoolExecutor(8, thread_name_prefix="ecs")
        targets = Targets(sandbox, pool)
        self.runner = Runner(sandbox, self.store, pool, targets)
        self.scheduler = Scheduler(sandbox, self.store, self.runner, targets)
        self.metrics = Metrics(sandbox, self.store)
        self.memory = MemoryLimits(self.store)

    def stop_task(self, task: Task, code: str, reason: str) -> None:
        self.runner.stop(task, code, reason, time.monotonic())


def install(sandbox) -> None:
    """Answer ECS requests with our own API instead of moto's, and start the scheduler."""
    from moto.ecs import urls

    ecs = Ecs(sandbox)
    EcsResponse.ecs = ecs
    urls.url_paths["{0}/$"] = EcsResponse.dispatch
    sandbox.on_reset(ecs.scheduler.reset)
    sandbox.on_stop(ecs.scheduler.stop)
    sandbox.every(sandbox.minutes(1), ecs.metrics.sample)
    sandbox.every(1, ecs.memory.enforce)
    ecs.scheduler.start()
