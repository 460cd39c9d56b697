import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import unknown
from botocore.client import BaseClient

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
MODULE = "ec2_security_groups"


@pytest.fixture
def ec2(sandbox):
    return sandbox.client("ec2")


@pytest.fixture
def vpc_id(ec2):
    return ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]


def redis_args(vpc_id, **more):
    """Two groups that name each other, the one that is named later in the list first."""
    return {
        "vpc_id": vpc_id,
        "security_groups": [
            {
                "name": "t-redis",
                "description": "Redis",
                "ingress": [
                    {
                        "from_port": 6379,
                        "to_port": 6379,
                        "source_security_groups": ["t-worker"],
                        "description": "the queue",
                    },
                    {
                        "from_port": 8000,
                        "to_port": 8010,
                        "cidr_blocks": ["10.0.0.0/8", "192.168.7.9/16"],
                        "description": "offices",
                    },
                ],
                "egress": [],
            },
            {
                "name": "t-worker",
                "egress": [
                    {"from_port": 6379, "to_port": 6379, "destination_security_groups": ["t-redis"]},
                    {"protocol": "udp", "from_port": 53, "to_port": 53, "cidr_blocks": ["10.7.0.2/32"]},
                    {"protocol": "-1", "cidr_blocks": ["fd00::/8"]},
                ],
            },
            {"name": "t-plain"},
        ],
        "tags": TAGS,
        **more,
    }


def groups(ec2, vpc_id):
    found = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["SecurityGroups"]
    return {group["GroupName"]: group for group in found if group["GroupName"] != "default"}


def test_groups_that_name_each_other(quartet, ec2, vpc_id):
    result = quartet(MODULE, redis_args(vpc_id))
    assert [change["action"] for change in result["changes"]] == ["create"] * 3
    there = groups(ec2, vpc_id)
    assert {name: group["GroupId"] for name, group in there.items()} == {
        name: group["id"] for name, group in result["security_groups"].items()
    }
    assert result["security_groups"]["t-redis"]["ingress"] == {
        "tcp 6379 from t-worker": "the queue",
        "tcp 8000-8010 from 10.0.0.0/8": "offices",
        "tcp 8000-8010 from 192.168.0.0/16": "offices",
    }
    (pair,) = next(p for p in there["t-redis"]["IpPermissions"] if p["FromPort"] == 6379)["UserIdGroupPairs"]
    assert pair["GroupId"] == there["t-worker"]["GroupId"]
    assert there["t-redis"]["IpPermissionsEgress"] == []
    assert [p["IpProtocol"] for p in there["t-plain"]["IpPermissionsEgress"]] == ["-1"], (
        "left out: everything may go out"
    )
    assert {tag["Key"]: tag["Value"] for tag in there["t-plain"]["Tags"]} == TAGS


def test_a_vpc_that_does_not_exist_yet(module, calls):
    result = module(MODULE, redis_args(unknown("vpc", "nexus-learn-vpc")), check=True)
    assert result["security_groups"]["t-redis"]["id"] == unknown("security group", "t-redis")
    assert [change["action"] for change in result["changes"]] == ["create"] * 3
    assert not [call for call in calls if call[0] == "ec2"]


def test_a_run_without_changes_is_one_call(module, vpc_id, calls):
    module(MODULE, redis_args(vpc_id))
    calls.clear()
    assert module(MODULE, redis_args(vpc_id))["changes"] == []
    assert calls == [("ec2", "DescribeSecurityGroups")]


def test_a_rule_that_goes_is_disruptive_and_one_that_comes_is_not(module, vpc_id):
    module(MODULE, redis_args(vpc_id))
    args = redis_args(vpc_id)
    args["security_groups"][0]["ingress"][0]["from_port"] = 6378
    changes = module(MODULE, args, check=True)["changes"]
    assert {(change["path"], change["impact"]) for change in changes} == {
        ("ingress.tcp 6379 from t-worker", "disruptive"),
        ("ingress.tcp 6378-6379 from t-worker", "in-place"),
    }


