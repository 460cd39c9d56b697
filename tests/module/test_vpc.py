import json
import re

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import is_unknown
from botocore.client import BaseClient

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}


@pytest.fixture
def ec2(sandbox):
    return sandbox.client("ec2")


def named(name):
    return [{"Name": "tag:Name", "Values": [name]}]


def only(items):
    assert len(items) == 1, items
    return items[0]


def tags(item):
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}


class Network:
    """What AWS says about the VPC of one name."""

    def __init__(self, ec2, name):
        self.ec2, self.name = ec2, name

    @property
    def id(self):
        return only(self.ec2.describe_vpcs(Filters=named(f"{self.name}-vpc"))["Vpcs"])["VpcId"]

    def here(self):
        return [{"Name": "vpc-id", "Values": [self.id]}]

    def subnet(self, name):
        return only(self.ec2.describe_subnets(Filters=named(f"{self.name}-{name}"))["Subnets"])

    def table(self, name):
        return only(self.ec2.describe_route_tables(Filters=named(f"{self.name}-{name}"))["RouteTables"])

    def endpoints(self):
        found = self.ec2.describe_vpc_endpoints(Filters=self.here())["VpcEndpoints"]
        return {item["ServiceName"].split(".", 3)[-1]: item for item in found if item["State"] != "deleted"}

    def gateway(self):
        return only(self.ec2.describe_internet_gateways(Filters=named(f"{self.name}-igw"))["InternetGateways"])

    def nats(self):
        found = self.ec2.describe_nat_gateways(Filters=[{"Name": "state", "Values": ["available"]}])["NatGateways"]
        return [item for item in found if tags(item).get("Name", "").startswith(f"{self.name}-nat-")]

    def addresses(self):
        return self.ec2.describe_addresses(Filters=named(f"{self.name}-nat-*"))["Addresses"]

    def group(self):
        filters = [*self.here(), {"Name": "group-name", "Values": [f"{self.name}-vpc-endpoints"]}]
        return only(self.ec2.describe_security_groups(Filters=filters)["SecurityGroups"])

    def way_out(self, table):
        """Where 0.0.0.0/0 of a route table leads."""
        routes = [r for r in self.table(table)["Routes"] if r.get("DestinationCidrBlock") == "0.0.0.0/0"]
        return next((route.get("NatGatewayId") or route.get("GatewayId") for route in routes), None)

    def table_of(self, subnet):
        subnet_id = self.subnet(subnet)["SubnetId"]
        filters = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
        return only(self.ec2.describe_route_tables(Filters=filters)["RouteTables"])


def test_whole_network(quartet, module, ec2, calls):
    args = {"name": "t-whole", "nat_gateway": "per_zone", "vpc_endpoints": ["s3", "ecr.api"], "tags": TAGS}
    result = quartet("vpc", args)
    assert {change["action"] for change in result["changes"]} == {"create"}
    net = Network(ec2, "t-whole")
    assert result["vpc"] == {"id": net.id, "cidr_block": "10.0.0.0/16", "managed": True}
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        answer = ec2.describe_vpc_attribute(VpcId=net.id, Attribute=attribute)
        assert answer[attribute[0].upper() + attribute[1:]]["Value"] is True
    for tier in ("public", "private", "database"):
        assert [subnet["availability_zone"] for subnet in result["subnets"][tier]] == ["us-east-1a", "us-east-1b"]
        for letter, subnet in zip("ab", result["subnets"][tier], strict=True):
            there = net.subnet(f"{tier}-{letter}")
            assert (there["SubnetId"], there["CidrBlock"]) == (subnet["id"], subnet["cidr_block"])
            assert there["MapPublicIpOnLaunch"] is (tier == "public")
            assert tags(there) == {**TAGS, "Name": f"t-whole-{tier}-{letter}"}
            table = f"private-{letter}" if tier == "private" else tier
            assert net.table_of(f"{tier}-{letter}")["RouteTableId"] == net.table(table)["RouteTableId"]
    assert net.way_out("public") == net.gateway()["InternetGatewayId"]
    assert net.way_out("database") is None
    nats = {tags(nat)["Name"]: nat for nat in net.nats()}
    for letter in "ab":
        nat = nats[f"t-whole-nat-{letter}"]
        assert net.way_out(f"private-{letter}") == nat["NatGatewayId"]
        assert nat["SubnetId"] == net.subnet(f"public-{letter}")["SubnetId"]
    endpoints = net.endpoints()
    assert endpoints["s3"]["VpcEndpointType"] == "Gateway"
    tables = {net.table(name)["RouteTableId"] for name in ("public", "private-a", "private-b")}
    assert set(endpoints["s3"]["RouteTableIds"]) == tables
    assert {endpoints["ecr.api"]["PrivateDnsEnabled"], only(endpoints["ecr.api"]["Groups"])["GroupId"]} == {
        True,
        net.group()["GroupId"],
    }
    permission = only(net.group()["IpPermissions"])
    assert (permission["FromPort"], only(permission["IpRanges"])["CidrIp"]) == (443, "10.0.0.0/16")
    calls.clear()
    module("vpc", args)
    assert len(calls) == 10, calls


