# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.nexus_learn.aws.plugins.module_utils import stack_leftovers
from ansible_collections.nexus_learn.aws.plugins.modules.stack_leftovers import SPEC
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.action import AggregateAction


class ActionModule(AggregateAction):
    aggregate = stack_leftovers
    spec = SPEC
