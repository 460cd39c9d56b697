#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_service_count
short_description: Set how many tasks an ECS service runs
version_added: 1.0.0
description:
  - Sets the desired count of a service, and waits until as many tasks run. Where Application Auto Scaling scales the
    service, a count beyond its limits is refused, for the scaler would take it back, or the limits are moved.
  - The scaler goes on deciding from there, between its limits.
author: Nexus Learn platform team
options:
  service:
    description: Short name of the service.
    type: str
    required: true
  count:
    description: How many tasks.
    type: int
    required: true
  move_limits:
    description: Move the scaler's min or max as far as O(count) takes.
    type: bool
    default: false
  tags:
    description: Tags that say whose services are meant; one of another stack, or of nobody, is not touched.
    type: dict
  wait_timeout:
    description: Seconds to wait for the tasks.
    type: int
    default: 900
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
  - nexus_learn.aws.service
"""

EXAMPLES = r"""
- name: Five workers
  nexus_learn.aws.ecs_service_count:
    cluster: nexus-learn-cluster
    naming: nexus-learn-*-service
    service: celery-worker
    count: 5
"""

RETURN = r"""
service:
  description: Whole name of the service.
  returned: success
  type: str
desired_count:
  description: How many tasks are wanted.
  returned: success
  type: int
limits:
  description: C(min_capacity) and C(max_capacity) of the scaler, or null without one.
  returned: success
  type: dict
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_service_count
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_verbs import NAMED

SPEC = {
    "argument_spec": {
        **NAMED,
        "service": {"type": "str", "required": True},
        "count": {"type": "int", "required": True},
        "move_limits": {"type": "bool", "default": False},
        "tags": {"type": "dict"},
        "wait_timeout": {"type": "int", "default": 900},
    }
}


def main():
    module_main(ecs_service_count, SPEC)


if __name__ == "__main__":
    main()
