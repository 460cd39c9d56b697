#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: vpc
short_description: Manage a VPC with its subnets, routes, NAT gateways and endpoints, or look up a given one
version_added: 1.0.0
description:
  - Creates a VPC with public, private and database subnets in each zone, an internet gateway, route tables, NAT
    gateways and VPC endpoints, and keeps them as given.
  - Public subnets have a route to the internet gateway, private ones to a NAT gateway when there is one, database
    subnets none. Routes to the internet are enforced; routes to peerings, transit gateways and the like are left alone.
  - With O(vpc_id) or O(vpc_tags) it changes nothing; it looks up that VPC and its subnets and checks that they will do.
author: Nexus Learn platform team
options:
  name:
    description: Beginning of all names, for example C(<name>-vpc), C(<name>-public-a), C(<name>-nat-a).
    type: str
    required: true
  cidr_block:
    description: Address range of the VPC, from /16 to /28.
    type: str
    default: 10.0.0.0/16
  availability_zones:
    description:
      - The zones. Left out, those of the subnets that are there, for a new VPC the first two of the region.
      - Zones can be added at the end; a zone with subnets cannot be taken away.
    type: list
    elements: str
  public_subnets:
    description:
      - CIDRs of the public subnets, one per zone.
      - Left out, O(cidr_block) is divided into sixteen blocks (a /16 into /20); public subnets take blocks 0 to 3 in
        the order of the zones, private ones 4 to 7, database ones 8 to 11; 12 to 15 stay free.
    type: list
    elements: str
  private_subnets:
    description: CIDRs of the private subnets, one per zone. See O(public_subnets).
    type: list
    elements: str
  database_subnets:
    description: CIDRs of the database subnets, one per zone. See O(public_subnets).
    type: list
    elements: str
  enable_dns_support:
    description: Whether names resolve inside the VPC. O(enable_dns_hostnames) needs it.
    type: bool
    default: true
  enable_dns_hostnames:
    description: Whether instances get DNS names. Interface endpoints need it.
    type: bool
    default: true
  map_public_ip_on_launch:
    description:
      - Whether what is launched in a public subnet gets a public address if it does not ask for one.
      - Load balancers and NAT gateways bring their own.
    type: bool
    default: true
  nat_gateway:
    description:
      - V(none), V(single) (one, in the first zone, for all) or V(per_zone) (one in each zone, which survives the loss
        of a zone and costs accordingly).
    type: str
    choices: [none, single, per_zone]
    default: single
  vpc_endpoints:
    description:
      - Short names of the services that are reached without the internet. V(s3) and V(dynamodb) are gateway endpoints
        on the public and private route tables, which cost nothing; others are interface endpoints with private DNS in
        the private subnets, in a security group C(<name>-vpc-endpoints) that allows HTTPS from the VPC.
      - Enforced whole; endpoints of this stack that are not given are deleted.
      - See U(https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html).
    type: list
    elements: str
    default: []
  vpc_endpoint_policies:
    description:
      - For services of O(vpc_endpoints), who may do what through the endpoint, as a policy document.
      - Left out, AWS lets everything through a new endpoint, and the policy of one that is there is not touched.
      - See U(https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html).
    type: dict
    default: {}
  flow_logs:
    description:
      - Records of the VPC's traffic, one for each kind of destination, named C(<name>-<log_destination_type>).
      - Enforced whole; flow logs of this stack that are not given are deleted. Left out, they are not looked at.
      - AWS cannot change a flow log, only its tags. One that differs is deleted and made anew; what it wrote stays.
      - See U(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFlowLogs.html).
    type: list
    elements: dict
    suboptions:
      log_destination_type:
        description: What it writes to.
        type: str
        choices: [cloud-watch-logs, s3, kinesis-data-firehose]
        default: cloud-watch-logs
      log_destination:
        description:
          - ARN of the log group, of the bucket, with a folder if there shall be one, or of the delivery stream.
        type: str
        required: true
      deliver_logs_permission_arn:
        description: ARN of the role that may write to the log group. Required for V(cloud-watch-logs).
        type: str
      traffic_type:
        description: Whether to record traffic that is accepted, that is rejected, or both.
        type: str
        choices: [ACCEPT, REJECT, ALL]
        default: ALL
      max_aggregation_interval:
        description: Seconds of traffic in one record.
        type: int
        choices: [60, 600]
        default: 600
      log_format:
        description:
          - Fields of a record, for example V(${srcaddr} ${dstaddr} ${action}). Left out, AWS's default format for a new
            one.
        type: str
  vpc_id:
    description: Use this VPC and create nothing. Not with O(flow_logs) and O(vpc_endpoint_policies).
    type: str
  vpc_tags:
    description: Use the one VPC with these tags and create nothing. Not with O(flow_logs) and O(vpc_endpoint_policies).
    type: dict
  public_subnet_ids:
    description: The public subnets of the given VPC.
    type: list
    elements: str
  private_subnet_ids:
    description: The private subnets of the given VPC.
    type: list
    elements: str
  database_subnet_ids:
    description: The database subnets of the given VPC, in two zones at least.
    type: list
    elements: str
  public_subnet_tags:
    description: Tags of the public subnets of the given VPC.
    type: dict
  private_subnet_tags:
    description: Tags of the private subnets of the given VPC.
    type: dict
  database_subnet_tags:
    description: Tags of the database subnets of the given VPC.
    type: dict
  tags:
    description: Tags of everything, enforced whole together with C(Name). Left out, only C(Name) is set.
    type: dict
  state:
    description:
      - Whether the network shall be there. V(absent) leaves a given VPC alone.
      - V(gathered) changes nothing and returns what is there; without a VPC, RV(vpc.id) is null.
    type: str
    choices: [present, absent, gathered]
    default: present
  wait_timeout:
    description: Seconds to wait for NAT gateways and endpoints, and until everything is deleted.
    type: int
    default: 900
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: A network of our own
  nexus_learn.aws.vpc:
    name: nexus-learn
    cidr_block: 10.0.0.0/16
    nat_gateway: single
    vpc_endpoints: [s3]
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}

