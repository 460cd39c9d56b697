# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.nexus_learn.aws.plugins.module_utils import validation
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import known_regions

ROLES = Path(__file__).resolve().parents[2] / "roles"


class ActionModule(ActionBase):
    """Check the inventory's variables, all at once, before anything is touched. Works on the controller only."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        wrong: list[str] = []
        values = self._evaluated(validation.SPEC, task_vars, wrong)
        wrong = wrong or validation.errors(values, known_regions()) or list(self._role_errors(task_vars))
        if wrong:
            return {**result, "failed": True, "msg": "Nothing was touched. " + " ".join(wrong), "errors": wrong}
        return {**result, "changed": False}

    def _evaluated(self, names: Iterable[str], task_vars: Mapping, wrong: list[str]) -> dict[str, Any]:
        values = {}
        for name in names:
            if name in task_vars:
                try:
                    values[name] = self._templar.template(task_vars[name])
                except AnsibleError as error:
                    wrong.append(f"{name} cannot be evaluated: {error}")
        return values

    def _role_errors(self, task_vars: Mapping) -> Iterator[str]:
        """What Ansible would say of each role as it comes to it, after those before it have changed things."""
        for role in self._task.args.get("roles", []):
            specs = self._loader.load_from_file(str(ROLES / role / "meta/argument_specs.yml"), trusted_as_template=True)
            spec = specs["argument_specs"]["main"]["options"]
            wrong: list[str] = []
            values = self._evaluated(spec, task_vars, wrong)
            yield from wrong or ArgumentSpecValidator(spec).validate(values).error_messages
