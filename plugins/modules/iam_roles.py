#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: iam_roles
short_description: Manage IAM roles with their policies
version_added: 1.0.0
description:
  - Creates IAM roles and keeps trust policy, managed and inline policies, permissions boundary, session duration and
    tags as given.
  - Policy documents are compared by meaning; another order of actions, or a list of one instead of a string, is no
    change.
author: Nexus Learn platform team
options:
  roles:
    description: The roles.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the role, 64 characters at most.
        type: str
        required: true
      description:
        description: Description of the role.
        type: str
      path:
        description: Path of the role, from V(/) to V(/); V(/) when left out. AWS cannot change it afterwards.
        type: str
      assume_role_policy:
        description: The trust policy, who may use the role. Required for a role that does not exist yet.
        type: dict
      managed_policies:
        description: ARNs of the managed policies that are attached, enforced whole.
        type: list
        elements: str
      policies:
        description: Inline policies, name to document, enforced whole; others are deleted.
        type: dict
      permissions_boundary:
        description: ARN of the policy that bounds the permissions; an empty string removes it.
        type: str
      max_session_duration:
        description:
          - Seconds, 3600 to 43200, that a session of the role may last; AWS takes 3600 when left out.
          - See U(https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html).
        type: int
  tags:
    description: Tags of every role of the list, enforced whole. Left out, tags are not touched.
    type: dict
  state:
    description:
      - Whether the roles shall be there. V(absent) removes their policies, too, and is refused while a role is in an
        instance profile.
    type: str
    choices: [present, absent]
    default: present
  wait_timeout:
    description: Seconds to wait until a new role can be read. IAM is eventually consistent.
    type: int
    default: 120
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Roles of the worker
  nexus_learn.aws.iam_roles:
    roles:
      - name: nexus-learn-celery-worker-execution
        assume_role_policy:
          Version: "2012-10-17"
          Statement:
            - {Effect: Allow, Action: "sts:AssumeRole", Principal: {Service: ecs-tasks.amazonaws.com}}
        policies:
          logs:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action: ["logs:CreateLogStream", "logs:PutLogEvents"]
                Resource: arn:aws:logs:us-east-1:123456789012:log-group:/ecs/nexus-learn/celery-worker:*
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

RETURN = r"""
roles:
  description:
    - The roles by name, as they are (in check mode, as they would be). V(managed_policies) and V(policies) are looked
      up and returned where they are given.
  returned: success
  type: dict
  sample: {nexus-learn-celery-worker-execution: {arn: "arn:aws:iam::123456789012:role/...", path: /, policies: {}}}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import iam_roles
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "roles": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "description": {"type": "str"},
                "path": {"type": "str"},
                "assume_role_policy": {"type": "dict"},
                "managed_policies": {"type": "list", "elements": "str"},
                "policies": {"type": "dict"},
                "permissions_boundary": {"type": "str"},
                "max_session_duration": {"type": "int"},
            },
        },
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "wait_timeout": {"type": "int", "default": 120},
    }
}


def main():
    module_main(iam_roles, SPEC)


if __name__ == "__main__":
    main()
