#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: diagnose
short_description: Find out what is wrong with Redis, the Celery workers, beat and the API
version_added: 1.0.0
description:
  - Reads services, deployments, tasks with their exit codes and last log lines, task definitions, secrets, log groups,
    security groups, the replication group with its nodes, parameters, metrics and events, the load balancer's targets,
    the scaler's activities and the alarms, and asks the API for what only the inside of the VPC can tell of Redis and
    Celery.
  - Returns what is wrong with them, the most fundamental cause first, each with its evidence and the command that mends
    it. What only follows from another finding stands behind that one and says so.
  - A read that fails is a finding itself. Nothing is changed, and no secret is returned.
author: Nexus Learn platform team
options:
  cluster:
    description: Name of the ECS cluster. All services in it are looked at.
    type: str
    required: true
  services:
    description: Names of the services that have to be there.
    type: list
    elements: str
    default: []
  replication_group:
    description: Id of the replication group.
    type: str
    required: true
  redis_port:
    description: Port of Redis that the security groups have to let the services through to.
    type: int
    default: 6379
  alarm_prefix:
    description: What the names of the alarms begin with that are looked at.
    type: str
    required: true
  differences:
    description:
      - What differs from the inventory, as RV(ignore:changes) of the modules that deploy the stack say in check mode.
      - Left out, it is not known.
    type: list
    elements: dict
  differences_unknown:
    description: Why O(differences) are not known.
    type: str
    default: ""
  inventory:
    description: What C(ansible-playbook) gets as C(-i) in the commands.
    type: str
    default: inventories/dev
  state:
    description: A stack can only be looked at.
    type: str
    choices: [gathered]
    default: gathered
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Look for what is wrong
  nexus_learn.aws.diagnose:
    cluster: nexus-learn-cluster
    services: [nexus-learn-backend-service, nexus-learn-celery-worker-service, nexus-learn-celery-beat-service]
    replication_group: nexus-learn-redis
    alarm_prefix: nexus-learn-
  register: diagnosis
"""

RETURN = r"""
healthy:
  description: Whether nothing was found.
  returned: success
  type: bool
findings:
  description: What is wrong, in the order of the numbers.
  returned: success
  type: list
  elements: dict
  sample:
    - number: 1
      because_of:
      cause: image_not_found
      resource: service nexus-learn-celery-beat-service
      text: The image nexus-learn-worker:missing cannot be pulled
      evidence: "task 0123456789abcdef: CannotPullContainerError: pull image manifest has been retried 1 time(s)"
      command: ansible-playbook site.yml -i inventories/dev -e app_image=<an image that is there>
      affects: [nexus-learn-celery-beat-service]
unknown:
  description: What could not be found out, and why; not an error by itself.
  returned: success
  type: list
  elements: str
facts:
  description: What was read, mostly as AWS answers it.
  returned: success
  type: dict
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import diagnose
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "cluster": {"type": "str", "required": True},
        "services": {"type": "list", "elements": "str", "default": []},
        "replication_group": {"type": "str", "required": True},
        "redis_port": {"type": "int", "default": 6379},
        "alarm_prefix": {"type": "str", "required": True},
        "differences": {"type": "list", "elements": "dict"},
        "differences_unknown": {"type": "str", "default": ""},
        "inventory": {"type": "str", "default": "inventories/dev"},
        "state": {"type": "str", "choices": ["gathered"], "default": "gathered"},
    }
}


def main():
    module_main(diagnose, SPEC)


if __name__ == "__main__":
    main()
