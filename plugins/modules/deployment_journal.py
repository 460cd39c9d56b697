#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: deployment_journal
short_description: Read the journal of deployments
version_added: 1.0.0
description:
  - Returns what the callback P(nexus_learn.aws.run#callback) wrote down of the last runs that changed something.
author: Nexus Learn platform team
options:
  bucket:
    description: Name of the bucket, as in O(lock).
    type: str
    required: true
  limit:
    description: How many entries to return, the last ones.
    type: int
    default: 10
  run_id:
    description: Return the entries of this run only.
    type: str
  state:
    description: The journal can only be read.
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
- name: The last five runs
  nexus_learn.aws.deployment_journal:
    bucket: nexus-learn-deployment-{account_id}-{region}
    limit: 5
"""

RETURN = r"""
entries:
  description: The entries, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 0f8f6b5a3e8d4a0f9c1d2b3a4c5d6e7f
      user: alice@laptop
      arn: arn:aws:iam::123456789012:user/alice
      playbook: site.yml
      inventory: [inventories/dev]
      tags: [autoscaling]
      extra_vars: [celery_max_count]
      started: 2026-11-25 10:12:00 UTC
      ended: 2026-11-25 10:12:09 UTC
      outcome: ok
      changes:
        - task: "autoscaling : Create or update targets and policies"
          resource: target service/nexus-learn-cluster/nexus-learn-celery-worker-service
          action: update
          path: max_capacity
          before: 5
          after: 7
      outputs: {}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import deployment_journal
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "bucket": {"type": "str", "required": True},
        "limit": {"type": "int", "default": 10},
        "run_id": {"type": "str"},
        "state": {"type": "str", "choices": ["gathered"], "default": "gathered"},
    }
}


def main():
    module_main(deployment_journal, SPEC)


if __name__ == "__main__":
    main()
