#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ec2_security_groups
short_description: Manage the security groups of a VPC with all their rules
version_added: 1.0.0
description:
  - Creates security groups and keeps their rules and tags as given. Rules are enforced whole; those that are not
    given are removed.
  - Rules may name other groups of the same list, in any order.
author: Nexus Learn platform team
options:
  vpc_id:
    description: The VPC. In check mode it may be the predicted id of a VPC that does not exist yet.
    type: str
    required: true
  security_groups:
    description: The security groups.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the group, unique in its VPC.
        type: str
        required: true
      description:
        description: Description of the group; its name when left out. AWS cannot change it afterwards.
        type: str
      ingress:
        description: What may come in.
        type: list
        elements: dict
        default: []
        suboptions:
          protocol:
            description: V(tcp), V(udp), V(icmp), V(icmpv6), or V(-1) for all traffic.
            type: str
            choices: [tcp, udp, icmp, icmpv6, "-1"]
            default: tcp
          from_port:
            description: First port, required for V(tcp) and V(udp). The type for ICMP, V(-1) or left out for every one.
            type: int
          to_port:
            description: Last port, required for V(tcp) and V(udp). The code for ICMP, V(-1) or left out for every one.
            type: int
          cidr_blocks:
            description: IPv4 or IPv6 address ranges.
            type: list
            elements: str
          source_security_groups:
            description: Groups, by a name of this list or by id.
            type: list
            elements: str
          prefix_list_ids: &prefix_list_ids
            description:
              - Prefix lists by id (C(pl-...)), AWS's own ones too, for example that of CloudFront or of the gateway
                endpoint of S3.
              - See U(https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html).
            type: list
            elements: str
          description:
            description: Description of the rule.
            type: str
      egress:
        description: What may go out. Left out, everything may, over IPv4, as in a new group on AWS.
        type: list
        elements: dict
        suboptions:
          protocol:
            description: V(tcp), V(udp), V(icmp), V(icmpv6), or V(-1) for all traffic.
            type: str
            choices: [tcp, udp, icmp, icmpv6, "-1"]
            default: tcp
          from_port:
            description: First port, required for V(tcp) and V(udp). The type for ICMP, V(-1) or left out for every one.
            type: int
          to_port:
            description: Last port, required for V(tcp) and V(udp). The code for ICMP, V(-1) or left out for every one.
            type: int
          cidr_blocks:
            description: IPv4 or IPv6 address ranges.
            type: list
            elements: str
          destination_security_groups:
            description: Groups, by a name of this list or by id.
            type: list
            elements: str
          prefix_list_ids: *prefix_list_ids
          description:
            description: Description of the rule.
            type: str
  tags:
    description: Tags of every group of the list, enforced whole. Left out, tags are not touched.
    type: dict
  state:
    description:
      - Whether the groups shall be there. V(absent) waits until no network interface uses them any more.
      - V(gathered) changes nothing and returns those that are there.
    type: str
    choices: [present, absent, gathered]
    default: present
  wait_timeout:
    description: Seconds to wait until new groups can be read, or until nothing uses the groups that are deleted.
    type: int
    default: 600
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: Redis is reachable from the worker alone
  nexus_learn.aws.ec2_security_groups:
    vpc_id: "{{ network__output.vpc.id }}"
    security_groups:
      - name: nexus-learn-celery-worker
      - name: nexus-learn-redis
        description: Redis of nexus-learn
        ingress:
          - {from_port: 6379, to_port: 6379, source_security_groups: [nexus-learn-celery-worker]}
        egress: []
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

RETURN = r"""
security_groups:
  description:
    - The groups by name, as they are (in check mode, as they would be).
    - C(ingress) and C(egress) map a rule, in words, to its description.
  returned: success
  type: dict
  sample:
    nexus-learn-redis:
      id: sg-0123456789abcdef0
      ingress: {tcp 6379 from nexus-learn-celery-worker: ""}
      egress: {}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ec2_security_groups
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

RULE = {
    "protocol": {"type": "str", "choices": ["tcp", "udp", "icmp", "icmpv6", "-1"], "default": "tcp"},
    "from_port": {"type": "int"},
    "to_port": {"type": "int"},
    "cidr_blocks": {"type": "list", "elements": "str"},
    "prefix_list_ids": {"type": "list", "elements": "str"},
    "description": {"type": "str"},
}
GROUPS = {"type": "list", "elements": "str"}
SPEC = {
    "argument_spec": {
        "vpc_id": {"type": "str", "required": True},
        "security_groups": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "description": {"type": "str"},
                "ingress": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {**RULE, "source_security_groups": GROUPS},
                },
                "egress": {
                    "type": "list",
                    "elements": "dict",
                    "options": {**RULE, "destination_security_groups": GROUPS},
                },
            },
        },
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent", "gathered"], "default": "present"},
        "wait_timeout": {"type": "int", "default": 600},
    }
}


def main():
    module_main(ec2_security_groups, SPEC)


if __name__ == "__main__":
    main()
