"""`playbooks/diagnose.yml` on a stack that is sound, and on the twenty broken ones of diagnose_cases.py."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pytest
import steps
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nexus_learn.aws.plugins.module_utils import diagnose, doors
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.modules.diagnose import SPEC
from conftest import Console
from diagnose_cases import BACKEND, BEAT, BY_COMMAND, CASES, CLUSTER, GROUP, WORKER, Broken, Case

ROOT = Path(__file__).resolve().parents[2]
STACK = {
    "redis_num_nodes": 2,
    "redis_automatic_failover_enabled": True,
    "celery_desired_count": 1,
    "ecs_backend_desired_count": 1,
}
INVENTORY = ("-i", "inventories/dev", "-e", json.dumps(STACK))
DIAGNOSE = ("playbooks/diagnose.yml", *INVENTORY, "-e", "output_format=json")


class Diagnosed(Console):
    aws: Aws | None = None

    def playbook(self, *arguments: str, **more):
        return super().playbook(*arguments, *(() if "-i" in arguments else INVENTORY), **more)

    def findings(self) -> list[dict]:
        """What the module finds, in this process: for waiting."""
        arguments = {
            "region": "us-east-1", "endpoint_url": self.sandbox.endpoint, "access_key": "sandbox",
            "secret_key": "sandbox", "aws_config": {"retries": {"mode": "standard", "max_attempts": 3}},
            "cluster": CLUSTER, "services": [BACKEND, WORKER, BEAT], "replication_group": GROUP,
            "alarm_prefix": "nexus-learn-",
        }  # fmt: skip
        validation = ArgumentSpecValidator(**doors.full_spec(SPEC)).validate(arguments)
        assert validation.error_messages == []
        self.aws = self.aws or Aws(validation.validated_parameters)
        result = doors.enter(diagnose, validation.validated_parameters, check_mode=True, say=print, aws=self.aws)
        assert not result.get("failed"), result
        return result["findings"]

    def until(self, cause: str | None) -> list[dict]:
        """Wait for this to be the first finding, or for none."""
        deadline = time.monotonic() + 120
        while True:
            found = self.findings()
            if (found[0]["cause"] if found else None) == cause:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def diagnosis(self, *arguments: str, succeeds: bool) -> dict:
        run = self.playbook(*DIAGNOSE, *arguments, succeeds=succeeds)
        assert steps.writes(run.step) == []
        text = re.search(r"TASK \[Show the diagnosis\].*?msg: (.*?)\n\nTASK", run.output, re.S).group(1)
        return json.loads(text.strip().removeprefix("|-"))


# what differs from run to run
CHANGING = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "<task>"),
    (re.compile(r"sleep \d+"), "sleep <seconds>"),
    (re.compile(r"within \d+ s"), "within <seconds> s"),
    (re.compile(r"(nexus-learn-[a-z-]+):\d+"), r"\1:<revision>"),
    (re.compile(r"nexus-learn-redis-00\d"), "<node>"),
    (re.compile(r"API calls: [^:]+"), "API calls: <reads>"),
)


def row(case: Case, finding: dict) -> str:
    """Its line in the table of docs/diagnose.md."""
    cells = [case.symptom, f"`{finding['cause']}`: {finding['resource']}: {finding['text']}", f"`{finding['command']}`"]
    line = f"| {' | '.join(cells)} |"
    for pattern, word in CHANGING:
        line = pattern.sub(word, line)
    return line


@pytest.fixture(scope="module")
def stack(start_sandbox, tmp_path_factory) -> Broken:
    # with the proxy that can throttle; crash loops are held back for AWS minutes
    sandbox = start_sandbox(6.0, "--throttle", "0")
    console = Diagnosed(sandbox, tmp_path_factory.mktemp("console") / "steps")
    console.playbook("site.yml")
    return Broken(console)


def test_a_sound_stack_has_no_findings(stack):
    stack.console.until(None)
    found = stack.console.diagnosis("--check", succeeds=True)
    assert found == {"healthy": True, "findings": [], "unknown": []}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_broken_stack_is_told_its_cause_first(stack, case: Case):
    console = stack.console
    case.broken(stack)
    try:
        # what a task definition is compared with, only the playbook knows
        found = console.until(None if case.cause == "task_definition_drifted" else case.cause)
        if case.playbook:
            found = console.diagnosis(succeeds=False)["findings"]
    finally:
        if callable(case.mended):
            case.mended(stack)
    first = found[0]
    assert (first["cause"], first["because_of"]) == (case.cause, None), found
    assert first["resource"].startswith(case.resource)
    assert case.evidence in first["evidence"]
    assert case.command in first["command"]
    assert row(case, first) in (ROOT / "docs/diagnose.md").read_text().splitlines(), row(case, first)
    assert stack.value["auth_token"] not in json.dumps(found)
    assert all(one["because_of"] for one in found[1:]), found
    if case.mended == BY_COMMAND:
        # what is to be done by hand before it, the run itself puts right here: it was done by hand, too
        _, program, arguments = first["command"].partition("ansible-playbook ")
        assert program
        console.playbook(*shlex.split(arguments), "-e", json.dumps(STACK))
    if case.mended:
        console.until(None)
        stack.remember()


def test_it_is_a_line_for_each_finding_with_the_command_that_mends_it(stack):
    """The storm of the last case is over when the scaler has forgotten it."""
    run = stack.console.playbook("playbooks/diagnose.yml", *INVENTORY, "--check", succeeds=False)
    assert f"1. service {WORKER}: The scaler took workers away 3 times" in run.text
    assert "Mend: ansible-playbook site.yml -i inventories/dev --tags autoscaling" in run.text
    assert "Findings: 1. The first is service" in run.text
    assert stack.value["auth_token"] not in run.output
