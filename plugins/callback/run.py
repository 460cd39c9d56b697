# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run of ansible-playbook as a whole: it holds the deployment lock, and writes the journal when it lets go of it."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.nexus_learn.aws.plugins.module_utils import lock
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import preload

DOCUMENTATION = """
name: run
type: aggregate
short_description: Hold the deployment lock for a whole run and write the journal
description:
  - The tasks of a run share the lock that the option O(ignore:lock) of their modules names. It is taken by the first
    that has something to change, renewed while the run goes on, and released at its end, also after Ctrl-C.
  - Then an entry is added to the journal in the same bucket, C(journal/<time>-<run id>.json), with who ran what, the
    names of its extra variables, each changed field, the outcome and the outputs.
author: Nexus Learn platform team
requirements:
  - enabled in ansible.cfg as C(callbacks_enabled = nexus_learn.aws.run)
"""


def short(path: str) -> str:
    """A path as one would type it here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") or "," in path else relative


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "nexus_learn.aws.run"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.forget()

    def forget(self) -> None:
        """One command may name several playbooks; each is a run."""
        self.changes: list[dict[str, Any]] = []
        self.message = ""
        self.unfinished: list[dict[str, Any]] = []
        self.reasons: list[str] = []  # of the items of a loop that is under way
        self.outputs: dict[str, Any] = {}
        self.locks: dict[str, lock.Lock] = {}

    # --- what happens --------------------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook):
        options = context.CLIARGS
        if options.get("check") or options.get("syntax"):
            return
        self.forget()
        about = {
            "playbook": short(playbook._file_name),
            "inventory": [short(source) for source in options.get("inventory") or []],
            "tags": [tag for tag in options.get("tags") or [] if tag != "all"],
            "skip_tags": options.get("skip_tags") or [],
            "limit": options.get("subset") or "",
            "extra_vars": sorted(load_extra_vars(playbook._loader)),  # names only: values may be secret
        }
        lock.RUN = lock.Run(about)
        # Ctrl-C and errors of Ansible itself end a run without v2_playbook_on_stats.
        atexit.register(self.end, "interrupted")

    def v2_playbook_on_task_start(self, task, is_conditional):
        if lock.RUN:
            self.renew()

    def v2_playbook_on_handler_task_start(self, task):
        if lock.RUN:
            self.renew()

    def v2_runner_on_ok(self, result):
        self.collect(result)

    def v2_runner_item_on_ok(self, result):
        self.collect(result)

    def v2_runner_item_on_failed(self, result):
        self.collect(result)
        self.reasons.append(str(result.result.get("msg", "")))

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.collect(result)
        if not ignore_errors:
            # of a loop, the first item that failed says why
            reason = (self.reasons or [result.result.get("msg", "")])[0]
            self.message = f"{result.task.get_name()}: {reason}"
        self.reasons = []

    def v2_runner_on_unreachable(self, result):
        self.message = f"{result.task.get_name()}: {result.result.get('msg', '')}"

    def v2_playbook_on_stats(self, stats):
        failed = any(stats.failures.values()) or any(stats.dark.values())
        self.end("failed" if failed else "ok")

    # --- what is made of it --------------------------------------------------------------------------------------

    def collect(self, result) -> None:
        """The changes as the plan has them, secrets masked; and the outputs, which a task with that tag shows."""
        for change in result.result.get("changes") or []:
            if isinstance(change, dict):
                self.changes.append({"task": result.task.get_name(), **change})
        # of a task that failed half-way, nobody knows but AWS how much of its plan was carried out
        for change in result.result.get("planned") or []:
            self.unfinished.append({"task": result.task.get_name(), **change})
        undone = result.result.get("undone") or []
        self.unfinished += [change for change in self.changes if change["resource"] in undone]
        self.changes = [change for change in self.changes if change["resource"] not in undone]
        shown = result.result.get("msg")
        if "outputs" in result.task.tags and isinstance(shown, dict):
            self.outputs = shown

    def held(self) -> list[lock.Lock]:
        """The locks that a task of this run has taken; usually one or none."""
        for bucket, told in lock.RUN.locks().items():
            if told["held"] and bucket not in self.locks:
                preload(["s3"])  # for the workers to come, each of which will look at the lock
                self.locks[bucket] = lock.Lock(told["params"])
        return list(self.locks.values())

    def renew(self) -> None:
        for one in self.held():
            # the next task that wants to change something finds it out and says so
            with suppress(lock.Failed, lock.Refused):
                one.pulse()

    def end(self, outcome: str) -> None:
        """Write the journal and release the lock, once."""
        run = lock.RUN
        if run is None or run.in_worker:
            return
        told = run.locks()
        workers_gone = run.alone(timeout=10)
        lock.RUN = None
        for one in told.values():
            one_lock = lock.Lock({**one["params"], "lock": {**one["params"]["lock"], "run_id": run.id}})
            try:
                holder = one_lock.read(absent_bucket=True)
                if one["held"] or (holder and holder.id == run.id):
                    with suppress(one_lock.aws.client("s3").exceptions.NoSuchBucket):  # it was to be deleted
                        self.journal(one_lock, run, outcome, holder)
                if workers_gone:
                    one_lock.release()
                else:
                    self._display.warning(f"A worker is still at work; the lock s3://{one_lock.bucket} stays for now.")
            except lock.ERRORS as error:
                self._display.warning(f"s3://{one_lock.bucket}: {lock.explain(error)}")

    def journal(self, one_lock: lock.Lock, run: lock.Run, outcome: str, holder: lock.Holder | None) -> None:
        mine = holder is not None and holder.id == run.id
        one_lock.write_journal(
            {
                "id": run.id,
                **one_lock.who(),
                **run.about,
                "started": holder.content.get("started") if mine else "",
                "outcome": outcome,
                "message": self.message,
                "lock_broken": not mine,
                "changes": self.changes,
                "unfinished": self.unfinished,
                "outputs": self.outputs,
            }
        )
