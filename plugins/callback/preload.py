# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parse the AWS service models once, in ansible-playbook's own process, before it forks its workers."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import action_loader, filter_loader, lookup_loader, test_loader
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import preload

DOCUMENTATION = """
name: preload
type: aggregate
short_description: Load boto3, the AWS service models and Ansible's own plugins before workers are forked
description:
  - Every task runs in a forked worker. What is loaded before the fork is shared by all of them; without this callback
    each AWS task spends about 0.3 s on it.
author: Nexus Learn platform team
requirements:
  - enabled in ansible.cfg as C(callbacks_enabled = nexus_learn.aws.preload)
"""

# Tasks that come once, in playbooks of their own: what they import would cost every run a quarter of a second.
ALONE = {"diagnose", "ecr_image", "stack_leftovers", "verify"}
ACTIONS = sorted({path.stem for path in (Path(__file__).parents[1] / "action").glob("*.py")} - ALONE)

SERVICES = (
    "application-autoscaling",
    "ec2",
    "ecr",
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
        for action in ACTIONS:
            action_loader.get(f"nexus_learn.aws.{action}", class_only=True)
        # the first of a kind that is asked for makes Ansible load all of them, and each worker would do it anew
        filter_loader.get("to_json")
        filter_loader.get("nexus_learn.aws.pick")
        test_loader.get("defined")
        lookup_loader.get("template", class_only=True)
