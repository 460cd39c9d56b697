#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: stack_leftovers
short_description: List what is still there of a stack that was destroyed
version_added: 1.0.0
description:
  - Snapshots of Redis, the secret that can be restored for some days, the bucket with the journal, and whatever could
    not be deleted, or belongs to others and stands among the stack's things, with the command that deletes it.
  - It finds by their names the services of the cluster, Redis, its snapshots and secret, log groups, the bucket and the
    repository, and by the tags Project, Environment and Region the VPC, security groups and elastic IPs.
author: Nexus Learn platform team
options:
  name_prefix:
    description: Begins the names of the stack's resources.
    type: str
    required: true
  bucket:
    description: Name of the bucket of the lock and the journal, as in O(lock).
    type: str
    required: true
  repository:
    description: Name of the ECR repository of the application's image. Empty for none.
    type: str
    default: ""
  tags:
    description: The stack's tags.
    type: dict
    required: true
  state:
    description: What is left can only be read.
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
- name: What is left of the stack
  nexus_learn.aws.stack_leftovers:
    name_prefix: nexus-learn
    bucket: nexus-learn-deployment-{account_id}-{region}
    tags:
      Project: nexus-learn
      Environment: dev
      Region: us-east-1
"""

RETURN = r"""
leftovers:
  description: What is left, with the reason, and the command that deletes it.
  returned: success
  type: list
  elements: dict
  sample:
    - resource: snapshot nexus-learn-redis-final-20261125101200
      why: it holds the data of Redis; elasticache_snapshot_name=... makes a new stack begin with it
      delete: aws elasticache delete-snapshot --snapshot-name nexus-learn-redis-final-20261125101200
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import stack_leftovers
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "name_prefix": {"type": "str", "required": True},
        "bucket": {"type": "str", "required": True},
        "repository": {"type": "str", "default": ""},
        "tags": {"type": "dict", "required": True},
        "state": {"type": "str", "choices": ["gathered"], "default": "gathered"},
    }
}


def main():
    module_main(stack_leftovers, SPEC)


if __name__ == "__main__":
    main()
