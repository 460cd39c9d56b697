"""Whole runs of ansible-playbook on bad days, against a sandbox of their own."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
from inventory import inventory

ROOT = Path(__file__).resolve().parents[2]
SITE = ("site.yml", "-i", "inventories/dev")
# A stack whose services have no tasks: as much to create, and nothing to wait for.
EMPTY = json.dumps({"celery_desired_count": 0, "celery_min_count": 0, "ecs_backend_desired_count": 0})


class Deployer:
    """Somebody who runs site.yml on ``.sandbox``, with what faults there are just then."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.env = {**sandbox.env, "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "200"}

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            ["ansible-playbook", *SITE, *arguments],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> int:
        """To its end, which has to be a good one; returns the recap's changed=N."""
        output = self.start(*arguments).communicate(timeout=1800)[0]
        recap = re.search(r"localhost .* changed=(\d+) .* failed=0", output)
        assert recap, output
        return int(recap.group(1))

    def killed(self, *arguments: str, **hold: int) -> bool:
        """kill -9 of ansible-playbook and its workers at that call or write; False when it ended before."""
        self.sandbox.faults(**hold)
        process = self.start(*arguments)
        main = psutil.Process(process.pid)
        try:
            while process.poll() is None:
                if self.sandbox.ask("faults")["done"].get("held"):
                    # workers lead sessions of their own: those that are left go on with their task
                    for one in [main, *main.children(recursive=True)]:
                        with contextlib.suppress(psutil.NoSuchProcess):
                            one.kill()
                    return True
                time.sleep(0.05)
            return False
        finally:
            output = process.communicate()[0]
            self.sandbox.faults()
            assert "failed=1" not in output, output

    def inventory(self) -> dict[str, list[Any]]:
        return inventory(self.sandbox.client)

    def reset(self) -> None:
        self.sandbox.faults()
        self.sandbox.ask("reset", "POST")
