"""Every option of vpc: changed by hand, seen as exactly that field, mended, nothing else moved."""

import json

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "vpc"
NAME = "d-net"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}],
}
GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:/d-net"
ROLE = "arn:aws:iam::123456789012:role/d-net-flow"
FORMAT = "${srcaddr} ${dstaddr} ${action}"
ARGUMENTS = {
    "name": NAME,
    "cidr_block": "10.0.0.0/16",
    "availability_zones": ["us-east-1a", "us-east-1b"],
    "public_subnets": ["10.0.0.0/24", "10.0.1.0/24"],
    "private_subnets": ["10.0.10.0/24", "10.0.11.0/24"],
    "database_subnets": ["10.0.20.0/24", "10.0.21.0/24"],
    "nat_gateway": "single",
    "vpc_endpoints": ["s3", "logs"],
    "vpc_endpoint_policies": {"s3": POLICY},
    "flow_logs": [
        {
            "log_destination_type": "cloud-watch-logs",
            "log_destination": GROUP,
            "deliver_logs_permission_arn": ROLE,
            "traffic_type": "ALL",
            "max_aggregation_interval": 600,
            "log_format": FORMAT,
        }
    ],
    "enable_dns_support": True,
    "enable_dns_hostnames": True,
    "map_public_ip_on_launch": True,
    "tags": TAGS,
}
ALL = "0.0.0.0/0"
# what is another one for a thing that was deleted and made anew, and what AWS alone says of it
NOT_ITS_OWN = {
    "AllocationId",
    "AssociationId",
    "CreateTime",
    "CreationTime",
    "CreationTimestamp",
    "DnsEntries",
    "NetworkInterfaceId",
    "NetworkInterfaceIds",
    "AvailableIpAddressCount",
    "PrivateIp",
    "PrivateIpAddress",
    "RouteTableAssociationId",
    "SubnetArn",
}


class Network:
    """The VPC as the EC2 API tells it, and ways to change it by hand."""

    def __init__(self, ec2):
        self.ec2 = ec2
        self.deployed = False

    @property
    def vpc_id(self):
        [vpc] = self.ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [f"{NAME}-vpc"]}])["Vpcs"]
        return vpc["VpcId"]

    def all(self):
        """``(key of its id, what EC2 says of it)`` for everything in the VPC."""
        vpc_id, ec2 = self.vpc_id, self.ec2
        here = [{"Name": "vpc-id", "Values": [vpc_id]}]
        attached = [{"Name": "attachment.vpc-id", "Values": [vpc_id]}]
        nats = ec2.describe_nat_gateways(Filter=here)["NatGateways"]
        endpoints = ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]
        logs = ec2.describe_flow_logs(Filters=[{"Name": "resource-id", "Values": [vpc_id]}])["FlowLogs"]
        found = {
            "VpcId": ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"],
            "InternetGatewayId": ec2.describe_internet_gateways(Filters=attached)["InternetGateways"],
            "SubnetId": ec2.describe_subnets(Filters=here)["Subnets"],
            "RouteTableId": ec2.describe_route_tables(Filters=here)["RouteTables"],
            "AllocationId": [
                address
                for address in ec2.describe_addresses()["Addresses"]
                if self.name(address).startswith(f"{NAME}-")
            ],
            "NatGatewayId": [item for item in nats if item["State"] != "deleted"],
            "VpcEndpointId": [item for item in endpoints if item["State"] != "deleted"],
            "FlowLogId": logs,
            "GroupId": ec2.describe_security_groups(Filters=here)["SecurityGroups"],
        }
        return [(key, item) for key, items in found.items() for item in items]

    @staticmethod
    def name(item):
        return next((tag["Value"] for tag in item.get("Tags", []) if tag["Key"] == "Name"), item.get("GroupName", ""))

    def id(self, key, name):
        """Of what EC2 calls ``key``, the one that is named so."""
        return next(item[kind] for kind, item in self.all() if kind == key and self.name(item) == f"{NAME}-{name}")

    def snapshot(self):
        """Everything, with names in the place of ids; of lists only what is in them."""
        everything = self.all()
        names = {item[key]: f"{key} {self.name(item)}" for key, item in everything if self.name(item)}

        def normal(value):
            if isinstance(value, dict):
                return {key: normal(item) for key, item in sorted(value.items()) if key not in NOT_ITS_OWN}
            if isinstance(value, list):
                return sorted((normal(item) for item in value), key=lambda item: json.dumps(item, default=str))
            return names.get(value, value) if isinstance(value, str) else value

        attributes = {
            name: self.ec2.describe_vpc_attribute(VpcId=self.vpc_id, Attribute=name)[name[0].upper() + name[1:]]
            for name in ("enableDnsSupport", "enableDnsHostnames")
        }
        return normal([item for _, item in everything]), attributes

    def attribute(self, **attribute):
        self.ec2.modify_vpc_attribute(VpcId=self.vpc_id, **attribute)

    def delete_subnet(self, name):
        self.disassociate(name)
        self.ec2.delete_subnet(SubnetId=self.id("SubnetId", name))

    def link(self, subnet):
        """The association of a subnet with its route table."""
        subnet_id = self.id("SubnetId", subnet)
        links = [link for key, item in self.all() if key == "RouteTableId" for link in item["Associations"]]
        return next(link["RouteTableAssociationId"] for link in links if link.get("SubnetId") == subnet_id)

    def disassociate(self, subnet):
        self.ec2.disassociate_route_table(AssociationId=self.link(subnet))

    def route(self, call, table, **target):
        getattr(self.ec2, call)(RouteTableId=self.id("RouteTableId", table), DestinationCidrBlock=ALL, **target)

    def endpoint(self, service, **arguments):
        self.ec2.modify_vpc_endpoint(VpcEndpointId=self.id("VpcEndpointId", service), **arguments)

    def flow_log(self, **fields):
        """Another flow log in the place of the one that there is; by hand there is no other way to change one."""
        self.ec2.delete_flow_logs(FlowLogIds=[self.id("FlowLogId", "cloud-watch-logs")])
        tags = [{"Key": key, "Value": value} for key, value in {**TAGS, "Name": f"{NAME}-cloud-watch-logs"}.items()]
        arguments = {
            "ResourceType": "VPC",
            "ResourceIds": [self.vpc_id],
            "TrafficType": "ALL",
            "LogDestinationType": "cloud-watch-logs",
            "LogDestination": GROUP,
            "DeliverLogsPermissionArn": ROLE,
            "LogFormat": FORMAT,
            "TagSpecifications": [{"ResourceType": "vpc-flow-log", "Tags": tags}],
            **fields,
        }
        self.ec2.create_flow_logs(**{key: value for key, value in arguments.items() if value is not None})

    def tag_everything(self, call, **tag):
        ids = [item[key] for key, item in self.all() if self.name(item).startswith(f"{NAME}-")]
        getattr(self.ec2, call)(Resources=ids, Tags=[tag])


