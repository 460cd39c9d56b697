import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import elbv2_load_balancer
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import unknown
from botocore.client import BaseClient

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


def test_check_on_an_empty_account(module, network, calls):
    predicted = {"vpc": unknown("VPC", "v"), "subnets": [unknown("subnet", "a"), unknown("subnet", "b")]}
    args = alb_args({**network, **predicted}, "t-not-there", security_groups=[unknown("security group", "alb")])
    result = module(MODULE, args, check=True)
    assert result["load_balancer"]["arn"] == unknown("load balancer", "t-not-there")
    assert result["target_group"]["arn"] == unknown("target group", "t-not-there")
    assert "t-not-there" in result["url"]
    assert calls.writes == []


def attribute(key, value):
    return lambda elbv2, there, network: elbv2.modify_load_balancer_attributes(
        LoadBalancerArn=there["balancer"]["LoadBalancerArn"], Attributes=[{"Key": key, "Value": value}]
    )


def health(**arguments):
    return lambda elbv2, there, network: elbv2.modify_target_group(
        TargetGroupArn=there["group"]["TargetGroupArn"], **arguments
    )


def tag(what, **tags):
    def add(elbv2, there, network):
        arn = {
            "balancer": there["balancer"]["LoadBalancerArn"],
            "group": there["group"]["TargetGroupArn"],
            "listener": there["listeners"][80]["ListenerArn"],
        }[what]
        elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])

    return add


BALANCER, GROUP, LISTENER = "load balancer t-drift", "target group t-drift", "listener t-drift:80"
DRIFTS = [
    (BALANCER, "idle_timeout", attribute("idle_timeout.timeout_seconds", "60")),
    (BALANCER, "deletion_protection", attribute("deletion_protection.enabled", "true")),
    (
        BALANCER,
        "drop_invalid_header_fields",
        attribute("routing.http.drop_invalid_header_fields.enabled", "false"),
    ),
    (
        BALANCER,
        "subnets",
        lambda elbv2, there, network: elbv2.set_subnets(
            LoadBalancerArn=there["balancer"]["LoadBalancerArn"], Subnets=network["subnets"][1:]
        ),
    ),
    (
        BALANCER,
        "security_groups",
        lambda elbv2, there, network: elbv2.set_security_groups(
            LoadBalancerArn=there["balancer"]["LoadBalancerArn"], SecurityGroups=network["groups"]
        ),
    ),
    (BALANCER, "tags.extra", tag("balancer", extra="1")),
    (GROUP, "tags.ManagedBy", tag("group", ManagedBy="me")),
    (LISTENER, "tags.extra", tag("listener", extra="1")),
    (GROUP, "health_check.path", health(HealthCheckPath="/other")),
    (GROUP, "health_check.interval", health(HealthCheckIntervalSeconds=30)),
    (GROUP, "health_check.timeout", health(HealthCheckTimeoutSeconds=5)),
    (GROUP, "health_check.healthy_threshold", health(HealthyThresholdCount=5)),
    (GROUP, "health_check.unhealthy_threshold", health(UnhealthyThresholdCount=5)),
    (GROUP, "health_check.matcher", health(Matcher={"HttpCode": "200-299"})),
    (
        GROUP,
        "deregistration_delay",
        lambda elbv2, there, network: elbv2.modify_target_group_attributes(
            TargetGroupArn=there["group"]["TargetGroupArn"],
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "300"}],
        ),
    ),
    (
        LISTENER,
        "action",
        lambda elbv2, there, network: elbv2.modify_listener(
            ListenerArn=there["listeners"][80]["ListenerArn"],
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
        ),
    ),
    (
        LISTENER,
        "",
        lambda elbv2, there, network: elbv2.delete_listener(ListenerArn=there["listeners"][80]["ListenerArn"]),
    ),
    (
        "listener t-drift:8080",
        "",
        lambda elbv2, there, network: elbv2.create_listener(
            LoadBalancerArn=there["balancer"]["LoadBalancerArn"],
            Port=8080,
            Protocol="HTTP",
            DefaultActions=[{"Type": "forward", "TargetGroupArn": there["group"]["TargetGroupArn"]}],
        ),
    ),
]


def test_every_drift_is_seen_and_mended(module, elbv2, network, calls):
    args = alb_args(network, "t-drift")
    module(MODULE, args)
    # the last two are whole listeners, and one of them is the listener that others change
    for drifts in (DRIFTS[:-2], DRIFTS[-2:]):
        before = snapshot(elbv2, "t-drift")
        for _, _, drift in drifts:
            drift(elbv2, before, network)
        calls.clear()
        foretold = module(MODULE, args, check=True)["changes"]
        assert calls.writes == []
        assert {(c["resource"], c["path"]) for c in foretold} == {(where, path) for where, path, _ in drifts}
        assert module(MODULE, args)["changes"] == foretold
        after = snapshot(elbv2, "t-drift")
        assert set(after["listeners"]) == {80}
        if drifts == DRIFTS[:-2]:
            assert after == before


def test_https_and_redirect(quartet, elbv2, network, certificate):
    https = {"port": 443, "protocol": "HTTPS", "certificate_arn": certificate}
    result = quartet(MODULE, alb_args(network, "t-https", listeners=[{"port": 80, "redirect_to_https": True}, https]))
    there = snapshot(elbv2, "t-https")
    assert result["url"] == f"https://{there['balancer']['DNSName']}"
    assert there["listeners"][443]["Certificates"] == [{"CertificateArn": certificate}]
    (action,) = there["listeners"][80]["DefaultActions"]
    assert action["RedirectConfig"]["Protocol"] == "HTTPS"
    assert action["RedirectConfig"]["StatusCode"] == "HTTP_301"

    stricter = {**https, "ssl_policy": "ELBSecurityPolicy-TLS13-1-2-2021-06"}
    changes = quartet(MODULE, alb_args(network, "t-https", listeners=[{"port": 80}, stricter]))["changes"]
    assert {(c["resource"], c["path"]): c["impact"] for c in changes} == {
        ("listener t-https:80", "action"): "disruptive",
        ("listener t-https:443", "ssl_policy"): "in-place",
    }


def test_a_new_target_group_takes_over(quartet, elbv2, network):
    """The way out that the refusal of another port names."""
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
def test_url(listeners, url):
    assert elbv2_load_balancer._url("lb", listeners) == url


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
