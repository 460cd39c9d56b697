# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecr_image
from ansible_collections.nexus_learn.aws.plugins.modules.ecr_image import SPEC
from ansible_collections.nexus_learn.aws.plugins.plugin_utils.action import AggregateAction


class ActionModule(AggregateAction):
    aggregate = ecr_image
    spec = SPEC
