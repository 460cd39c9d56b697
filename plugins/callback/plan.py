# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""At the end of a run: what it changed, or a check would change, with what that interrupts and costs."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible_collections.nexus_learn.aws.plugins.module_utils import plan_report

DOCUMENTATION = """
name: plan
type: aggregate
short_description: Sum up what a run changed, or a check would change
description:
  - "Prints at the end of a run in which modules of this collection took part: how many resources were created, changed,
    replaced, deleted and left unchanged; each changed field with before and after; what disruptive changes interrupt
    and for about how long; what was left alone or refused; and the cost by the month, before and after."
  - Can write the same as JSON to a file. Its keys are described at the top of C(plugins/module_utils/plan_report.py).
author: Nexus Learn platform team
requirements:
  - enabled in ansible.cfg as C(callbacks_enabled = nexus_learn.aws.plan)
options:
  path:
    description:
      - File that gets the summary as JSON. Removed when a run starts and written whole when it ends, so that what is in
        it never belongs to an earlier run, nor to one that was killed.
    type: path
    env:
      - name: NEXUS_PLAN_FILE
    ini:
      - section: callback_plan
        key: path
"""

_COLLECTION = "nexus_learn.aws."
# has no plan
_CHECKS = {f"{_COLLECTION}validate", f"{_COLLECTION}verify"}
_PLAN = f"{_COLLECTION}plan"
# a playbook's word to this callback: set_stats with data: {nexus_learn_plan: {view: cost, assumed: {...}}}
_STAT = "nexus_learn_plan"

_COLOURS = {
    "head": "COLOR_HIGHLIGHT",
    "create": "COLOR_DIFF_ADD",
    "update": "COLOR_CHANGED",
    "replace": "COLOR_WARN",
    "delete": "COLOR_DIFF_REMOVE",
    "warn": "COLOR_WARN",
    "failed": "COLOR_ERROR",
    "note": "COLOR_VERBOSE",
}


def _outcome(one: dict[str, Any]) -> str:
    """Of one round of a loop."""
    if one.get("failed") or one.get("unreachable"):
        return plan_report.FAILED
    return plan_report.SKIPPED if one.get("skipped") else plan_report.OK


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "nexus_learn.aws.plan"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._entries: list[dict[str, Any]] = []
        # by nexus_learn.aws.plan, of the tasks after it
        self._foreseen: list[dict[str, Any]] = []
        self._playbook = ""
        self._started = datetime.now(UTC)

    def v2_playbook_on_start(self, playbook):
        self._playbook = Path(playbook._file_name).name
        if self.get_option("path"):
            Path(self.get_option("path")).unlink(missing_ok=True)

    def v2_runner_on_ok(self, result):
        self._add(result, plan_report.OK)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._add(result, plan_report.FAILED)

    def v2_runner_on_unreachable(self, result):
        self._add(result, plan_report.FAILED)

    def v2_runner_on_skipped(self, result):
        self._add(result, plan_report.SKIPPED)

    def _add(self, result, outcome: str) -> None:
        task = result.task
        action = task.resolved_action or task.action
        if not action.startswith(_COLLECTION) or action in _CHECKS:
            return
        rounds = result.result.get("results") if task.loop is not None else None
        if action == _PLAN and outcome == plan_report.OK:
            steps = [self._entry(result, outcome, step["task"], step) for step in result.result["steps"]]
            # the tasks say it themselves, unless the play ends because there is nothing to do
            (self._entries if result.result["unchanged"] else self._foreseen).extend(steps)
        elif rounds:
            for one in rounds:
                self._add_one(result, _outcome(one), one)
        else:
            self._add_one(result, outcome, result.result)

    def _add_one(self, result, outcome: str, one: dict[str, Any]) -> None:
        # not every module of the collection makes a plan
        if outcome != plan_report.OK or "changes" in one or "censored" in one:
            self._entries.append(self._entry(result, outcome, result.task.get_name(), one))

    def _entry(self, result, outcome: str, title: str, one: dict[str, Any]) -> dict[str, Any]:
        role, _, name = title.rpartition(" : ")
        check_mode = bool(result.task.check_mode)
        return plan_report.entry(
            task=name, role=role, host=result.host.get_name(), check_mode=check_mode, outcome=outcome, result=one
        )

    def v2_playbook_on_stats(self, stats):
        if not any(item["outcome"] != plan_report.SKIPPED for item in self._entries):
            return
        wish = stats.custom.get("_run", {}).get(_STAT, {})
        report = self.report(stats, wish.get("assumed"))
        if wish.get("view") == "cost" and report["complete"]:
            lines = plan_report.cost_lines(report["cost"])
        else:
            lines = plan_report.text(report) if plan_report.has_news(report) else []
        for style, line in lines:
            self._display.display(line, color=getattr(constants, _COLOURS[style]) if style in _COLOURS else None)
        if self.get_option("path"):
            self._write(report)

    def report(self, stats, assumed=None) -> dict[str, Any]:
        """What ``plan_report.summary`` says of the run up to now."""
        return plan_report.summary(
            self._entries,
            foreseen=self._foreseen,
            playbook=self._playbook,
            started=self._started,
            finished=datetime.now(UTC),
            stopped=[*stats.failures, *stats.dark],
            assumed=assumed,
        )

    def _write(self, report: dict[str, Any]) -> None:
        path = Path(self.get_option("path"))
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "w") as file:
                json.dump(report, file, indent=2, default=str)
                file.write("\n")
            os.replace(name, path)
        except OSError as error:
            self._display.warning(f"The plan was not written to {path}: {error.strerror}.")