def test_adopt_takes_over_exactly_what_differs(module, left_alone, ec2, vpc_id, calls):
    """A group that somebody made by hand, with rules and tags of theirs."""
    theirs = [{"ResourceType": "security-group", "Tags": [{"Key": "Environment", "Value": "prod"}]}]
    group = ec2.create_security_group(
        GroupName="t-adopt", Description="by hand", VpcId=vpc_id, TagSpecifications=theirs
    )
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule])
    ours = {"name": "t-adopt", "ingress": [{"from_port": 443, "to_port": 443, "cidr_blocks": ["10.0.0.0/8"]}]}
    wanted = {"vpc_id": vpc_id, "security_groups": [ours], "tags": TAGS}
    calls.clear()
    assert '"adopt": ["security group t-adopt"]' in module(MODULE, wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": ["security group t-adopt"]}
    assert len(left_alone(MODULE, adopting)) == 1
    foretold = module(MODULE, adopting, check=True)["changes"]
    assert {(change["action"], change["path"]) for change in foretold} == {
        ("update", "ingress.tcp 22 from 0.0.0.0/0"),
        ("update", "ingress.tcp 443 from 10.0.0.0/8"),
        *(("update", f"tags.{tag}") for tag in TAGS),
    }
    done = module(MODULE, adopting)
    assert done["changes"] == foretold
    assert done["security_groups"]["t-adopt"]["id"] == group["GroupId"]
    assert module(MODULE, adopting, check=True)["changes"] == module(MODULE, wanted)["changes"] == []


def test_refusals(module, ec2, vpc_id, calls):
    module(MODULE, redis_args(vpc_id))
    calls.clear()

    def refused(group, tags=TAGS):
        args = {"vpc_id": vpc_id, "security_groups": [group], "tags": tags}
        return module(MODULE, args, expect_failure=True)["msg"]

    assert "Set its description back" in refused({"name": "t-redis", "description": "other"})
    foreign = refused({"name": "t-redis"}, {**TAGS, "Environment": "prod"})
    assert "Environment=test" in foreign
    assert "name_prefix" in foreign
    rule = {"from_port": 1, "to_port": 1}
    assert "names t-nobody" in refused({"name": "t-x", "ingress": [{**rule, "source_security_groups": ["t-nobody"]}]})
    assert "10.0.0.0/40" in refused({"name": "t-x", "ingress": [{**rule, "cidr_blocks": ["10.0.0.0/40"]}]})
    assert "needs cidr_blocks" in refused({"name": "t-x", "ingress": [rule]})
    world = {"cidr_blocks": ["0.0.0.0/0"]}
    for ports in ({}, {"from_port": 1}, {"from_port": 2, "to_port": 1}, {"from_port": 1, "to_port": 65536}):
        assert "the first and the last of ports" in refused({"name": "t-x", "egress": [{**world, **ports}]})
    for icmp in ({"to_port": 0}, {"from_port": 256}, {"from_port": 3, "to_port": -2}):
        assert "an ICMP type" in refused({"name": "t-x", "ingress": [{**world, "protocol": "icmp", **icmp}]})
    assert "no id" in refused({"name": "t-x", "ingress": [{**rule, "prefix_list_ids": ["com.amazonaws.x"]}]})
    assert calls.writes == []


@pytest.mark.parametrize(
    "operation", ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "RevokeSecurityGroupEgress"]
)
def test_interrupted_run_converges(operation, module, quartet, ec2, vpc_id, monkeypatch):
    original = BaseClient._make_api_call

    def crash_after(self, called, arguments):
        answer = original(self, called, arguments)
        if called == operation:
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", crash_after)
        with pytest.raises(KeyboardInterrupt):
            module(MODULE, redis_args(vpc_id))
    assert all(group["Tags"] for group in groups(ec2, vpc_id).values()), "a group is never there without its tags"
    # revoking is the last thing that a run does
    assert quartet(MODULE, redis_args(vpc_id))["changes"] or operation == "RevokeSecurityGroupEgress"
    assert len(groups(ec2, vpc_id)) == 3


def test_absent_twice(quartet, ec2, vpc_id):
    quartet(MODULE, redis_args(vpc_id))
    result = quartet(MODULE, redis_args(vpc_id, state="absent"))
    assert [change["action"] for change in result["changes"]] == ["delete"] * 3
    assert groups(ec2, vpc_id) == {}


def test_absent_is_refused_while_others_name_a_group(module, ec2, vpc_id, calls):
    ours = module(MODULE, redis_args(vpc_id))["security_groups"]
    other = ec2.create_security_group(GroupName="t-other", Description="x", VpcId=vpc_id)["GroupId"]
    pair = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": ours["t-redis"]["id"]}]}]
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=pair)
    calls.clear()
    result = module(MODULE, redis_args(vpc_id, state="absent"), expect_failure=True)
    assert f"rules of t-other ({other}) name it" in result["msg"]
    assert calls.writes == []


def test_absent_waits_for_network_interfaces_and_names_them(module, ec2, vpc_id):
    """hashicorp/terraform-provider-aws#3414, #17548: the deletion hangs for many minutes, and nobody says on what."""
    group_id = module(MODULE, redis_args(vpc_id))["security_groups"]["t-plain"]["id"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.7.1.0/24")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[group_id], Description="ELB app/t")
    interface_id = interface["NetworkInterface"]["NetworkInterfaceId"]
    result = module(MODULE, redis_args(vpc_id, state="absent", wait_timeout=1), expect_failure=True)
    assert f"{interface_id} (ELB app/t)" in result["msg"]
    assert "wait_timeout" in result["msg"]
    assert list(groups(ec2, vpc_id)) == ["t-plain"]
    ec2.delete_network_interface(NetworkInterfaceId=interface_id)
    module(MODULE, redis_args(vpc_id, state="absent"))
    assert groups(ec2, vpc_id) == {}


def test_absent_leaves_somebody_elses_group_alone(left_alone, module, ec2, vpc_id):
    module(MODULE, redis_args(vpc_id))
    warnings = left_alone(MODULE, redis_args(vpc_id, tags={**TAGS, "Environment": "prod"}))
    assert warnings
    assert all("is left alone" in warning for warning in warnings)
