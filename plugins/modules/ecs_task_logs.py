#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_task_logs
short_description: Read the last log lines of ECS services
version_added: 1.0.0
description:
  - Returns what the tasks of services wrote to CloudWatch Logs with the C(awslogs) driver, in the order of time. Tasks
    that have ended, and those that were run beside a service, are among them.
author: Nexus Learn platform team
options:
  services:
    description: Short names of the services. Left out, all of the cluster.
    type: list
    elements: str
    default: []
  since:
    description: How far back, for example V(90s), V(10m), V(2h) or V(1d).
    type: str
    default: 10m
  filter:
    description:
      - Filter pattern of CloudWatch Logs, see
        U(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html).
    type: str
  lines:
    description: How many lines to return, the last ones of all services together.
    type: int
    default: 100
  state:
    description: Logs can only be read.
    type: str
    choices: [gathered]
    default: gathered
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
  - nexus_learn.aws.service
"""

EXAMPLES = r"""
- name: What went wrong in the last hour
  nexus_learn.aws.ecs_task_logs:
    cluster: nexus-learn-cluster
    naming: nexus-learn-*-service
    since: 1h
    filter: ERROR
"""

RETURN = r"""
events:
  description: The events, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - at: 2026-11-25T10:12:00Z
      timestamp: 1795601520000
      service: celery-worker
      container: celery-worker
      task: 0f8f6b5a3e8d4a0f9c1d2b3a4c5d6e7f
      message: "INFO MainProcess celery@ip-10-0-1-7 ready."
lines:
  description: The same for people, with the time, the service and the beginning of the task's id.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_task_logs
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_verbs import NAMED

SPEC = {
    "argument_spec": {
        **NAMED,
        "services": {"type": "list", "elements": "str", "default": []},
        "since": {"type": "str", "default": "10m"},
        "filter": {"type": "str"},
        "lines": {"type": "int", "default": 100},
        "state": {"type": "str", "choices": ["gathered"], "default": "gathered"},
    }
}


def main():
    module_main(ecs_task_logs, SPEC)


if __name__ == "__main__":
    main()
