import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import elbv2_load_balancer
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import unknown
from botocore.client import BaseClient
from generated import same

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
MODULE = "elbv2_load_balancer"


@pytest.fixture(scope="module")
def network(sandbox):
    """A VPC with three subnets and two security groups."""
    ec2 = sandbox.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]
        for n, zone in enumerate("abc")
    ]
    groups = [ec2.create_security_group(GroupName=f"t-{n}", Description="t", VpcId=vpc)["GroupId"] for n in range(2)]
    return {"vpc": vpc, "subnets": [subnet["SubnetId"] for subnet in subnets], "groups": groups}


@pytest.fixture(scope="module")
def certificate(sandbox):
    return sandbox.client("acm").request_certificate(DomainName="api.example.com")["CertificateArn"]


@pytest.fixture
def elbv2(sandbox):
    return sandbox.client("elbv2")


def alb_args(network, alb, target_group=None, **more):
    return {
        "name": alb,
        "scheme": "internet-facing",
        "subnets": network["subnets"][:2],
        "security_groups": network["groups"][:1],
        "idle_timeout": 120,
        "drop_invalid_header_fields": True,
        "deletion_protection": False,
        "target_group": {
            "name": alb,
            "port": 8000,
            "vpc_id": network["vpc"],
            "deregistration_delay": 30,
            "health_check": {
                "path": "/health",
                "interval": 10,
                "timeout": 4,
                "healthy_threshold": 2,
                "unhealthy_threshold": 3,
                "matcher": "200",
            },
            **(target_group or {}),
        },
        "listeners": [{"port": 80}],
        "tags": TAGS,
        **more,
    }


def snapshot(elbv2, name):
    """All that AWS says about a load balancer and its target group of the same name."""
    balancer = elbv2.describe_load_balancers(Names=[name])["LoadBalancers"][0]
    group = elbv2.describe_target_groups(Names=[name])["TargetGroups"][0]
    listeners = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    arns = [balancer["LoadBalancerArn"], group["TargetGroupArn"], *(item["ListenerArn"] for item in listeners)]
    tags = {
        item["ResourceArn"]: {tag["Key"]: tag["Value"] for tag in item["Tags"]}
        for item in elbv2.describe_tags(ResourceArns=arns)["TagDescriptions"]
    }
    balancer["AvailabilityZones"].sort(key=lambda zone: zone["ZoneName"])
    attributes = elbv2.describe_load_balancer_attributes(LoadBalancerArn=arns[0])["Attributes"]
    group_attributes = elbv2.describe_target_group_attributes(TargetGroupArn=arns[1])["Attributes"]
    return {
        "balancer": balancer,
        "group": group,
        "listeners": {item["Port"]: item for item in listeners},
        "tags": tags,
        "attributes": {item["Key"]: item["Value"] for item in attributes + group_attributes},
    }


