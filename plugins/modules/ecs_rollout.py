#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_rollout
short_description: Follow deployments of ECS services to their end
version_added: 1.0.0
description:
  - Follows the deployments that earlier tasks have begun, all at once and each by its id, shows the services' events as
    they come, and shows in the end what runs where.
  - A deployment that fails, is rolled back, is overtaken by another one or does not end in time fails the task. The
    message has, for each, the stop reason, exit code, health and last log lines of a task that failed, and the
    version that serves.
  - See U(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Deployment.html).
author: Nexus Learn platform team
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  deployments:
    description: What M(nexus_learn.aws.ecs_service) returns as RV(nexus_learn.aws.ecs_service#module:deployments).
    type: dict
    required: true
  wait_timeout:
    description: Seconds to wait for all of them together.
    type: int
    default: 1800
  retry:
    description: The command that a failure names for trying again.
    type: str
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Begin to deploy the API
  nexus_learn.aws.ecs_service:
    cluster: nexus-learn-cluster
    services: "{{ api }}"
    wait: false
  register: api_services

- name: Begin to deploy the workers
  nexus_learn.aws.ecs_service:
    cluster: nexus-learn-cluster
    services: "{{ workers }}"
    wait: false
  register: worker_services

- name: Follow both
  nexus_learn.aws.ecs_rollout:
    cluster: nexus-learn-cluster
    deployments: "{{ api_services.deployments | combine(worker_services.deployments) }}"
    retry: ansible-playbook site.yml -i inventories/dev
"""

RETURN = r"""
followed:
  description: The services whose deployments came true; in check mode, those that are to be followed.
  returned: success
  type: list
  elements: str
  sample: [nexus-learn-celery-worker-service]
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_rollout
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "cluster": {"type": "str", "required": True},
        "deployments": {"type": "dict", "required": True},
        "wait_timeout": {"type": "int", "default": 1800},
        "retry": {"type": "str"},
    }
}


def main():
    module_main(ecs_rollout, SPEC)


if __name__ == "__main__":
    main()
