"""What others got wrong about networks. Other tests name more complaints in their docstrings."""

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}


@pytest.fixture
def ec2(sandbox):
    return sandbox.client("ec2")


def endpoint(ec2, vpc_id, service):
    here = [{"Name": "vpc-id", "Values": [vpc_id]}]
    [found] = [
        one
        for one in ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]
        if one["State"] == "available" and one["ServiceName"].endswith(f".{service}")
    ]
    return found


def test_an_endpoint_follows_its_network_and_its_policy(module, ec2):
    """amazon.aws.ec2_vpc_endpoint reconciles the tags alone: another subnet, route table, security group or policy of
    an endpoint that is there is no change."""
    policies = [
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": do, "Resource": "*"}]}
        for do in ("s3:*", "s3:GetObject")
    ]
    args = {"name": "o-endpoint", "nat_gateway": "none", "vpc_endpoints": ["s3", "logs"], "tags": TAGS}
    two = {**args, "availability_zones": ["us-east-1a", "us-east-1b"], "vpc_endpoint_policies": {"s3": policies[0]}}
    three = {
        **args,
        "availability_zones": ["us-east-1a", "us-east-1b", "us-east-1c"],
        "vpc_endpoint_policies": {"s3": policies[1]},
    }
    vpc_id = module("vpc", two)["vpc"]["id"]
    before = {service: endpoint(ec2, vpc_id, service) for service in args["vpc_endpoints"]}
    changes = {(change["resource"], change["path"]) for change in module("vpc", three)["changes"]}
    assert {
        ("VPC endpoint o-endpoint-s3", "route_tables"),
        ("VPC endpoint o-endpoint-s3", "policy.Statement"),
        ("VPC endpoint o-endpoint-logs", "subnets"),
    } <= changes
    after = {service: endpoint(ec2, vpc_id, service) for service in args["vpc_endpoints"]}
    assert len(after["s3"]["RouteTableIds"]) == len(before["s3"]["RouteTableIds"]) + 1
    assert len(after["logs"]["SubnetIds"]) == 3
    assert '"s3:GetObject"' in after["s3"]["PolicyDocument"]
    assert all(after[service]["VpcEndpointId"] == before[service]["VpcEndpointId"] for service in after)


def test_private_dns_is_turned_on_in_place(module, ec2):
    """ansible-collections/amazon.aws#1719: no option for private DNS; hashicorp/terraform-provider-aws#46776: turning
    it on replaces the endpoint."""
    args = {"name": "o-dns", "nat_gateway": "none", "vpc_endpoints": ["logs"], "tags": TAGS}
    vpc_id = module("vpc", args)["vpc"]["id"]
    before = endpoint(ec2, vpc_id, "logs")
    assert before["PrivateDnsEnabled"]
    ec2.modify_vpc_endpoint(VpcEndpointId=before["VpcEndpointId"], PrivateDnsEnabled=False)
    [change] = module("vpc", args)["changes"]
    assert (change["path"], change["impact"]) == ("private_dns_enabled", "in-place")
    after = endpoint(ec2, vpc_id, "logs")
    assert (after["VpcEndpointId"], after["PrivateDnsEnabled"]) == (before["VpcEndpointId"], True)


def test_rules_in_other_words_are_no_change(quartet, ec2):
    """ansible/ansible#26286: changed on every run without egress; #30156: an address that is not the first of its
    range; ansible-modules-core#2120: a list of ranges; ansible-modules-core#529: ICMP fails the second time."""
    vpc_id = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    ingress = [
        {"from_port": 9200, "to_port": 9200, "cidr_blocks": ["10.220.130.0/27", "194.82.50.2/24"]},
        {"protocol": "icmp", "cidr_blocks": ["0.0.0.0/0"]},
        {"protocol": "icmp", "from_port": 8, "cidr_blocks": ["10.0.0.0/8"]},
    ]
    groups = [{"name": "o-words", "ingress": ingress}]
    made = quartet("ec2_security_groups", {"vpc_id": vpc_id, "security_groups": groups, "tags": TAGS})
    assert list(made["security_groups"]["o-words"]["ingress"]) == [
        "tcp 9200 from 10.220.130.0/27",
        "tcp 9200 from 194.82.50.0/24",
        "icmp from 0.0.0.0/0",
        "icmp type 8 from 10.0.0.0/8",
    ]
