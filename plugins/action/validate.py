# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import boto3
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.nexus_learn.aws.plugins.module_utils import validation


class ActionModule(ActionBase):
    """Check the inventory's variables, all at once, before anything is touched. Works on the controller only."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        values, wrong = {}, []
        for name in validation.SPEC:
            if name not in task_vars:
                continue
            try:
                values[name] = self._templar.template(task_vars[name])
            except AnsibleError as error:
                wrong.append(f"{name} cannot be evaluated: {error}")
        session = boto3.session.Session()
        regions = [
            region
            for partition in session.get_available_partitions()
            for region in session.get_available_regions("ecs", partition_name=partition)
        ]
        wrong = wrong or validation.errors(values, regions)
        if wrong:
            return {**result, "failed": True, "msg": "Nothing was touched. " + " ".join(wrong), "errors": wrong}
        return {**result, "changed": False}