def test_check_on_an_empty_account(module, calls):
    args = {"name": "t-empty", "vpc_endpoints": ["s3", "logs"], "tags": TAGS}
    result = module("vpc", args, check=True)
    assert calls.writes == []
    assert is_unknown(result["vpc"]["id"])
    assert [len(result["subnets"][tier]) for tier in ("public", "private", "database")] == [2, 2, 2]
    ids = [item["id"] for tier in result["subnets"].values() for item in tier]
    ids += [item["id"] for item in [*result["nat_gateways"], *result["vpc_endpoints"]]]
    assert all(is_unknown(item) for item in ids)
    assert len(set(ids)) == len(ids)


def test_routes_of_others_stay(module, ec2, calls):
    args = {"name": "t-peer", "nat_gateway": "none", "tags": TAGS}
    module("vpc", args)
    net = Network(ec2, "t-peer")
    other = ec2.create_vpc(CidrBlock="10.200.0.0/16")["Vpc"]["VpcId"]
    peering = ec2.create_vpc_peering_connection(VpcId=net.id, PeerVpcId=other)["VpcPeeringConnection"]
    peering_id = peering["VpcPeeringConnectionId"]
    table = net.table("database")["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.200.0.0/16", VpcPeeringConnectionId=peering_id)
    calls.clear()
    assert module("vpc", args)["changes"] == []
    assert calls.writes == []


def test_nat_modes(module, ec2):
    args = {"name": "t-nat", "tags": TAGS}
    net = Network(ec2, "t-nat")

    def change_to(mode):
        changes = module("vpc", {**args, "nat_gateway": mode})["changes"]
        assert module("vpc", {**args, "nat_gateway": mode}, check=True)["changes"] == []
        return {(c["action"], c["resource"], c["impact"]) for c in changes}

    change_to("none")
    assert net.way_out("private-a") is None
    assert change_to("single") == {
        ("create", "elastic IP t-nat-nat-a", "in-place"),
        ("create", "NAT gateway t-nat-nat-a", "in-place"),
        ("update", "route table t-nat-private-a", "in-place"),
        ("update", "route table t-nat-private-b", "in-place"),
    }
    assert change_to("per_zone") == {
        ("create", "elastic IP t-nat-nat-b", "in-place"),
        ("create", "NAT gateway t-nat-nat-b", "in-place"),
        ("update", "route table t-nat-private-b", "disruptive"),
    }
    assert net.way_out("private-a") != net.way_out("private-b")
    assert change_to("none") == {
        (action, f"{what} t-nat-{where}", "disruptive")
        for what, action, places in (
            ("route table", "update", ("private-a", "private-b")),
            ("NAT gateway", "delete", ("nat-a", "nat-b")),
            ("elastic IP", "delete", ("nat-a", "nat-b")),
        )
        for where in places
    }
    assert net.nats() == net.addresses() == []


def test_endpoints_come_and_go(module, ec2):
    args = {"name": "t-ends", "nat_gateway": "none", "tags": TAGS}
    module("vpc", {**args, "vpc_endpoints": ["s3", "logs"]})
    net = Network(ec2, "t-ends")
    module("vpc", {**args, "vpc_endpoints": ["s3", "secretsmanager"]})
    assert set(net.endpoints()) == {"s3", "secretsmanager"}
    changes = module("vpc", {**args, "vpc_endpoints": ["s3"]})["changes"]
    assert module("vpc", {**args, "vpc_endpoints": ["s3"]}, check=True)["changes"] == []
    assert {(c["action"], c["resource"]) for c in changes} == {
        ("delete", "VPC endpoint t-ends-secretsmanager"),
        ("delete", "security group t-ends-vpc-endpoints"),
    }


