# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import hashlib
import importlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.ahead import Ahead
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.inventory import checked
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.play import Unforeseeable, following


class ActionModule(ActionBase):
    """Check the inventory, then plan all that the rest of the play does, in one process, on the controller."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        outputs, roles = self._task.args.pop("outputs", None), self._task.args.pop("roles", [])
        values, wrong = checked(self._templar, self._loader, task_vars, roles)
        if wrong:
            return {**result, "failed": True, "msg": "Nothing was touched. " + " ".join(wrong), "errors": wrong}
        foreseen: dict[str, Any] = {"unchanged": False, "steps": [], "outputs": None}
        # evaluated once instead of wherever they are used
        play = following(self._task, {**task_vars, **values}, self._templar)
        aws = Aws(self._task.args)
        ahead = Ahead(aws, self._questions(task_vars))
        try:
            task, templar = next(play)
            ahead.start()
            while True:
                step = self._foresee(task, templar, aws)
                if step.get("failed"):
                    return {**result, **step, "msg": f"{task.get_name()}: {step['msg']}"}
                foreseen["steps"].append({"task": task.get_name(), **step})
                task, templar = play.send(step)
        except StopIteration as end:
            foreseen["unchanged"] = bool(foreseen["steps"]) and all(step["settled"] for step in foreseen["steps"])
            if foreseen["unchanged"] and outputs:
                foreseen["outputs"] = self._evaluated(end.value, outputs)
        except Unforeseeable as reason:
            Display().vv(f"The plan ends before {reason}.")
        finally:
            ahead.end()
        if foreseen["steps"]:
            ahead.keep()
        return {**result, **foreseen}

    def _questions(self, task_vars: dict[str, Any]) -> Path:
        """A file for each play, stack, selection by tags, and account and region as far as options tell."""
        play = self._task.play
        options = [self._task.args.get(name) for name in ("region", "profile", "endpoint_url")]
        options += [os.environ.get(name) for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL")]
        selected = [sorted(play.only_tags), sorted(play.skip_tags)]
        run = [play.get_path(), task_vars.get("inventory_dir"), task_vars.get("name_prefix"), selected, options]
        name = hashlib.sha256(json.dumps(run, default=str).encode()).hexdigest()[:16]
        return Path(constants.ANSIBLE_HOME, "nexus_learn", f"{name}.json")

    @staticmethod
    def _evaluated(templar: Any, name: str) -> Any:
        """None in a run whose tags leave out what it is made of, which shows no outputs either."""
        with suppress(AnsibleUndefinedVariable):
            return templar.template(templar.available_variables[name])
        return None

    def _foresee(self, task: Any, templar: Any, aws: Aws) -> dict[str, Any]:
        name = task.resolved_action.rsplit(".", 1)[1]
        action = importlib.import_module(f"ansible_collections.nexus_learn.aws.plugins.action.{name}").ActionModule
        return action.here({**self._task.args, **templar.template(task.args)}, check_mode=True, aws=aws)
