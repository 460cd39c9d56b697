# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.inventory import checked


class ActionModule(ActionBase):
    """Check the inventory's variables, all at once, before anything is touched. Works on the controller only."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, wrong = checked(self._templar, self._loader, task_vars, self._task.args.get("roles", []))
        if wrong:
            return {**result, "failed": True, "msg": "Nothing was touched. " + " ".join(wrong), "errors": wrong}
        return {**result, "changed": False}