def test_a_zone_can_be_added_and_not_taken_away(module):
    args = {"name": "t-zone", "nat_gateway": "none", "tags": TAGS}
    before = module("vpc", {**args, "availability_zones": ["us-east-1a", "us-east-1b"]})
    after = module("vpc", {**args, "availability_zones": ["us-east-1a", "us-east-1b", "us-east-1c"]})
    assert [subnet["id"] for subnet in after["subnets"]["private"]][:2] == [
        subnet["id"] for subnet in before["subnets"]["private"]
    ]
    assert len(module("vpc", args)["subnets"]["database"]) == 3, "left out: the zones that are there"
    fewer = {**args, "availability_zones": ["us-east-1a", "us-east-1b"]}
    assert "put us-east-1c back into availability_zones" in module("vpc", fewer, expect_failure=True)["msg"]


def test_two_vpcs_of_others_are_not_to_be_deleted(module, ec2, calls):
    args = {"name": "t-theirs", "nat_gateway": "none", "tags": TAGS}
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "t-theirs-vpc"}]}]
    made = [ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tags) for _ in range(2)]
    theirs = [answer["Vpc"]["VpcId"] for answer in made]
    calls.clear()
    message = module("vpc", args, expect_failure=True)["msg"]
    assert "belong to somebody else" in message
    assert "name_prefix" in message
    assert "network_vpc_id" in message
    assert "Delete" not in message
    assert calls.writes == []
    ours = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    ec2.create_tags(Resources=theirs, Tags=ours)
    assert "Delete one" in module("vpc", args, expect_failure=True)["msg"]
    for vpc in theirs:
        ec2.delete_vpc(VpcId=vpc)


def test_refusals(module, ec2, calls):
    args = {"name": "t-refuse", "nat_gateway": "none", "tags": TAGS}
    module("vpc", args)
    calls.clear()

    def refused(**more):
        return module("vpc", {**args, **more}, expect_failure=True)["msg"]

    assert "Set cidr_block back" in refused(cidr_block="10.1.0.0/16")
    moved = [f"10.0.{n}.0/24" for n in (250, 251)]
    assert "Set cidr_block or *_subnets back" in refused(database_subnets=moved)
    foreign = refused(tags={**TAGS, "Environment": "prod"})
    assert "Environment=test" in foreign
    assert "name_prefix" in foreign
    assert "set vpc_id or vpc_tags" in refused(private_subnet_ids=["subnet-1"])
    assert "names a zone twice" in refused(availability_zones=["us-east-1a", "us-east-1a"])
    assert "enable_dns_hostnames needs" in refused(enable_dns_support=False)
    assert "not in vpc_endpoints" in refused(vpc_endpoint_policies={"s3": {}})
    bucket = {"log_destination_type": "s3", "log_destination": "arn:aws:s3:::t"}
    assert "s3 twice" in refused(flow_logs=[bucket, bucket])
    assert "takes no deliver" in refused(flow_logs=[{**bucket, "deliver_logs_permission_arn": "arn:aws:iam::1:role/x"}])
    assert "needs deliver" in refused(flow_logs=[{"log_destination": "arn:aws:logs:us-east-1:1:log-group:t"}])
    assert calls.writes == []


def crashing_after_every_write(monkeypatch, run):
    """Run again and again, stopped after the first call of each operation that writes; return these operations."""
    original, stopped = BaseClient._make_api_call, set()

    def stop(self, called, arguments):
        answer = original(self, called, arguments)
        if not called.startswith("Describe") and called not in stopped:
            stopped.add(called)
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", stop)
        while True:
            try:
                run()
                return stopped
            except KeyboardInterrupt:
                continue