def test_create(quartet, module, elbv2, network, calls):
    args = alb_args(network, "t-create")
    result = quartet(MODULE, args)
    assert [(c["action"], c["resource"]) for c in result["changes"]] == [
        ("create", "target group t-create"),
        ("create", "load balancer t-create"),
        ("create", "listener t-create:80"),
    ]
    there = snapshot(elbv2, "t-create")
    assert result["load_balancer"]["arn"] == there["balancer"]["LoadBalancerArn"]
    assert result["target_group"]["arn"] == there["group"]["TargetGroupArn"]
    assert result["load_balancer"]["canonical_hosted_zone_id"] == there["balancer"]["CanonicalHostedZoneId"]
    assert result["url"] == f"http://{there['balancer']['DNSName']}"
    assert there["attributes"]["idle_timeout.timeout_seconds"] == "120"
    assert there["attributes"]["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert there["attributes"]["deregistration_delay.timeout_seconds"] == "30"
    assert there["group"]["HealthCheckPath"] == "/health"
    assert there["group"]["TargetType"] == "ip"
    assert all(tags == TAGS for tags in there["tags"].values())
    assert len(there["tags"]) == 3
    calls.clear()
    module(MODULE, args)
    assert len(calls) == 6, calls


def test_a_check_returns_what_a_run_returns_of_a_bare_one(module, network):
    """What AWS takes when it is left out, the default security group among it."""
    bare = {
        "name": "t-bare",
        "subnets": network["subnets"][:2],
        "target_group": {"name": "t-bare", "port": 8000, "vpc_id": network["vpc"]},
    }
    foretold, done = module(MODULE, bare, check=True), module(MODULE, bare)
    for key in ("load_balancer", "target_group", "url"):
        assert same(foretold[key], done[key]), (foretold[key], done[key])


def test_check_on_an_empty_account(module, network, calls):
    predicted = {"vpc": unknown("VPC", "v"), "subnets": [unknown("subnet", "a"), unknown("subnet", "b")]}
    args = alb_args({**network, **predicted}, "t-not-there", security_groups=[unknown("security group", "alb")])
    result = module(MODULE, args, check=True)
    assert result["load_balancer"]["arn"] == unknown("load balancer", "t-not-there")
    assert result["target_group"]["arn"] == unknown("target group", "t-not-there")
    assert "t-not-there" in result["url"]
    assert calls.writes == []


def test_https_and_redirect(quartet, elbv2, network, certificate):
    https = {"port": 443, "protocol": "HTTPS", "certificate_arn": certificate}
    result = quartet(MODULE, alb_args(network, "t-https", listeners=[{"port": 80, "redirect_to_https": True}, https]))
    there = snapshot(elbv2, "t-https")
    assert result["url"] == f"https://{there['balancer']['DNSName']}"
    assert there["listeners"][443]["Certificates"] == [{"CertificateArn": certificate}]
    (action,) = there["listeners"][80]["DefaultActions"]
    assert action["RedirectConfig"]["Protocol"] == "HTTPS"
    assert action["RedirectConfig"]["StatusCode"] == "HTTP_301"

    assert there["listeners"][443]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"

    stricter = {**https, "ssl_policy": "ELBSecurityPolicy-TLS13-1-3-2021-06"}
    changes = quartet(MODULE, alb_args(network, "t-https", listeners=[{"port": 80}, stricter]))["changes"]
    assert {(c["resource"], c["path"]): c["impact"] for c in changes} == {
        ("listener t-https:80", "action"): "disruptive",
        ("listener t-https:443", "ssl_policy"): "in-place",
    }


def test_a_tls_policy_that_was_chosen_by_hand_stays(module, elbv2, network, certificate):
    secure = [{"port": 443, "protocol": "HTTPS", "certificate_arn": certificate}]
    module(MODULE, alb_args(network, "t-policy", listeners=[{"port": 443}]))
    changes = module(MODULE, alb_args(network, "t-policy", listeners=secure))["changes"]
    assert {change["path"]: change["after"] for change in changes}["ssl_policy"] == elbv2_load_balancer.NEW_SSL_POLICY
    listener = snapshot(elbv2, "t-policy")["listeners"][443]["ListenerArn"]
    elbv2.modify_listener(ListenerArn=listener, SslPolicy="ELBSecurityPolicy-2016-08")
    assert module(MODULE, alb_args(network, "t-policy", listeners=secure))["changes"] == []
    assert snapshot(elbv2, "t-policy")["listeners"][443]["SslPolicy"] == "ELBSecurityPolicy-2016-08"


def test_logs_that_are_turned_off_are_said_to_be(module, sandbox, network):
    sandbox.client("s3").create_bucket(Bucket="t-logs")
    logs = {"bucket": "t-logs", "prefix": ""}
    module(MODULE, alb_args(network, "t-unlogged", access_logs=logs, connection_logs=logs))
    off = {"access_logs": {"bucket": ""}, "connection_logs": logs}
    (change,) = module(MODULE, alb_args(network, "t-unlogged", **off))["changes"]
    assert (change["path"], change["impact"]) == ("access_logs", "disruptive")
    assert "not logged" in change["note"]
    changes = module(MODULE, alb_args(network, "t-unlogged", access_logs=logs))["changes"]
    assert {change["impact"] for change in changes} == {"in-place"}


def test_a_new_target_group_takes_over(quartet, elbv2, network):
    """The way out that the refusal of another port names.

    hashicorp/terraform-provider-aws#636 and pulumi/pulumi-aws#4220: a group with another port is to be replaced, which
    fails while a listener uses it.
    """
    quartet(MODULE, alb_args(network, "t-move"))
    changes = quartet(MODULE, alb_args(network, "t-move", {"name": "t-move-2", "port": 9000}))["changes"]
    assert [(c["resource"], c["action"], c["path"]) for c in changes] == [
        ("target group t-move-2", "create", ""),
        ("listener t-move:80", "update", "action"),
    ]


def test_what_is_left_out_stays(module, network, calls):
    module(MODULE, alb_args(network, "t-left-out"))
    calls.clear()
    result = module(MODULE, {"name": "t-left-out", "target_group": {"name": "t-left-out"}})
    assert result["changes"] == []
    assert calls.writes == []


def test_look_up(module, network, calls):
    made = module(MODULE, alb_args(network, "t-look-up", listeners=[{"port": 8080}]))
    calls.clear()
    found = module(MODULE, {"name": "t-look-up", "tags": TAGS})
    missing = module(MODULE, {"name": "t-look-up-missing", "tags": TAGS})
    assert found["changes"] == missing["changes"] == calls.writes == []
    assert found["url"] == made["url"]
    assert missing["url"] == unknown("address of load balancer", "t-look-up-missing")


def test_refusals(module, elbv2, network, certificate, calls):
    module(MODULE, alb_args(network, "t-refuse"))
    calls.clear()

    def refused(target_group=None, **more):
        return module(MODULE, alb_args(network, "t-refuse", target_group, **more), expect_failure=True)["msg"]

    assert "Set scheme back to internet-facing" in refused(scheme="internal")
    assert "Set target_group.port back" in refused({"port": 9000})
    assert "Set target_group.protocol back" in refused({"protocol": "HTTPS"})
    assert "Set target_group.vpc_id back" in refused({"vpc_id": "vpc-other"})
    foreign = refused(tags={**TAGS, "Environment": "prod"})
    assert "Environment=test" in foreign
    assert "name_prefix" in foreign
    assert "Shorten name_prefix" in refused(name="t" * 33)
    assert "two zones" in refused(subnets=network["subnets"][:1])
    assert "certificate_arn" in refused(listeners=[{"port": 443, "protocol": "HTTPS"}])
    assert "protocol to HTTPS" in refused(listeners=[{"port": 443, "certificate_arn": certificate}])
    assert "twice" in refused(listeners=[{"port": 80}, {"port": 80}])
    assert "needs a security group" in refused(security_groups=[])
    assert "both" in refused(
        listeners=[{"port": 80, "redirect_to_https": True, "fixed_response": {"status_code": 200}}]
    )
    assert "Set target_group.target_type back" in refused({"target_type": "instance"})
    assert "internal-" in refused(name="internal-a")
    assert "letters, digits and hyphens" in refused({"name": "a_b"})
    assert "1 to 4000" in refused(idle_timeout=0)
    assert "0 to 3600" in refused({"deregistration_delay": 4000})
    assert "30 to 900" in refused({"slow_start": 20})
    assert "timeout below interval" in refused({"health_check": {"timeout": 10}})
    assert "no slow start" in refused({"slow_start": 30, "load_balancing_algorithm": "weighted_random"})
    new = {"name": "t-new", "target_group": {"name": "t-new"}, "tags": TAGS}
    assert "target_group.port" in module(MODULE, new, expect_failure=True)["msg"]
    assert (
        "give target_group"
        in module(MODULE, {"name": "t-refuse", "listeners": [{"port": 80}], "tags": TAGS}, expect_failure=True)["msg"]
    )
    assert "give subnets" in module(MODULE, {**alb_args(network, "t-new"), "subnets": None}, expect_failure=True)["msg"]
    assert calls.writes == []


def test_protected_from_deletion(module, elbv2, network):
    module(MODULE, alb_args(network, "t-protect", deletion_protection=True))
    result = module(MODULE, alb_args(network, "t-protect", state="absent"), expect_failure=True)
    assert "Set deletion_protection to false" in result["msg"]
    assert snapshot(elbv2, "t-protect")["listeners"], "nothing was deleted"
    module(MODULE, alb_args(network, "t-protect"))
    module(MODULE, alb_args(network, "t-protect", state="absent"))


@pytest.mark.parametrize(
    "operation", ["CreateLoadBalancer", "CreateTargetGroup", "ModifyLoadBalancerAttributes", "CreateListener"]
)
def test_interrupted_run_converges(operation, module, quartet, elbv2, network, monkeypatch):
    name = f"t-crash-{operation}"[:32]
    args = alb_args(network, name)
    original = BaseClient._make_api_call

    def crash_after(self, called, arguments):
        answer = original(self, called, arguments)
        if called == operation:
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", crash_after)
        with pytest.raises(KeyboardInterrupt):
            module(MODULE, args)
    assert quartet(MODULE, args)["changes"] or operation == "CreateListener"
    there = snapshot(elbv2, name)
    assert set(there["listeners"]) == {80}
    assert all(tags == TAGS for tags in there["tags"].values())


def test_absent_twice(quartet, elbv2, network):
    quartet(MODULE, alb_args(network, "t-gone"))
    result = quartet(MODULE, alb_args(network, "t-gone", state="absent"))
    assert [c["resource"] for c in result["changes"]] == [
        "listener t-gone:80",
        "load balancer t-gone",
        "target group t-gone",
    ]
    with pytest.raises(elbv2.exceptions.LoadBalancerNotFoundException):
        elbv2.describe_load_balancers(Names=["t-gone"])
    with pytest.raises(elbv2.exceptions.TargetGroupNotFoundException):
        elbv2.describe_target_groups(Names=["t-gone"])


@pytest.mark.parametrize(
    ("listeners", "url"),
    [
        ([("HTTP", 80)], "http://lb"),
        ([("HTTP", 8080)], "http://lb:8080"),
        ([("HTTP", 8080), ("HTTP", 80)], "http://lb"),
        ([("HTTP", 80), ("HTTPS", 443)], "https://lb"),
        ([("HTTPS", 8443), ("HTTP", 80)], "https://lb:8443"),
    ],
)
def test_address(listeners, url):
    assert elbv2_load_balancer.address("lb", listeners) == url


def test_absent_leaves_what_others_own_alone(left_alone, quartet, module, elbv2, network):
    theirs = {**TAGS, "Environment": "prod"}
    module(MODULE, alb_args(network, "t-theirs", deletion_protection=True))
    warnings = left_alone(MODULE, alb_args(network, "t-theirs", tags=theirs))
    assert [warning.split(" is")[0] for warning in warnings] == ["load balancer t-theirs", "target group t-theirs"]

    arn = elbv2.describe_target_groups(Names=["t-theirs"])["TargetGroups"][0]["TargetGroupArn"]
    module(MODULE, alb_args(network, "t-theirs", deletion_protection=False))
    elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": "Environment", "Value": "prod"}])
    result = quartet(MODULE, alb_args(network, "t-theirs", state="absent"))
    assert [c["resource"] for c in result["changes"]] == ["listener t-theirs:80", "load balancer t-theirs"]
    assert elbv2.describe_target_groups(Names=["t-theirs"])["TargetGroups"]


def test_a_group_that_another_load_balancer_uses(module, elbv2, network, calls):
    """AWS lets one load balancer use a target group, and deletes none that is in use: both are said beforehand, not
    after waiting for it to be free."""
    module(MODULE, alb_args(network, "t-used"))
    calls.clear()
    for check in (True, False):
        second = alb_args(network, "t-second", {"name": "t-used"})
        assert "is used by the load balancer t-used" in module(MODULE, second, check=check, expect_failure=True)["msg"]
        only = {"name": "t-nowhere", "target_group": {"name": "t-used"}, "tags": TAGS, "state": "absent"}
        assert "Nothing was deleted" in module(MODULE, only, check=check, expect_failure=True)["msg"]
    assert calls.writes == []


def test_a_load_balancer_that_has_just_gone_is_in_nobodys_way(module, elbv2, network, monkeypatch):
    """Stopped after DeleteLoadBalancer, while the target group still names it: the next run goes on."""
    module(MODULE, alb_args(network, "t-gone-by"))
    [balancer] = elbv2.describe_load_balancers(Names=["t-gone-by"])["LoadBalancers"]
    elbv2.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    describe = elbv2_load_balancer.describe
    monkeypatch.setattr(
        elbv2_load_balancer, "describe", lambda *arguments: describe(*arguments) | {"used_by": ["t-gone-by"]}
    )
    again = module(MODULE, alb_args(network, "t-gone-by"), check=True)["changes"]
    assert [change["action"] for change in again] == ["create", "create"]
    gone = module(MODULE, alb_args(network, "t-gone-by", state="absent"))["changes"]
    assert [change["resource"] for change in gone] == ["target group t-gone-by"]


def test_a_group_that_a_load_balancer_of_others_uses_is_not_deleted(module, elbv2, network, calls):
    module(MODULE, alb_args(network, "t-left"))
    [balancer] = elbv2.describe_load_balancers(Names=["t-left"])["LoadBalancers"]
    elbv2.add_tags(ResourceArns=[balancer["LoadBalancerArn"]], Tags=[{"Key": "Environment", "Value": "prod"}])
    calls.clear()
    args = alb_args(network, "t-left", state="absent", wait_timeout=1)
    refused = module(MODULE, args, expect_failure=True)["msg"]
    assert "is used by the load balancer t-left, which is not deleted" in refused
    assert calls.writes == []


def test_repair_and_back(quartet, elbv2, network):
    """While the service is repaired, the load balancer answers itself."""
    repaired = {"port": 80, "fixed_response": {"status_code": 503, "message_body": "Back at nine"}}
    quartet(MODULE, alb_args(network, "t-repair"))
    [change] = quartet(MODULE, alb_args(network, "t-repair", listeners=[repaired]))["changes"]
    assert (change["path"], change["impact"]) == ("action", "disruptive")
    assert change["after"] == "answer 503 with text/plain Back at nine"
    [action] = snapshot(elbv2, "t-repair")["listeners"][80]["DefaultActions"]
    assert action["FixedResponseConfig"] == {
        "StatusCode": "503",
        "ContentType": "text/plain",
        "MessageBody": "Back at nine",
    }
    assert [one["path"] for one in quartet(MODULE, alb_args(network, "t-repair"))["changes"]] == ["action"]


def test_more_attributes_than_a_call_takes(quartet, elbv2, network, sandbox):
    """20, by the API reference of ModifyLoadBalancerAttributes."""
    sandbox.client("s3").create_bucket(Bucket="t-many-logs")
    kinds = {kind: {"bucket": "t-many-logs", "prefix": "a"} for kind in elbv2_load_balancer.LOGS}
    others = {
        field: not default if isinstance(default, bool) else 90
        for field, (_, default) in elbv2_load_balancer.LB_ATTRIBUTES.items()
        if not isinstance(default, str)
    }
    asked = {"desync_mitigation_mode": "monitor", "xff_header_processing_mode": "remove", **others, **kinds}
    quartet(MODULE, alb_args(network, "t-many", **asked))
    off = {kind: {"bucket": ""} for kind in kinds}
    changes = quartet(MODULE, alb_args(network, "t-many", **asked) | off)["changes"]
    assert [change["path"] for change in changes] == list(kinds)
    assert snapshot(elbv2, "t-many")["attributes"]["access_logs.s3.enabled"] == "false"


def test_adopt_takes_over_exactly_what_differs(module, left_alone, elbv2, network, calls):
    """The load balancer and its target group were made by hand; what listens and who is served stays."""
    theirs = {**TAGS, "Project": "other"}
    module(MODULE, alb_args(network, "t-adopt", tags=theirs))
    before = snapshot(elbv2, "t-adopt")
    wanted = alb_args(network, "t-adopt", {"deregistration_delay": 60}, idle_timeout=90)
    calls.clear()
    assert "adopt" in module(MODULE, wanted, expect_failure=True)["msg"]
    one = {**wanted, "adopt": ["load balancer t-adopt"]}
    assert "target group t-adopt exists and belongs" in module(MODULE, one, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": ["load balancer t-adopt", "target group t-adopt"]}
    assert len(left_alone(MODULE, adopting)) == 2
    foretold = module(MODULE, adopting, check=True)["changes"]
    assert {(change["resource"], change["action"], change["path"]) for change in foretold} == {
        ("load balancer t-adopt", "update", "idle_timeout"),
        ("target group t-adopt", "update", "deregistration_delay"),
        *(
            (resource, "update", "tags.Project")
            for resource in ("load balancer t-adopt", "target group t-adopt", "listener t-adopt:80")
        ),
    }
    assert module(MODULE, adopting)["changes"] == foretold
    assert module(MODULE, wanted, check=True)["changes"] == []
    after = snapshot(elbv2, "t-adopt")
    assert after["tags"].keys() == before["tags"].keys(), "nothing was replaced"
    assert all(tags == TAGS for tags in after["tags"].values())
