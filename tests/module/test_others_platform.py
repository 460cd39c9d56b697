"""What others got wrong about load balancers. Other tests name more complaints in their docstrings."""

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
MODULE = "elbv2_load_balancer"


@pytest.fixture(scope="module")
def elbv2(sandbox):
    return sandbox.client("elbv2")


@pytest.fixture(scope="module")
def arguments(sandbox):
    ec2 = sandbox.client("ec2")
    subnets = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][:2]

    def of(name, *listeners, **group):
        return {
            "name": name,
            "subnets": [subnet["SubnetId"] for subnet in subnets],
            "target_group": {"name": name, "port": 8000, "vpc_id": subnets[0]["VpcId"], **group},
            "listeners": list(listeners),
            "tags": TAGS,
        }

    return of


def listeners_of(elbv2, name):
    [balancer] = elbv2.describe_load_balancers(Names=[name])["LoadBalancers"]
    found = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    return {one["Port"]: one["ListenerArn"] for one in found}


def test_who_is_registered_stays_registered(quartet, elbv2, arguments):
    """ansible/ansible#67557 and ansible-collections/amazon.aws#8: elb_application_lb is changed in every run, and takes
    the targets out of the group; ansible/ansible#39709: so does elb_target_group."""
    made = quartet(MODULE, arguments("o-targets", {"port": 80}))
    group = made["target_group"]["arn"]
    elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": 9}])
    quartet(MODULE, arguments("o-targets", {"port": 80}))
    changed = quartet(MODULE, arguments("o-targets", {"port": 80}, {"port": 81}, deregistration_delay=30))
    assert len(changed["changes"]) == 2
    found = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert [one["Target"]["Id"] for one in found] == ["127.0.0.1"]
    assert found[0]["TargetHealth"]["State"] != "draining"


def test_listeners_come_and_go_and_those_that_stay_keep_their_arn(quartet, elbv2, arguments):
    """ansible/ansible#33391: elb_application_lb neither adds nor removes listeners later; ansible/ansible#25270: it
    makes those anew that change, and whatever knows their ARNs points nowhere."""
    quartet(MODULE, arguments("o-listeners", {"port": 80}, {"port": 81}))
    before = listeners_of(elbv2, "o-listeners")
    quartet(MODULE, arguments("o-listeners", {"port": 80, "redirect_to_https": True}, {"port": 82}))
    after = listeners_of(elbv2, "o-listeners")
    assert set(after) == {80, 82}
    assert after[80] == before[80]