def test_interrupted_runs_converge(module, ec2, monkeypatch):
    args = {"name": "t-crash", "vpc_endpoints": ["s3", "logs"], "tags": TAGS}
    assert crashing_after_every_write(monkeypatch, lambda: module("vpc", args)) >= {
        "CreateVpc",
        "ModifyVpcAttribute",
        "CreateInternetGateway",
        "AttachInternetGateway",
        "CreateSubnet",
        "ModifySubnetAttribute",
        "CreateRouteTable",
        "AllocateAddress",
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "CreateNatGateway",
        "CreateVpcEndpoint",
        "CreateRoute",
        "AssociateRouteTable",
    }
    assert module("vpc", args)["changes"] == []
    net = Network(ec2, "t-crash")
    assert len(ec2.describe_subnets(Filters=net.here())["Subnets"]) == 6
    assert len(ec2.describe_route_tables(Filters=net.here())["RouteTables"]) == 5, "ours and the main one"
    assert len(net.nats()) == len(net.addresses()) == 1
    assert set(net.endpoints()) == {"s3", "logs"}
    net.gateway()
    net.group()
    absent = {**args, "state": "absent"}
    assert crashing_after_every_write(monkeypatch, lambda: module("vpc", absent)) >= {
        "DeleteVpcEndpoints",
        "DeleteNatGateway",
        "ReleaseAddress",
        "DetachInternetGateway",
        "DeleteInternetGateway",
        "DeleteSubnet",
        "DeleteRouteTable",
        "DeleteSecurityGroup",
        "DeleteVpc",
    }
    assert module("vpc", absent)["changes"] == []
    assert ec2.describe_vpcs(Filters=named("t-crash-vpc"))["Vpcs"] == net.nats() == net.addresses() == []


def test_absent_twice(quartet, ec2):
    args = {"name": "t-gone", "vpc_endpoints": ["s3", "logs"], "tags": TAGS}
    quartet("vpc", args)
    result = quartet("vpc", {**args, "state": "absent"})
    assert {change["action"] for change in result["changes"]} == {"delete"}
    net = Network(ec2, "t-gone")
    assert ec2.describe_vpcs(Filters=named("t-gone-vpc"))["Vpcs"] == []
    assert ec2.describe_internet_gateways(Filters=named("t-gone-igw"))["InternetGateways"] == []
    assert net.nats() == net.addresses() == []


def test_absent_names_what_is_still_there(module, ec2):
    """hashicorp/terraform-provider-aws#17548: the deletion hangs, and nobody says on what."""
    args = {"name": "t-used", "nat_gateway": "none", "tags": TAGS}
    made = module("vpc", args)
    absent = {**args, "state": "absent", "wait_timeout": 1}
    group = ec2.create_security_group(GroupName="t-app", Description="t", VpcId=made["vpc"]["id"])["GroupId"]
    interface = ec2.create_network_interface(SubnetId=made["subnets"]["private"][0]["id"], Description="ELB app/t")
    interface_id = interface["NetworkInterface"]["NetworkInterfaceId"]
    message = module("vpc", absent, expect_failure=True)["msg"]
    assert f"network interface {interface_id} (ELB app/t)" in message
    assert "wait_timeout" in message
    ec2.delete_network_interface(NetworkInterfaceId=interface_id)
    # security groups do not go away by themselves: no waiting for them
    message = module("vpc", {**absent, "wait_timeout": 60}, expect_failure=True)["msg"]
    assert f"t-app ({group})" in message
    ec2.delete_security_group(GroupId=group)
    module("vpc", absent)


def test_a_failed_nat_gateway_says_why(module, monkeypatch):
    original = BaseClient._make_api_call

    def failing(self, called, arguments):
        answer = original(self, called, arguments)
        for nat in answer.get("NatGateways", []):
            nat.update(State="failed", FailureMessage="Network vpc-1 has no Internet gateway attached")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", failing)
        message = module("vpc", {"name": "t-failed", "tags": TAGS}, expect_failure=True)["msg"]
    assert "t-failed-nat-a failed: Network vpc-1 has no Internet gateway attached" in message


# --- a given VPC


@pytest.fixture(scope="module")
def company(sandbox):
    """A VPC that somebody else made, with subnets of two tiers in two zones."""
    ec2 = sandbox.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc_id], Tags=[{"Key": "Name", "Value": "company"}])
    result = {"vpc": vpc_id}
    for number, (tier, zone) in enumerate([("app", "a"), ("app", "b"), ("data", "a"), ("data", "b")]):
        subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.77.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")[
            "Subnet"
        ]["SubnetId"]
        ec2.create_tags(Resources=[subnet], Tags=[{"Key": "tier", "Value": tier}])
        result.setdefault(tier, []).append(subnet)
    return result


