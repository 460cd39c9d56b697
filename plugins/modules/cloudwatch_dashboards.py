#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: cloudwatch_dashboards
short_description: Manage CloudWatch dashboards
version_added: 1.0.0
description:
  - Keeps what dashboards show, and their tags, as given. Bodies are compared as data, whatever their layout.
  - Dashboards are global, there is one of a name in an account. Give it a name with the region in it if several regions
    of yours have one each.
author: Nexus Learn platform team
options:
  dashboards:
    description: The dashboards.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the dashboard, of letters, digits, V(-) and V(_).
          - With O(state=absent), a name that ends in V(*) stands for every dashboard whose name begins so and that
            is this stack's, which it is with V(Project), V(Environment) and V(Region) of O(tags).
        type: str
        required: true
      body:
        description:
          - What it shows, as YAML or JSON, enforced whole. Required with O(state=present).
          - See U(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html).
        type: dict
  tags:
    description: Tags of every dashboard of the list, enforced whole. Left out, tags are not touched.
    type: dict
  state:
    description: Whether the dashboards shall be there.
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
- name: Dashboard of the workers
  nexus_learn.aws.cloudwatch_dashboards:
    dashboards:
      - name: nexus-learn-us-east-1
        body:
          widgets:
            - type: metric
              width: 12
              height: 6
              properties:
                region: us-east-1
                metrics:
                  - [AWS/ECS, CPUUtilization, ClusterName, nexus-learn-cluster]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

RETURN = r"""
dashboards:
  description: The dashboards by name (in check mode, as they would be); empty when they are absent.
  returned: success
  type: dict
  sample: {nexus-learn-us-east-1: {arn: "arn:aws:cloudwatch::123456789012:dashboard/nexus-learn-us-east-1", tags: {}}}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import cloudwatch_dashboards
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "dashboards": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {"name": {"type": "str", "required": True}, "body": {"type": "dict"}},
        },
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
}


def main():
    module_main(cloudwatch_dashboards, SPEC)


if __name__ == "__main__":
    main()
