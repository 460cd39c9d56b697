# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parse the AWS service models once, in ansible-playbook's own process, before it forks its workers."""

from __future__ import annotations

from ansible.plugins.callback import CallbackBase
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import preload

DOCUMENTATION = """
name: preload
type: aggregate
short_description: Load boto3 and the AWS service models before workers are forked
description:
  - Every task runs in a forked worker. What is loaded before the fork is shared by all of them; without this callback
    each AWS task spends about 0.3 s on it.
author: Nexus Learn platform team
requirements:
  - enabled in ansible.cfg as C(callbacks_enabled = nexus_learn.aws.preload)
"""

SERVICES = (
    "application-autoscaling",
    "ec2",
    "ecs",
    "elasticache",
    "elbv2",
    "iam",
    "logs",
    "secretsmanager",
    "sts",
)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "nexus_learn.aws.preload"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        preload(SERVICES)
