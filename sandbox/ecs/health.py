"""Container health checks, with Docker's rules (https://docs.docker.com/reference/dockerfile/#healthcheck)."""

import signal
import subprocess
from collections.abc import Callable

START_INTERVAL = 2.0
"""Seconds between checks while a container starts up (Docker: --start-interval): a quick start is noticed quickly."""


class HealthCheck:
    """Runs one container's check as a process again and again; `status` is UNKNOWN, HEALTHY or UNHEALTHY."""

    def __init__(self, check: dict, start: Callable[[list[str]], subprocess.Popen], processes, now: float):
        kind, *words = check["command"]
        self.argv = ["/bin/sh", "-c", " ".join(words)] if kind == "CMD-SHELL" else words
        self.interval, self.timeout, self.retries = check["interval"], check["timeout"], check["retries"]
        self.status = "UNKNOWN"
        self._start, self._processes = start, processes
        self._counts_from = now + max(check.get("startPeriod", 0), self.interval)
        self._next = now + 0.5
        self._failures = 0
        self._process: subprocess.Popen | None = None
        self._deadline = 0.0

    def tick(self, now: float) -> None:
        if self._process is None:
            if now >= self._next:
                self._process, self._deadline = self._start(self.argv), now + self.timeout
            return
        code = self._process.poll()
        if code is None and now < self._deadline:
            return
        self.cancel()
        starting = self.status == "UNKNOWN" and now < self._counts_from
        if code == 0:
            self.status, self._failures = "HEALTHY", 0
        elif not starting:
            self._failures += 1
            if self._failures >= self.retries:
                self.status = "UNHEALTHY"
        self._next = now + (min(self.interval, START_INTERVAL) if starting and code != 0 else self.interval)
        if starting and code != 0:  # the last free try must not push the first counted one out by a whole interval
            self._next = min(self._next, max(self._counts_from, now))

    def cancel(self) -> None:
        if self._process:
            self._processes.kill_group(self._process, signal.SIGKILL)
            self._process.wait()
            self._processes.ended(self._process)
            self._process = None
