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


def https(cidr):
    return [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": cidr}]}]


DRIFTS = {
    "ingress.tcp 443 from 203.0.113.0/24": lambda ec2, group: ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpPermissions=https("203.0.113.0/24")
    ),
    "egress.tcp 443 to 203.0.113.0/24": lambda ec2, group: ec2.authorize_security_group_egress(
        GroupId=group["GroupId"], IpPermissions=https("203.0.113.0/24")
    ),
    "ingress.icmp 8--1 from 203.0.113.0/24": lambda ec2, group: ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[{"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}],
    ),
    "ingress.tcp 6379 from t-worker": lambda ec2, group: ec2.revoke_security_group_ingress(
        GroupId=group["GroupId"], IpPermissions=[p for p in group["IpPermissions"] if p["FromPort"] == 6379]
    ),
    "ingress.tcp 8000-8010 from 10.0.0.0/8": lambda ec2, group: ec2.update_security_group_rule_descriptions_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 8000,
                "ToPort": 8010,
                "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "changed"}],
            }
        ],
    ),
    "tags.ManagedBy": lambda ec2, group: ec2.delete_tags(Resources=[group["GroupId"]], Tags=[{"Key": "ManagedBy"}]),
    "tags.extra": lambda ec2, group: ec2.create_tags(
        Resources=[group["GroupId"]], Tags=[{"Key": "extra", "Value": "1"}]
    ),
}


def test_every_drift_is_seen_and_mended(quartet, module, ec2, vpc_id):
    args = redis_args(vpc_id)
    before = module(MODULE, args)["security_groups"]
    for path, drift in DRIFTS.items():
        drift(ec2, groups(ec2, vpc_id)["t-redis"])
        (change,) = quartet(MODULE, args)["changes"]
        assert (change["resource"], change["path"]) == ("security group t-redis", path)
        removed = change["after"] is None and path.startswith(("ingress", "egress"))
        assert (change["impact"] == "disruptive") is removed, path
        assert module(MODULE, args)["security_groups"] == before, path


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
    assert "from_port" in refused({"name": "t-x", "egress": [{"cidr_blocks": ["10.0.0.0/8"]}]})
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


def test_absent_waits_for_network_interfaces_and_names_them(module, ec2, vpc_id, monkeypatch):
    """The sandbox deletes a group that is in use, AWS does not: its refusal is put in here."""
    group_id = module(MODULE, redis_args(vpc_id))["security_groups"]["t-plain"]["id"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.7.1.0/24")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[group_id], Description="ELB app/t")
    original = BaseClient._make_api_call

    def in_use(self, called, arguments):
        if called == "DeleteSecurityGroup" and arguments["GroupId"] == group_id:
            error = {"Error": {"Code": "DependencyViolation", "Message": "has a dependent object"}}
            raise ec2.exceptions.ClientError(error, called)
        return original(self, called, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", in_use)
        result = module(MODULE, redis_args(vpc_id, state="absent", wait_timeout=1), expect_failure=True)
    assert interface["NetworkInterface"]["NetworkInterfaceId"] in result["msg"]
    assert "ELB app/t" in result["msg"]
    assert "wait_timeout" in result["msg"]
    assert list(groups(ec2, vpc_id)) == ["t-plain"]
    module(MODULE, redis_args(vpc_id, state="absent"))
    assert groups(ec2, vpc_id) == {}


def test_absent_leaves_somebody_elses_group_alone(left_alone, module, ec2, vpc_id):
    module(MODULE, redis_args(vpc_id))
    warnings = left_alone(MODULE, redis_args(vpc_id, tags={**TAGS, "Environment": "prod"}))
    assert warnings
    assert all("is left alone" in warning for warning in warnings)
