#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_service_status
short_description: See how ECS services are
version_added: 1.0.0
description:
  - Returns of each service how many tasks run and are wanted, its deployments with their state and reason, its tasks,
    the image of each version, the limits of its scaler and its last events; and the alarms that ring.
author: Nexus Learn platform team
options:
  services:
    description: Short names of the services. Left out, all of the cluster.
    type: list
    elements: str
    default: []
  events:
    description: How many events of each service to return, the last ones.
    type: int
    default: 5
  alarm_name_prefix:
    description:
      - Beginning of the names of the CloudWatch alarms to look at. Left out, none is. The alarms of target tracking are
        called C(TargetTracking-service/...).
    type: str
  state:
    description: This module only reads.
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
- name: How the workers are
  nexus_learn.aws.ecs_service_status:
    cluster: nexus-learn-cluster
    naming: nexus-learn-*-service
    services: [celery-worker]
    alarm_name_prefix: nexus-learn-
"""

RETURN = r"""
services:
  description: The services.
  returned: success
  type: list
  elements: dict
  sample:
    - name: celery-worker
      service: nexus-learn-celery-worker-service
      status: ACTIVE
      running: 2
      desired: 2
      pending: 0
      scaler: {min: 1, max: 5}
      deployments:
        - id: ecs-svc/1234567890123456789
          status: PRIMARY
          state: COMPLETED
          reason: ECS deployment ecs-svc/1234567890123456789 completed.
          task_definition: nexus-learn-celery-worker:5
          image: nexus-learn-worker:latest
          running: 2
          desired: 2
          failed: 0
          since: 2026-11-25 10:12:00 UTC
      tasks:
        - id: 0f8f6b5a3e8d4a0f9c1d2b3a4c5d6e7f
          task_definition: nexus-learn-celery-worker:5
          container: celery-worker
          image: nexus-learn-worker:latest
          status: RUNNING
          health: HEALTHY
          zone: us-east-1a
          since: 2026-11-25 10:12:20 UTC
          enable_execute_command: false
      events:
        - at: 2026-11-25 10:13:00 UTC
          message: (service nexus-learn-celery-worker-service) has reached a steady state.
alarms:
  description: Alarms in ALARM, each with C(name), C(reason) and C(since).
  returned: success
  type: list
  elements: dict
lines:
  description: The same for people, line by line.
  returned: success
  type: list
  elements: str
cluster:
  description: Name of the cluster.
  returned: success
  type: str
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_service_status
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_verbs import NAMED

SPEC = {
    "argument_spec": {
        **NAMED,
        "services": {"type": "list", "elements": "str", "default": []},
        "events": {"type": "int", "default": 5},
        "alarm_name_prefix": {"type": "str"},
        "state": {"type": "str", "choices": ["gathered"], "default": "gathered"},
    }
}


def main():
    module_main(ecs_service_status, SPEC)


if __name__ == "__main__":
    main()