- name: The company's network
  nexus_learn.aws.vpc:
    name: nexus-learn
    vpc_tags: {Name: company}
    private_subnet_tags: {tier: app}
    database_subnet_tags: {tier: data}
"""

RETURN = r"""
vpc:
  description: The VPC. C(managed) tells whether this module made it.
  returned: success
  type: dict
  sample: {id: vpc-0123456789abcdef0, cidr_block: 10.0.0.0/16, managed: true}
subnets:
  description: The subnets per tier, in the order of zones.
  returned: success
  type: dict
  sample:
    public: [{id: subnet-1, name: nexus-learn-public-a, availability_zone: us-east-1a, cidr_block: 10.0.0.0/20}]
    private: []
    database: []
nat_gateways:
  description: The NAT gateways with the addresses that the outside sees.
  returned: success
  type: list
  elements: dict
  sample: [{id: nat-0123456789abcdef0, name: nexus-learn-nat-a, public_ip: 198.51.100.7}]
vpc_endpoints:
  description: The endpoints.
  returned: success
  type: list
  elements: dict
  sample: [{id: vpce-0123456789abcdef0, service: s3, type: Gateway}]
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import vpc
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

LIST = {"type": "list", "elements": "str"}
SPEC = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "cidr_block": {"type": "str", "default": "10.0.0.0/16"},
        "availability_zones": LIST,
        "public_subnets": LIST,
        "private_subnets": LIST,
        "database_subnets": LIST,
        "enable_dns_support": {"type": "bool", "default": True},
        "enable_dns_hostnames": {"type": "bool", "default": True},
        "map_public_ip_on_launch": {"type": "bool", "default": True},
        "nat_gateway": {"type": "str", "choices": ["none", "single", "per_zone"], "default": "single"},
        "vpc_endpoints": {**LIST, "default": []},
        "vpc_endpoint_policies": {"type": "dict", "default": {}},
        "flow_logs": {
            "type": "list",
            "elements": "dict",
            "options": {
                "log_destination_type": {
                    "type": "str",
                    "choices": ["cloud-watch-logs", "s3", "kinesis-data-firehose"],
                    "default": "cloud-watch-logs",
                },
                "log_destination": {"type": "str", "required": True},
                "deliver_logs_permission_arn": {"type": "str"},
                "traffic_type": {"type": "str", "choices": ["ACCEPT", "REJECT", "ALL"], "default": "ALL"},
                "max_aggregation_interval": {"type": "int", "choices": [60, 600], "default": 600},
                "log_format": {"type": "str"},
            },
        },
        "vpc_id": {"type": "str"},
        "vpc_tags": {"type": "dict"},
        "public_subnet_ids": LIST,
        "private_subnet_ids": LIST,
        "database_subnet_ids": LIST,
        "public_subnet_tags": {"type": "dict"},
        "private_subnet_tags": {"type": "dict"},
        "database_subnet_tags": {"type": "dict"},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent", "gathered"], "default": "present"},
        "wait_timeout": {"type": "int", "default": 900},
    },
    "mutually_exclusive": [["vpc_id", "vpc_tags"]],
}


def main():
    module_main(vpc, SPEC)


if __name__ == "__main__":
    main()
