"""Pairs of a load balancer before and after: what a check says is what a run does."""

from itertools import count

import pytest
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
BUCKETS = ["pairs-alb-a", "pairs-alb-b"]


def some(required=(), **fields):
    """A dictionary with the required ones of the fields, and any of the others."""
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


LOGS = some(["bucket"], bucket=st.sampled_from(["", *BUCKETS]), prefix=st.sampled_from(["", "a"]))
HEALTH_CHECK = some(
    protocol=st.sampled_from(["HTTP", "HTTPS"]),
    port=st.sampled_from(["traffic-port", "9000"]),
    path=st.sampled_from(["/", "/health"]),
    # now and then a check that takes longer than the next one is away: that is refused
    interval=st.sampled_from([10, 30, 60]),
    timeout=st.sampled_from([2, 5, 5, 20]),
    healthy_threshold=st.integers(2, 3),
    unhealthy_threshold=st.integers(2, 3),
    matcher=st.sampled_from(["200", "200-299"]),
)
GROUP = some(
    ["name", "port"],
    name=st.sampled_from(["a", "a", "b"]),
    port=st.sampled_from([8000, 8000, 8000, 9000]),
    protocol=st.sampled_from(["HTTP", "HTTP", "HTTP", "HTTPS"]),
    target_type=st.sampled_from(["ip", "ip", "ip", "instance"]),
    deregistration_delay=st.sampled_from([0, 30, 300]),
    slow_start=st.sampled_from([0, 0, 30]),
    load_balancing_algorithm=st.sampled_from(["round_robin", "least_outstanding_requests", "weighted_random"]),
    health_check=HEALTH_CHECK,
)
LISTENER = some(
    ["port", "speaks", "does"],
    port=st.sampled_from([80, 443, 8080]),
    speaks=st.one_of(
        st.just({"protocol": "HTTP"}),
        some(
            ["protocol", "certificate_arn"],
            protocol=st.just("HTTPS"),
            certificate_arn=st.integers(0, 1),
            ssl_policy=st.sampled_from(["ELBSecurityPolicy-2016-08", "ELBSecurityPolicy-TLS13-1-2-2021-06"]),
        ),
    ),
    does=st.one_of(
        st.just({}),
        st.just({}),
        st.just({"redirect_to_https": True}),
        some(
            ["status_code"],
            status_code=st.sampled_from([200, 503]),
            content_type=st.sampled_from(["text/plain", "application/json"]),
            message_body=st.sampled_from(["", "{}"]),
        ).map(lambda answer: {"fixed_response": answer}),
    ),
).map(lambda drawn: {"port": drawn["port"], **drawn["speaks"], **drawn["does"]})
ARGUMENTS = some(
    ["tags", "subnets"],
    tags=st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
        lambda more: OWNER | more
    ),
    scheme=st.sampled_from(["internet-facing", "internet-facing", "internet-facing", "internal"]),
    subnets=st.lists(st.integers(0, 2), min_size=2, max_size=3, unique=True),
    security_groups=st.lists(st.integers(0, 1), min_size=1, max_size=2),
    idle_timeout=st.sampled_from([60, 4000]),
    client_keep_alive=st.sampled_from([60, 3600]),
    deletion_protection=st.sampled_from([False, False, False, True]),
    http2=st.booleans(),
    desync_mitigation_mode=st.sampled_from(["monitor", "defensive", "strictest"]),
    drop_invalid_header_fields=st.booleans(),
    preserve_host_header=st.booleans(),
    x_amzn_tls_version_and_cipher_suite=st.booleans(),
    xff_client_port=st.booleans(),
    xff_header_processing_mode=st.sampled_from(["append", "preserve", "remove"]),
    waf_fail_open=st.booleans(),
    zonal_shift=st.booleans(),
    access_logs=LOGS,
    connection_logs=LOGS,
    health_check_logs=LOGS,
    target_group=GROUP,
    listeners=st.lists(LISTENER, max_size=3, unique_by=lambda listener: listener["port"]),
    state=st.sampled_from(["present", "present", "present", "present", "absent"]),
)
EXAMPLE = count()


class Pairs:
    """What load balancers need, and drawn arguments with it in."""

    def __init__(self, sandbox):
        ec2, acm = sandbox.client("ec2"), sandbox.client("acm")
        self.vpc = ec2.create_vpc(CidrBlock="10.29.0.0/16")["Vpc"]["VpcId"]
        zones = [(f"10.29.{n}.0/24", f"us-east-1{zone}") for n, zone in enumerate("abc")]
        self.subnets = [
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=block, AvailabilityZone=zone)["Subnet"]["SubnetId"]
            for block, zone in zones
        ]
        self.groups = [
            ec2.create_security_group(GroupName=name, Description="t", VpcId=self.vpc)["GroupId"] for name in "ab"
        ]
        self.certificates = [acm.request_certificate(DomainName=f"{n}.example.com")["CertificateArn"] for n in "ab"]
        for bucket in BUCKETS:
            sandbox.client("s3").create_bucket(Bucket=bucket)

    def real(self, drawn, example, mend):
        item = {**drawn, "name": f"pairs-{example}", "subnets": [self.subnets[i] for i in drawn["subnets"]]}
        if "security_groups" in item:
            item["security_groups"] = [self.groups[i] for i in item["security_groups"]]
        item["listeners"] = [self.listener(one, mend) for one in drawn.get("listeners", [])]
        forwards = [one for one in item["listeners"] if not {"redirect_to_https", "fixed_response"} & one.keys()]
        if mend and forwards and "target_group" not in item:
            item["target_group"] = {"name": "a", "port": 8000}
        if "target_group" in item:
            item["target_group"] = self.group(item["target_group"], example, mend)
        if "listeners" not in drawn:
            del item["listeners"]
        return item

    def listener(self, drawn, mend):
        item = dict(drawn)
        if "certificate_arn" in item:
            item["certificate_arn"] = self.certificates[item["certificate_arn"]]
            if mend:
                item.pop("redirect_to_https", None)
        return item

    def group(self, drawn, example, mend):
        item = {**drawn, "name": f"pairs-{example}-{drawn['name']}", "vpc_id": self.vpc}
        if mend:
            item["health_check"] = {**drawn.get("health_check", {}), "timeout": 5}
            if item.get("load_balancing_algorithm", "round_robin") != "round_robin":
                item["slow_start"] = 0
        return item


@pytest.fixture(scope="module")
def stack(sandbox):
    return Pairs(sandbox)


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS, mend=st.sampled_from([True, True, True, False]))
def test_pairs(module, calls, stack, before, after, mend):
    example = next(EXAMPLE)
    # state absent has nothing to delete when it is what there is before
    before = {**before, "state": "present"}
    event(
        pair(module, calls, "elbv2_load_balancer", stack.real(before, example, True), stack.real(after, example, mend))
    )
