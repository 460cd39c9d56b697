#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecs_service_deployment
short_description: Restart ECS services, or roll them back
version_added: 1.0.0
description:
  - V(restarted) deploys the present revision once more, with new tasks.
  - V(rolled_back) goes back to an earlier revision. A deployment in flight is stopped, and ECS itself rolls it back;
    else the service is updated to the revision.
  - Each deployment is followed to its end, and one that fails, fails the task and says why.
author: Nexus Learn platform team
options:
  services:
    description: Short names of the services. Left out, all of the cluster.
    type: list
    elements: str
    default: []
  to:
    description:
      - With O(state=rolled_back), where to go back to. V(previous) is the last revision of a completed deployment other
        than the serving one; a number is that revision of the task definition; anything else is looked for among the
        images of completed deployments, as a tag (V(:7) is the tag 7), a digest or the whole image.
    type: str
    default: previous
  tags:
    description: Tags that say whose services are meant; one of another stack, or of nobody, is not touched.
    type: dict
  wait_timeout:
    description: Seconds to wait for all services together.
    type: int
    default: 900
  state:
    description: What to do.
    type: str
    required: true
    choices: [restarted, rolled_back]
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
  - nexus_learn.aws.service
"""

EXAMPLES = r"""
- name: New tasks for the workers
  nexus_learn.aws.ecs_service_deployment:
    cluster: nexus-learn-cluster
    naming: nexus-learn-*-service
    services: [celery-worker]
    state: restarted

- name: Back to the image before
  nexus_learn.aws.ecs_service_deployment:
    cluster: nexus-learn-cluster
    naming: nexus-learn-*-service
    services: [celery-worker]
    to: "2026-11-24"
    state: rolled_back
"""

RETURN = r"""
services:
  description: >-
    The services by short name, each with C(service), its whole name, and the C(task_definition) and C(image) of its
    newest deployment; in check mode, as they are now.
  returned: success
  type: dict
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecs_service_deployment
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_verbs import NAMED

SPEC = {
    "argument_spec": {
        **NAMED,
        "services": {"type": "list", "elements": "str", "default": []},
        "to": {"type": "str", "default": "previous"},
        "tags": {"type": "dict"},
        "wait_timeout": {"type": "int", "default": 900},
        "state": {"type": "str", "required": True, "choices": ["restarted", "rolled_back"]},
    }
}


def main():
    module_main(ecs_service_deployment, SPEC)


if __name__ == "__main__":
    main()
