#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_task_run
short_description: Run a command in one task beside an ECS service
version_added: 1.0.0
description:
  - Starts a task with the task definition, network, capacity and tags of a service and a command of its own, shows what
    it writes as it comes, and waits for its end. An exit code other than 0 fails the task.
  - With O(image) it can be done before a deployment, as a migration of a database is.
  - What is stopped while it waits leaves the ECS task running.
author: Nexus Learn platform team
options:
  service:
    description: Short name of the service.
    type: str
    required: true
  command:
    description: The command, word by word. It stands in the task's overrides, which are no place for secrets.
    type: list
    elements: str
    required: true
  container:
    description: Name of the container whose command it is. Left out, the first one of the task definition.
    type: str
  environment:
    description: Environment variables besides, or instead of, those of the task definition.
    type: dict
    default: {}
  image:
    description:
      - Image to run instead of the service's. It is registered as a revision of the same task definition family, if it
        is not the latest one already; the service is not deployed.
    type: str
  tags:
    description: Tags that say whose services are meant; one of another stack, or of nobody, is not touched.
    type: dict
  wait_timeout:
    description: Seconds to wait for the end of the task.
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
- name: Ask the workers who they are
  nexus_learn.aws.ecs_task_run:
    cluster: nexus-learn-cluster
    naming: nexus-learn-*-service
    service: celery-worker
    command: [celery, -A, config.celery, inspect, ping]

- name: Migrate the database before the new version is deployed
  nexus_learn.aws.ecs_task_run:
    cluster: nexus-learn-cluster
    naming: nexus-learn-*-service
    service: backend
    image: 123456789012.dkr.ecr.us-east-1.amazonaws.com/app:2
    command: [python, manage.py, migrate]
"""

RETURN = r"""
task:
  description: Id of the task; null in check mode.
  returned: success
  type: str
task_definition:
  description: Family and revision of its task definition.
  returned: success
  type: str
exit_code:
  description: Exit code of the container; null in check mode.
  returned: success
  type: int
log:
  description: What it wrote, line by line.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_task_run
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_verbs import NAMED

SPEC = {
    "argument_spec": {
        **NAMED,
        "service": {"type": "str", "required": True},
        "command": {"type": "list", "elements": "str", "required": True},
        "container": {"type": "str"},
        "environment": {"type": "dict", "default": {}},
        "image": {"type": "str"},
        "tags": {"type": "dict"},
        "wait_timeout": {"type": "int", "default": 900},
    }
}


def main():
    module_main(ecs_task_run, SPEC)


if __name__ == "__main__":
    main()
