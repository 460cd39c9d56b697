"""The customer's own commands, as they would type them, against a sandbox of the test's own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import steps

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Run:
    returncode: int
    output: str
    step: dict[str, Any]
    # what the callback nexus_learn.aws.plan wrote, or None
    plan: dict[str, Any] | None

    @property
    def changed(self) -> int:
        """The recap's changed=N."""
        return int(re.search(r"localhost .* changed=(\d+)", self.output).group(1))

    @property
    def text(self) -> str:
        """The output with Ansible's line folding undone."""
        return re.sub(r"\s+", " ", self.output)

    @property
    def changed_tasks(self) -> list[str]:
        """The names of the tasks that changed something, in order."""
        tasks, name = [], ""
        for line in self.output.splitlines():
            if line.startswith("TASK ["):
                name = line[6 : line.rindex("]")]
            elif line.startswith("changed: "):
                tasks.append(name)
        return tasks


class Console:
    """A shell set up for one sandbox, in the clone."""

    def __init__(self, sandbox, steps_file: Path):
        self.sandbox = sandbox
        self.steps_file = steps_file
        self.plan_file = steps_file.with_name("plan.json")
        self.env = {
            **sandbox.env,
            "ANSIBLE_FORCE_COLOR": "0",
            "COLUMNS": "200",
            "ANSIBLE_CALLBACK_PLUGINS": str(steps.CALLBACKS),
            "STEPS_FILE": str(steps_file),
            "NEXUS_PLAN_FILE": str(self.plan_file),
        }

    def playbook(self, *arguments: str, succeeds: bool | None = True, env: dict[str, str] | None = None) -> Run:
        """``ansible-playbook ARGUMENTS``; asserts that it succeeds, or fails, as said (None: either)."""
        done = subprocess.run(
            ["ansible-playbook", *arguments],
            cwd=ROOT,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert succeeds in (None, done.returncode == 0), done.stdout
        plan = json.loads(self.plan_file.read_text()) if self.plan_file.exists() else None
        return Run(done.returncode, done.stdout, steps.recorded(self.steps_file)[-1], plan)

    def interrupted(self, *arguments: str, after: str) -> str:
        """Start ``ansible-playbook ARGUMENTS`` and press Ctrl-C once ``after`` is in its output; returns the output."""
        process = subprocess.Popen(
            ["ansible-playbook", *arguments],
            cwd=ROOT,
            env={**self.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seen = ""
        for line in process.stdout:
            seen += line
            if after in line:
                process.send_signal(signal.SIGINT)
                break
        try:
            rest, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            # ansible-core may end a worker while it holds the lock of the results queue, and then waits for that lock
            # itself. One presses Ctrl-C again.
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        assert after in seen, seen + rest
        return seen + rest

    def ask(self, url: str, question: str, timeout: float = 60) -> dict:
        """Ask the API a question and return the answer, as the guide's curl does it."""
        body = json.dumps({"student_id": "test", "question": question}).encode()
        request = urllib.request.Request(
            f"{url}/api/ai/ask-async/", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 202
            task_id = json.load(response)["task_id"]
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"{url}/api/ai/tasks/{task_id}/", timeout=10) as response:
                task = json.load(response)
            if task["state"] in ("SUCCESS", "FAILURE"):
                return task
            time.sleep(0.2)
        raise AssertionError(f"no answer after {timeout} s: {task}")


@pytest.fixture(scope="module")
def console(start_sandbox, tmp_path_factory) -> Console:
    """A console on a sandbox that this test file has for itself."""
    return Console(start_sandbox(), tmp_path_factory.mktemp("console") / "steps")
