#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: deployment_lock
short_description: Look at the deployment lock, or break it
version_added: 1.0.0
description:
  - Reports who holds the lock that the option O(lock) of the other modules names, and deletes it on purpose when its
    holder is dead and nobody wants to wait until it expires. The journal notes who broke it.
  - A run whose lock was broken stops before its next change.
author: Nexus Learn platform team
options:
  bucket:
    description: Name of the bucket, as in O(lock).
    type: str
    required: true
  lock_id:
    description: The lock to delete, so that nobody deletes a newer one. It stands in the message to who was refused.
    type: str
  state:
    description: V(gathered) reports the lock, V(absent) deletes it.
    type: str
    choices: [gathered, absent]
    default: gathered
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Break the lock of a run that is dead
  nexus_learn.aws.deployment_lock:
    bucket: nexus-learn-deployment-{account_id}-{region}
    lock_id: 0f8f6b5a3e8d4a0f9c1d2b3a4c5d6e7f
    state: absent
"""

RETURN = r"""
holder:
  description: The lock as it is; null where there is none, or none any more.
  returned: success
  type: dict
  sample:
    id: 0f8f6b5a3e8d4a0f9c1d2b3a4c5d6e7f
    user: alice@laptop
    arn: arn:aws:iam::123456789012:user/alice
    playbook: site.yml
    started: 2026-11-25 10:12:00 UTC
    lease: 900
    age: 12.0
    expired: false
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import deployment_lock
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "bucket": {"type": "str", "required": True},
        "lock_id": {"type": "str"},
        "state": {"type": "str", "choices": ["gathered", "absent"], "default": "gathered"},
    },
    "required_if": [("state", "absent", ("lock_id",))],
}


def main():
    module_main(deployment_lock, SPEC)


if __name__ == "__main__":
    main()
