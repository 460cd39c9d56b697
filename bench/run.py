"""Runs a command and tells what it cost: time, CPU, memory, API calls."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass
class Run:
    """``seconds`` by the clock, ``cpu`` seconds of the command and all it started, ``calls`` that it made of AWS."""

    seconds: float
    cpu: float
    output: str
    calls: Counter = field(default_factory=Counter)
    throttled: Counter = field(default_factory=Counter)

    @property
    def changed(self) -> int:
        """Tasks that ansible-playbook calls changed."""
        return int(self.output.rpartition("changed=")[2].split()[0])


def faults(env: dict[str, str], settings: dict | None = None) -> dict:
    """What the sandbox's proxy has counted since its last settings, or since these (sandbox/faults.py)."""
    request = urllib.request.Request(  # noqa: S310 - our own endpoint
        env["AWS_ENDPOINT_URL"] + "/_sandbox/faults",
        data=None if settings is None else json.dumps(settings).encode(),
        method="GET" if settings is None else "PUT",
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return json.load(answer)


def run(env: dict[str, str], *command: str, settings: dict | None = None, beside=None) -> Run:
    """Run to the end; exit when it fails. ``beside(pid)`` is called again and again meanwhile.

    With ``settings`` of the sandbox's proxy its calls are counted, and meet what they say.
    """
    if settings is not None:
        faults(env, settings)
    with tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, env=env, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
        if beside:
            threading.Thread(target=_watch, args=(process, beside), daemon=True).start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{text}")
    counted = {"by_operation": {}, "over_the_limit": {}} if settings is None else faults(env)
    cpu = usage.ru_utime + usage.ru_stime
    return Run(seconds, cpu, text, Counter(counted["by_operation"]), Counter(counted["over_the_limit"]))


def _watch(process: subprocess.Popen, beside) -> None:
    while process.returncode is None:
        beside(process.pid)
        time.sleep(0.05)


def peak_memory(env: dict[str, str], *command: str) -> float:
    """MB that the command and its children hold at most; pages that they share are counted once (PSS)."""
    peaks = [0]

    def sample(pid: int) -> None:
        total = 0
        try:
            main = psutil.Process(pid)
            for process in [main, *main.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue  # a fork that has ended
        except psutil.Error:
            return
        peaks.append(total)

    run(env, *command, beside=sample)
    return max(peaks) / 1e6


def middle(runs: list[Run]) -> Run:
    """The median of seconds and of CPU; the rest is of the last one."""
    return Run(
        statistics.median(one.seconds for one in runs),
        statistics.median(one.cpu for one in runs),
        runs[-1].output,
        runs[-1].calls,
        runs[-1].throttled,
    )
