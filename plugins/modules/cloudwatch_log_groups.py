#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: cloudwatch_log_groups
short_description: Manage CloudWatch log groups
version_added: 1.0.0
description:
  - Creates log groups and keeps their retention, KMS key, deletion protection and tags as given. A log group is never
    deleted to change it.
author: Nexus Learn platform team
options:
  log_groups:
    description: The log groups.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the log group.
          - With O(state=absent), a name that ends in V(*) stands for every log group whose name begins so and that
            is this stack's, which it is with V(Project), V(Environment) and V(Region) of O(tags).
        type: str
        required: true
      retention_in_days:
        description:
          - Days after which events expire; V(0) for never. Left out, the present retention stays (a new log group keeps
            events for ever).
          - See U(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html).
        type: int
        choices:
          [0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]
      kms_key_id:
        description:
          - ARN of the KMS key that encrypts the events; empty for a key of CloudWatch Logs' own, which a new log group
            has. Left out, the present key stays.
          - See U(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_AssociateKmsKey.html).
        type: str
      log_group_class:
        description:
          - The class, which AWS sets once, when the log group is made (V(STANDARD) when it is left out). A change is
            refused.
          - See U(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html).
        type: str
        choices: [STANDARD, INFREQUENT_ACCESS, DELIVERY, ESSENTIALS]
      deletion_protection_enabled:
        description:
          - Whether AWS refuses to delete it. A new log group is not protected.
          - With O(state=absent), a protected log group is deleted with V(false) only.
          - See
            U(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogGroupDeletionProtection.html).
        type: bool
  tags:
    description: Tags of every log group of the list, enforced whole. Left out, tags are not touched.
    type: dict
  state:
    description: Whether the log groups shall be there. V(absent) deletes the events in them too.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Log groups of the services
  nexus_learn.aws.cloudwatch_log_groups:
    log_groups:
      - name: /ecs/nexus-learn/celery-worker
        retention_in_days: 30
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}

- name: Delete all logs of this stack
  nexus_learn.aws.cloudwatch_log_groups:
    log_groups: [{name: /ecs/nexus-learn/*}]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
    state: absent
"""

RETURN = r"""
log_groups:
  description: The log groups by name, as they are (in check mode, as they would be).
  returned: success
  type: dict
  sample: {/ecs/nexus-learn/celery-worker: {arn: "arn:aws:logs:...", retention_in_days: 30, tags: {}}}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import cloudwatch_log_groups
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "log_groups": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "retention_in_days": {"type": "int", "choices": [0, *cloudwatch_log_groups.RETENTION_DAYS]},
                "kms_key_id": {"type": "str"},
                "log_group_class": {"type": "str", "choices": cloudwatch_log_groups.CLASSES},
                "deletion_protection_enabled": {"type": "bool"},
            },
        },
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
}


def main():
    module_main(cloudwatch_log_groups, SPEC)


if __name__ == "__main__":
    main()
