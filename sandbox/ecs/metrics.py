"""CPUUtilization and MemoryUtilization of services in AWS/ECS, measured on the tasks' processes.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
"""

import os
import time
from collections import defaultdict
from pathlib import Path

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def usage() -> dict[int, tuple[float, int]]:
    """Session id -> (CPU seconds so far, resident bytes) of all its processes. Each container is a session.

    The time of children that ended is in their parent's cutime, so the sum only grows. Memory that a pool's
    children share with their parent is counted once for each: PSS would be right, but reading it costs too much.
    """
    found: dict[int, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for entry in os.scandir("/proc") if Path("/proc/self").exists() else ():
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            session, cpu = int(fields[3]), sum(map(int, fields[11:15])) / TICKS
            before = found[session]
            found[session] = (before[0] + cpu, before[1] + int(fields[21]) * PAGE)
    return found


class Metrics:
    def __init__(self, sandbox, store):
        self.sandbox, self.store = sandbox, store
        self._before: dict[str, tuple[float, float]] = {}
        """Task id -> (monotonic time, CPU seconds) of the last sample."""

    def sample(self) -> None:
        with self.store.lock:
            running = [t for t in self.store.live.values() if t.service and t.status == "RUNNING"]
            sessions = {
                t.id: [c.process.pid for c in t.containers if c.process and c.exit_code is None] for t in running
            }
        now, used, before = time.monotonic(), usage() if running else {}, self._before
        self._before = {}
        values: dict[object, list[tuple[float, float]]] = defaultdict(list)
        for task in running:
            cpu = sum(used[pid][0] for pid in sessions[task.id] if pid in used)
            memory = sum(used[pid][1] for pid in sessions[task.id] if pid in used)
            since, earlier = before.get(task.id) or (task.running_since or now, 0.0)
            self._before[task.id] = (now, cpu)
            if now - since > 0.1:
                vcpus, mib = task.limits
                share = max(0.0, cpu - earlier) / (now - since) / vcpus * 100
                values[task.service].append((min(share, 100.0), memory / (mib * 2**20) * 100))
        for service, samples in values.items():
            dimensions = {"ClusterName": service.cluster.name, "ServiceName": service.name}
            for index, name in enumerate(("CPUUtilization", "MemoryUtilization")):
                average = sum(sample[index] for sample in samples) / len(samples)
                self.sandbox.put_metric("AWS/ECS", name, average, dimensions, "Percent", region=service.cluster.region)