def field(kind, name, path):
    return {(f"{kind} {NAME}-{name}", path)}


def flow_log(path, **fields):
    return lambda net: net.flow_log(**fields), field("flow log", "cloud-watch-logs", path)


EVERYTHING = {
    "VPC": ["vpc"],
    "internet gateway": ["igw"],
    "subnet": [f"{tier}-{letter}" for tier in ("public", "private", "database") for letter in "ab"],
    "route table": ["public", "private-a", "private-b", "database"],
    "elastic IP": ["nat-a"],
    "NAT gateway": ["nat-a"],
    "VPC endpoint": ["s3", "logs"],
    "flow log": ["cloud-watch-logs"],
    "security group": ["vpc-endpoints"],
}


def everywhere(path):
    return {(f"{kind} {NAME}-{name}", path) for kind, names in EVERYTHING.items() for name in names}


def unname(net):
    """What can be told by something else than its name is not made a second time."""
    for key, name in (
        ("InternetGatewayId", "igw"),
        ("SubnetId", "database-a"),
        ("NatGatewayId", "nat-a"),
        ("VpcEndpointId", "logs"),
        ("FlowLogId", "cloud-watch-logs"),
    ):
        net.ec2.delete_tags(Resources=[net.id(key, name)], Tags=[{"Key": "Name"}])


SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}
# option -> (what somebody does by hand, what a check says of it)
CASES = {
    "enable_dns_support": (
        lambda net: net.attribute(EnableDnsSupport={"Value": False}),
        field("VPC", "vpc", "enable_dns_support"),
    ),
    "enable_dns_hostnames": (
        lambda net: net.attribute(EnableDnsHostnames={"Value": False}),
        field("VPC", "vpc", "enable_dns_hostnames"),
    ),
    "map_public_ip_on_launch": (
        lambda net: net.ec2.modify_subnet_attribute(
            SubnetId=net.id("SubnetId", "public-a"), MapPublicIpOnLaunch={"Value": False}
        ),
        field("subnet", "public-a", "map_public_ip_on_launch"),
    ),
    "map_public_ip_on_launch of another tier": (
        lambda net: net.ec2.modify_subnet_attribute(
            SubnetId=net.id("SubnetId", "database-a"), MapPublicIpOnLaunch={"Value": True}
        ),
        field("subnet", "database-a", "map_public_ip_on_launch"),
    ),
    "public_subnets": (lambda net: net.delete_subnet("public-b"), field("subnet", "public-b", "create")),
    "public_subnets without a way out": (
        lambda net: net.route("delete_route", "public"),
        field("route table", "public", f"routes.{ALL}"),
    ),
    "private_subnets": (
        lambda net: net.ec2.replace_route_table_association(
            AssociationId=net.link("private-a"), RouteTableId=net.id("RouteTableId", "public")
        ),
        field("subnet", "private-a", "route_table"),
    ),
    "database_subnets": (lambda net: net.delete_subnet("database-b"), field("subnet", "database-b", "create")),
    "database_subnets with a way out": (
        lambda net: net.route("create_route", "database", GatewayId=net.id("InternetGatewayId", "igw")),
        field("route table", "database", f"routes.{ALL}"),
    ),
    "database_subnets without a route table": (
        lambda net: net.disassociate("database-a"),
        field("subnet", "database-a", "route_table"),
    ),
    "nat_gateway": (
        lambda net: net.ec2.delete_nat_gateway(NatGatewayId=net.id("NatGatewayId", "nat-a")),
        field("NAT gateway", "nat-a", "create")
        | field("route table", "private-a", f"routes.{ALL}")
        | field("route table", "private-b", f"routes.{ALL}"),
    ),
    "nat_gateway passed by": (
        lambda net: net.route("replace_route", "private-b", GatewayId=net.id("InternetGatewayId", "igw")),
        field("route table", "private-b", f"routes.{ALL}"),
    ),
    "vpc_endpoints": (
        lambda net: net.ec2.delete_vpc_endpoints(VpcEndpointIds=[net.id("VpcEndpointId", "logs")]),
        field("VPC endpoint", "logs", "create"),
    ),
    "vpc_endpoints route tables": (
        lambda net: net.endpoint("s3", RemoveRouteTableIds=[net.id("RouteTableId", "private-b")]),
        field("VPC endpoint", "s3", "route_tables"),
    ),
    "vpc_endpoints subnets": (
        lambda net: net.endpoint("logs", AddSubnetIds=[net.id("SubnetId", "database-a")]),
        field("VPC endpoint", "logs", "subnets"),
    ),
    "vpc_endpoints private DNS": (
        lambda net: net.endpoint("logs", PrivateDnsEnabled=False),
        field("VPC endpoint", "logs", "private_dns_enabled"),
    ),
    "vpc_endpoints security group": (
        lambda net: net.ec2.authorize_security_group_ingress(
            GroupId=net.id("GroupId", "vpc-endpoints"), IpPermissions=[SSH]
        ),
        field("security group", "vpc-endpoints", "ingress.tcp 22 from 203.0.113.0/24"),
    ),
    "vpc_endpoint_policies": (
        lambda net: net.endpoint("s3", ResetPolicy=True),
        field("VPC endpoint", "s3", "policy.Statement") | field("VPC endpoint", "s3", "policy.Version"),
    ),
    "flow_logs.log_destination_type": (
        lambda net: net.ec2.delete_flow_logs(FlowLogIds=[net.id("FlowLogId", "cloud-watch-logs")]),
        field("flow log", "cloud-watch-logs", "create"),
    ),
    "flow_logs.log_destination": flow_log("log_destination", LogDestination=f"{GROUP}-other"),
    "flow_logs.deliver_logs_permission_arn": flow_log(
        "deliver_logs_permission_arn", DeliverLogsPermissionArn=f"{ROLE}-other"
    ),
    "flow_logs.traffic_type": flow_log("traffic_type", TrafficType="REJECT"),
    "flow_logs.max_aggregation_interval": flow_log("max_aggregation_interval", MaxAggregationInterval=60),
    "flow_logs.log_format": flow_log("log_format", LogFormat=None),
    "tags": (lambda net: net.tag_everything("create_tags", Key="more", Value="yes"), everywhere("tags.more")),
    "tags removed": (lambda net: net.tag_everything("delete_tags", Key="ManagedBy"), everywhere("tags.ManagedBy")),
    "name": (
        unname,
        field("internet gateway", "igw", "tags.Name")
        | field("subnet", "database-a", "tags.Name")
        | field("NAT gateway", "nat-a", "tags.Name")
        | field("VPC endpoint", "logs", "tags.Name")
        | field("flow log", "cloud-watch-logs", "tags.Name"),
    ),
    "name of the address": (
        lambda net: net.ec2.delete_tags(Resources=[net.id("AllocationId", "nat-a")], Tags=[{"Key": "Name"}]),
        field("elastic IP", "nat-a", "tags.Name"),
    ),
}
GIVEN = "chooses of a VPC that somebody else manages; nothing in it is enforced"
NO_FIELD = {
    "cidr_block": "AWS never changes it; another one that is asked for is refused",
    "availability_zones": "AWS moves no subnet; one that is missing in a zone is a drift of the subnets",
    "state": "says whether there is to be one at all",
    "wait_timeout": "says how long to wait",
    **{f"vpc_{what}": GIVEN for what in ("id", "tags")},
    **{f"{tier}_subnet_{what}": GIVEN for tier in ("public", "private", "database") for what in ("ids", "tags")},
}


@pytest.fixture(scope="module")
def network(sandbox):
    return Network(sandbox.client("ec2"))


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, network, change, expected):
    if not network.deployed:
        module(MODULE, ARGUMENTS)
    network.deployed = False  # until it is as it was
    drifts(module, MODULE, ARGUMENTS, network.snapshot, lambda: change(network), expected)
    network.deployed = True


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