def test_a_given_vpc_is_left_alone(module, company, calls):
    by_id = {
        "name": "t-given",
        "vpc_id": company["vpc"],
        "private_subnet_ids": company["app"],
        "database_subnet_ids": company["data"],
        "tags": TAGS,
    }
    by_tags = {
        "name": "t-given",
        "vpc_tags": {"Name": "company"},
        "private_subnet_tags": {"tier": "app"},
        "database_subnet_tags": {"tier": "data"},
        "tags": TAGS,
    }
    calls.clear()
    results = [module("vpc", args) for args in (by_id, by_tags)]
    assert results[0] == results[1]
    assert results[0]["vpc"] == {"id": company["vpc"], "cidr_block": "10.77.0.0/16", "managed": False}
    assert [subnet["id"] for subnet in results[0]["subnets"]["private"]] == company["app"]
    assert [subnet["id"] for subnet in results[0]["subnets"]["database"]] == company["data"]
    assert results[0]["subnets"]["public"] == []
    module("vpc", {**by_id, "state": "absent"})
    assert calls.writes == []


def test_a_given_vpc_that_will_not_do(module, company):
    good = {
        "name": "t-given",
        "vpc_id": company["vpc"],
        "private_subnet_ids": company["app"],
        "database_subnet_ids": company["data"],
    }

    def refused(**more):
        return module("vpc", {**good, **more}, expect_failure=True)["msg"]

    for idle in ({"flow_logs": [{"log_destination": "x"}]}, {"vpc_endpoint_policies": {"s3": {}}}):
        assert f"(network_{next(iter(idle))}) is set, and so is vpc_id" in refused(**idle)
    assert "Correct vpc_id" in refused(vpc_id="vpc-00000000000000000")
    assert (
        "Change vpc_tags"
        in module("vpc", {"name": "t-given", "vpc_tags": {"Name": "nobody"}}, expect_failure=True)["msg"]
    )
    assert "private_subnet_ids names subnet-1" in refused(private_subnet_ids=["subnet-1"])
    assert "set database_subnet_ids or database_subnet_tags" in refused(database_subnet_ids=None)
    assert "database_subnet_tags" in refused(database_subnet_ids=None, database_subnet_tags={"tier": "x"})
    assert "us-east-1a alone" in refused(database_subnet_ids=company["data"][:1])


def test_absent_leaves_what_others_own_alone(left_alone, module, ec2, monkeypatch):
    args = {"name": "t-theirs", "nat_gateway": "none", "vpc_endpoints": ["logs"], "tags": TAGS}
    module("vpc", args)
    (warning,) = left_alone("vpc", {**args, "tags": {**TAGS, "Environment": "prod"}})
    assert warning.startswith("VPC t-theirs-vpc is left alone")


