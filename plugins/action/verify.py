# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.nexus_learn.aws.plugins.module_utils import (
    verify,
    verify_capacity,
    verify_network,
    verify_tasks,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.verify import FAILED, OK, UNKNOWN, Finding, Step
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.inventory import checked
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.play import Unforeseeable, first_play, following

CHECKS: dict[str, verify.Check] = {
    "image": verify_tasks.images,
    "role": verify_tasks.roles,
    "secret": verify_tasks.secrets,
    "log group": verify_tasks.logs,
    "way out": verify_network.ways_out,
    "egress and way to Redis": verify_network.security_groups,
    "addresses": verify_capacity.addresses,
    "quota": verify_capacity.quotas,
    "Redis": verify_network.redis,
    "deployment alarms": verify_tasks.alarms,
    "shutdown": verify_tasks.shutdown,
}
_COLOURS = {FAILED: constants.COLOR_ERROR, UNKNOWN: constants.COLOR_WARN, OK: constants.COLOR_OK}


class ActionModule(ActionBase):
    """Foresee what a playbook deploys, in one process, on the controller, and check what it needs."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        playbook, roles = self._task.args.pop("playbook"), self._task.args.pop("roles", [])
        task, variables = first_play(playbook, self._task, task_vars, self._loader)
        values, wrong = checked(self._templar, self._loader, variables, roles)
        if wrong:
            return {**result, "failed": True, "msg": "Nothing was touched. " + " ".join(wrong), "errors": wrong}
        aws = Aws(self._task.args)
        steps, end = self._foreseen(task, {**variables, **values}, aws)
        findings = [end, *verify.run(aws, verify.Stack(steps), CHECKS)]
        for finding in findings:
            Display().display(f"    {finding.line()}", color=_COLOURS.get(finding.status))
        return {**result, "changed": False, **verify.result(findings)}

    def _foreseen(self, first: Any, variables: Mapping[str, Any], aws: Aws) -> tuple[list[Step], Finding]:
        """The steps as far as they can be foreseen, and what that says."""
        steps: list[Step] = []
        following_tasks = following(first, variables, self._templar)
        try:
            task, templar = next(following_tasks)
            while True:
                step = self._step(task, templar, aws)
                if step.result.get("failed"):
                    mend = "What comes after it could not be checked."
                    return steps, Finding("plan", step.task, FAILED, step.result["msg"], mend)
                steps.append(step)
                task, templar = following_tasks.send(step.result)
        except StopIteration:
            changes = sum(len(step.result["changes"]) for step in steps)
            return steps, Finding(
                "plan", "all steps", OK, f"nothing is refused; {changes} changes in {len(steps)} steps."
            )
        except Unforeseeable as reason:
            return steps, Finding("plan", str(reason), UNKNOWN, "what this task and those after it do is not foreseen.")

    def _step(self, task: Any, templar: Any, aws: Aws) -> Step:
        module = task.resolved_action.rsplit(".", 1)[1]
        action = importlib.import_module(f"ansible_collections.nexus_learn.aws.plugins.action.{module}").ActionModule
        args = {**self._task.args, **templar.template(task.args)}
        return Step(task.get_name(), module, action.valid(args)[0], action.here(args, check_mode=True, aws=aws))
