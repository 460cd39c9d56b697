"""Memory limits: a task that needs more than its task definition gives it loses its biggest process, as on Fargate.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#container_definition_memory
https://repost.aws/knowledge-center/ecs-resolve-outofmemory-errors (the words of the reason)
"""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from ..processes import session_members
from .metrics import usage
from .model import Container
from .store import Store

REASON = "OutOfMemoryError: Container killed due to memory usage"
MIB = 2**20


class MemoryLimits:
    def __init__(self, store: Store):
        self.store = store

    def enforce(self) -> None:
        """Look at every running task once. Between two looks a task may take more than it has."""
        with self.store.lock:
            groups = []
            for task in self.store.live.values():
                alive = [one for one in task.containers if one.process and one.exit_code is None]
                groups.append((alive, task.limits[1]))
                groups += [([one], one.definition["memory"]) for one in alive if one.definition.get("memory")]
        resident = usage() if groups else {}
        for containers, limit in groups:
            if sum(resident.get(one.process.pid, (0, 0))[1] for one in containers) > limit * MIB:
                kill_biggest(containers, limit)


def kill_biggest(containers: Iterable[Container], limit: int) -> None:
    """The kernel's choice, which need not be the container's main process: a child of a pool has its parent to mourn.

    What is resident counts memory that processes share once for each of them; here it is shared out (PSS).
    """
    sizes = {(pid, one): size(pid) for one in containers for pid in session_members(one.process.pid)}
    if sum(sizes.values()) > limit * MIB:
        pid, container = max(sizes, key=lambda key: sizes[key])
        container.out_of_memory = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def size(pid: int) -> int:
    """Bytes of a process; 0 once it has ended, and where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
