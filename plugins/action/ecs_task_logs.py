# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_task_logs
from ansible_collections.nexus_learn.aws.plugins.modules.ecs_task_logs import SPEC
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.action import AggregateAction


class ActionModule(AggregateAction):
    aggregate = ecs_task_logs
    spec = SPEC