def test_absent_is_refused_while_others_have_something_in_the_vpc(module, ec2, calls):
    """hashicorp/terraform-provider-aws#17548, terraform-aws-modules/terraform-aws-ecs#46: the deletion hangs."""
    args = {"name": "t-guests", "nat_gateway": "none", "vpc_endpoints": ["logs"], "tags": TAGS}
    module("vpc", args)
    net = Network(ec2, "t-guests")
    guest = ec2.create_subnet(VpcId=net.id, CidrBlock="10.0.240.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=net.id)["RouteTable"]["RouteTableId"]
    group = net.group()["GroupId"]
    ec2.create_tags(Resources=[guest], Tags=[{"Key": "Name", "Value": "t-guests-bastion"}])
    ec2.create_tags(Resources=[group], Tags=[{"Key": "Environment", "Value": "prod"}])
    calls.clear()
    message = module("vpc", {**args, "adopt": ["*"], "state": "absent"}, expect_failure=True)["msg"]
    assert f"subnet {guest} (t-guests-bastion), route table {table} (without a name)" in message
    assert f"security group t-guests-vpc-endpoints ({group})" in message
    assert calls.writes == []
    assert module("vpc", {**args, "adopt": ["security group t-guests-*"]})["changes"], "only the group changes"
    ec2.delete_subnet(SubnetId=guest)
    ec2.delete_route_table(RouteTableId=table)
    module("vpc", {**args, "state": "absent"})


def test_adopt_takes_over_exactly_what_differs(module, left_alone, ec2, calls):
    """A network that another stack made; the refusal names all of it at once, in the form that takes it over."""
    args = {"name": "t-adopt", "vpc_endpoints": ["s3", "logs"], "tags": TAGS}
    flow_log = {"log_destination_type": "kinesis-data-firehose", "log_destination": "arn:aws:firehose:x:1:y/z"}
    theirs = {**args, "flow_logs": [flow_log], "enable_dns_hostnames": True, "tags": {**TAGS, "Environment": "prod"}}
    before = module("vpc", theirs)
    net = Network(ec2, "t-adopt")
    ec2.modify_subnet_attribute(SubnetId=net.subnet("public-a")["SubnetId"], MapPublicIpOnLaunch={"Value": False})
    wanted = {**args, "flow_logs": [flow_log]}
    calls.clear()
    message = module("vpc", wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopt = json.loads(re.search(r"-e '(\{.*?\})'", message)[1])["adopt"]
    assert set(adopt) == set(before["resources"])
    adopting = {**wanted, "adopt": adopt}
    assert len(left_alone("vpc", adopting)) == 1
    # all or nothing
    assert "belongs to somebody else" in module("vpc", {**wanted, "adopt": adopt[1:]}, expect_failure=True)["msg"]
    foretold = module("vpc", adopting, check=True)["changes"]
    assert {(change["resource"], change["path"]) for change in foretold} == {
        *((resource, "tags.Environment") for resource in adopt),
        ("subnet t-adopt-public-a", "map_public_ip_on_launch"),
    }
    done = module("vpc", adopting)
    assert done["changes"] == foretold
    output = ("vpc", "subnets", "nat_gateways", "vpc_endpoints")
    assert {key: done[key] for key in output} == {key: before[key] for key in output}, "nothing was replaced"
    assert module("vpc", adopting, check=True)["changes"] == module("vpc", wanted)["changes"] == []


def test_an_address_or_a_gateway_of_somebody_else_is_not_taken(module, ec2, calls):
    """What lies outside of the VPC has its name too."""
    tags = [{"Key": "Name", "Value": "t-loose-nat-a"}]
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tags}])
    args = {"name": "t-loose", "tags": TAGS}
    calls.clear()
    assert '"adopt": ["elastic IP t-loose-nat-a"]' in module("vpc", args, expect_failure=True)["msg"]
    assert calls.writes == []
    made = module("vpc", {**args, "adopt": ["elastic IP t-loose-nat-a"]})
    assert made["nat_gateways"][0]["public_ip"] == address["PublicIp"], "so an address that others know can be brought"


def test_flow_logs_come_change_and_go(quartet, module, ec2, sandbox):
    """hashicorp/terraform-provider-aws#26479, #45770: a star at the end of the group's ARN is a change on every run."""
    sandbox.client("s3").create_bucket(Bucket="t-flow-logs")
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/t-flow:*"
    to_group = {"log_destination": group, "deliver_logs_permission_arn": "arn:aws:iam::123456789012:role/t-flow"}
    to_bucket = {"log_destination_type": "s3", "log_destination": "arn:aws:s3:::t-flow-logs/vpc/"}
    args = {"name": "t-flow", "nat_gateway": "none", "tags": TAGS}
    quartet("vpc", {**args, "flow_logs": [to_group, to_bucket]})
    changes = quartet("vpc", {**args, "flow_logs": [{**to_group, "traffic_type": "REJECT"}]})["changes"]
    assert [(c["resource"], c["action"], c["path"], c["impact"]) for c in changes] == [
        ("flow log t-flow-cloud-watch-logs", "update", "traffic_type", "replacement"),
        ("flow log t-flow-s3", "delete", "", "disruptive"),
    ]
    assert module("vpc", args)["changes"] == [], "left out, they are not looked at"
    net = Network(ec2, "t-flow")
    here = [{"Name": "resource-id", "Values": [net.id]}]
    assert [log["TrafficType"] for log in ec2.describe_flow_logs(Filters=here)["FlowLogs"]] == ["REJECT"]
    nowhere = {**to_bucket, "log_destination": "arn:aws:s3:::t-flow-nowhere"}
    assert "t-flow-nowhere" in module("vpc", {**args, "flow_logs": [nowhere]}, expect_failure=True)["msg"]
    quartet("vpc", {**args, "state": "absent"})
    assert ec2.describe_flow_logs(Filters=here)["FlowLogs"] == []
