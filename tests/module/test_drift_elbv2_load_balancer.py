"""Every option of elbv2_load_balancer: changed by hand, seen as exactly that field, mended, nothing else moved."""

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "elbv2_load_balancer"
NAME = "drift-alb"
BALANCER, GROUP = f"load balancer {NAME}", f"target group {NAME}"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
KINDS = ("access_logs", "connection_logs", "health_check_logs")
FORWARDS, REDIRECTS, ANSWERS, SECURE = (f"listener {NAME}:{port}" for port in (80, 81, 82, 443))


@pytest.fixture(scope="module")
def arguments(sandbox):
    ec2, acm, s3 = sandbox.client("ec2"), sandbox.client("acm"), sandbox.client("s3")
    vpc = ec2.create_vpc(CidrBlock="10.19.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.19.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]
        for n, zone in enumerate("abc")
    ]
    groups = [ec2.create_security_group(GroupName=f"t-{n}", Description="t", VpcId=vpc)["GroupId"] for n in range(2)]
    for bucket in ("drift-alb-logs", "drift-alb-other"):
        s3.create_bucket(Bucket=bucket)
    certificates = [acm.request_certificate(DomainName=f"{n}.example.com")["CertificateArn"] for n in "ab"]
    return {
        "name": NAME,
        "scheme": "internet-facing",
        "subnets": [subnet["SubnetId"] for subnet in subnets[:2]],
        "security_groups": groups[:1],
        "idle_timeout": 120,
        "client_keep_alive": 600,
        "deletion_protection": False,
        "http2": False,
        "desync_mitigation_mode": "strictest",
        "drop_invalid_header_fields": True,
        "preserve_host_header": True,
        "x_amzn_tls_version_and_cipher_suite": True,
        "xff_client_port": True,
        "xff_header_processing_mode": "preserve",
        "waf_fail_open": True,
        "zonal_shift": True,
        **{kind: {"bucket": "drift-alb-logs", "prefix": kind} for kind in KINDS},
        "target_group": {
            "name": NAME,
            "port": 8000,
            "protocol": "HTTP",
            "vpc_id": vpc,
            "target_type": "ip",
            "deregistration_delay": 30,
            "slow_start": 60,
            "load_balancing_algorithm": "round_robin",
            "health_check": {
                "protocol": "HTTPS",
                "port": "9000",
                "path": "/health",
                "interval": 10,
                "timeout": 4,
                "healthy_threshold": 3,
                "unhealthy_threshold": 4,
                "matcher": "200-299",
            },
        },
        "listeners": [
            {"port": 80, "protocol": "HTTP"},
            {"port": 81, "redirect_to_https": True},
            {"port": 82, "fixed_response": {"status_code": 503, "content_type": "text/html", "message_body": "<p>"}},
            {
                "port": 443,
                "protocol": "HTTPS",
                "certificate_arn": certificates[0],
                "ssl_policy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
            },
        ],
        "tags": TAGS,
        "more": {"subnets": [one["SubnetId"] for one in subnets], "groups": groups, "certificates": certificates},
    }


def balancer(**attributes):
    """Attributes of the load balancer, with a dot for every __."""
    return lambda elbv2, arns, more: elbv2.modify_load_balancer_attributes(
        LoadBalancerArn=arns[BALANCER],
        Attributes=[{"Key": key.replace("__", "."), "Value": value} for key, value in attributes.items()],
    )


def group(**attributes):
    return lambda elbv2, arns, more: elbv2.modify_target_group_attributes(
        TargetGroupArn=arns[GROUP],
        Attributes=[{"Key": key.replace("__", "."), "Value": value} for key, value in attributes.items()],
    )


def health(**changes):
    return lambda elbv2, arns, more: elbv2.modify_target_group(TargetGroupArn=arns[GROUP], **changes)


def listener(name, **changes):
    return lambda elbv2, arns, more: elbv2.modify_listener(ListenerArn=arns[name], **changes)


def tag(name, method="add_tags", **change):
    change = change or {"Tags": [{"Key": "more", "Value": "yes"}]}
    return lambda elbv2, arns, more: getattr(elbv2, method)(ResourceArns=[arns[name]], **change)


def answers(**changes):
    config = {"StatusCode": "503", "ContentType": "text/html", "MessageBody": "<p>", **changes}
    return listener(ANSWERS, DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": config}])


def redirects(**changes):
    config = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301", **changes}
    return listener(REDIRECTS, DefaultActions=[{"Type": "redirect", "RedirectConfig": config}])


def added(elbv2, arns, more):
    """A listener on a port of its own."""
    elbv2.create_listener(
        LoadBalancerArn=arns[BALANCER],
        Port=8080,
        Protocol="HTTP",
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arns[GROUP]}],
    )


def group_gone(elbv2, arns, more):
    """No listener forwards to it any more, and then it goes."""
    fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}]
    for name in (FORWARDS, SECURE):
        elbv2.modify_listener(ListenerArn=arns[name], DefaultActions=fixed)
    elbv2.delete_target_group(TargetGroupArn=arns[GROUP])


# option -> (what somebody does by hand, which fields of what a check names)
CASES = {
    "subnets": (
        lambda elbv2, arns, more: elbv2.set_subnets(LoadBalancerArn=arns[BALANCER], Subnets=more["subnets"][1:]),
        {(BALANCER, "subnets")},
    ),
    "security_groups": (
        lambda elbv2, arns, more: elbv2.set_security_groups(
            LoadBalancerArn=arns[BALANCER], SecurityGroups=more["groups"]
        ),
        {(BALANCER, "security_groups")},
    ),
    "idle_timeout": (balancer(idle_timeout__timeout_seconds="60"), {(BALANCER, "idle_timeout")}),
    "client_keep_alive": (balancer(client_keep_alive__seconds="3600"), {(BALANCER, "client_keep_alive")}),
    "deletion_protection": (balancer(deletion_protection__enabled="true"), {(BALANCER, "deletion_protection")}),
    "http2": (balancer(routing__http2__enabled="true"), {(BALANCER, "http2")}),
    "desync_mitigation_mode": (
        balancer(routing__http__desync_mitigation_mode="monitor"),
        {(BALANCER, "desync_mitigation_mode")},
    ),
    "xff_header_processing_mode": (
        balancer(routing__http__xff_header_processing__mode="remove"),
        {(BALANCER, "xff_header_processing_mode")},
    ),
    **{
        option: (balancer(**{f"routing__http__{option}__enabled": "false"}), {(BALANCER, option)})
        for option in (
            "drop_invalid_header_fields",
            "preserve_host_header",
            "x_amzn_tls_version_and_cipher_suite",
            "xff_client_port",
        )
    },
    "waf_fail_open": (balancer(waf__fail_open__enabled="false"), {(BALANCER, "waf_fail_open")}),
    "zonal_shift": (balancer(zonal_shift__config__enabled="false"), {(BALANCER, "zonal_shift")}),
    **{
        f"{kind}.bucket": (balancer(**{f"{kind}__s3__bucket": "drift-alb-other"}), {(BALANCER, f"{kind}.bucket")})
        for kind in KINDS
    },
    **{f"{kind}.prefix": (balancer(**{f"{kind}__s3__prefix": ""}), {(BALANCER, f"{kind}.prefix")}) for kind in KINDS},
    "access_logs.bucket off": (
        balancer(access_logs__s3__enabled="false"),
        {(BALANCER, "access_logs.bucket"), (BALANCER, "access_logs.prefix")},
    ),
    "target_group.deregistration_delay": (
        group(deregistration_delay__timeout_seconds="300"),
        {(GROUP, "deregistration_delay")},
    ),
    "target_group.slow_start": (group(slow_start__duration_seconds="0"), {(GROUP, "slow_start")}),
    "target_group.load_balancing_algorithm": (
        group(load_balancing__algorithm__type="least_outstanding_requests", slow_start__duration_seconds="0"),
        {(GROUP, "load_balancing_algorithm"), (GROUP, "slow_start")},
    ),
    **{
        f"target_group.health_check.{option}": (health(**change), {(GROUP, f"health_check.{option}")})
        for option, change in (
            ("protocol", {"HealthCheckProtocol": "HTTP"}),
            ("port", {"HealthCheckPort": "traffic-port"}),
            ("path", {"HealthCheckPath": "/"}),
            ("interval", {"HealthCheckIntervalSeconds": 30}),
            ("timeout", {"HealthCheckTimeoutSeconds": 5}),
            ("healthy_threshold", {"HealthyThresholdCount": 5}),
            ("unhealthy_threshold", {"UnhealthyThresholdCount": 5}),
            ("matcher", {"Matcher": {"HttpCode": "200"}}),
        )
    },
    "target_group.name": (group_gone, {(GROUP, "create"), (FORWARDS, "action"), (SECURE, "action")}),
    "listeners.port": (
        lambda elbv2, arns, more: elbv2.delete_listener(ListenerArn=arns[FORWARDS]),
        {(FORWARDS, "create")},
    ),
    "listeners.port added": (added, {(f"listener {NAME}:8080", "delete")}),
    "listeners.protocol": (listener(SECURE, Protocol="HTTP"), {(SECURE, "protocol")}),
    "listeners.certificate_arn": (
        lambda elbv2, arns, more: elbv2.modify_listener(
            ListenerArn=arns[SECURE], Certificates=[{"CertificateArn": more["certificates"][1]}]
        ),
        {(SECURE, "certificate_arn")},
    ),
    "listeners.ssl_policy": (listener(SECURE, SslPolicy="ELBSecurityPolicy-2016-08"), {(SECURE, "ssl_policy")}),
    "listeners.redirect_to_https": (redirects(Port="8443"), {(REDIRECTS, "action")}),
    "listeners.redirect_to_https for now": (redirects(StatusCode="HTTP_302"), {(REDIRECTS, "action")}),
    "listeners.redirect_to_https elsewhere": (redirects(Host="example.com"), {(REDIRECTS, "action")}),
    "listeners.fixed_response.status_code": (answers(StatusCode="200"), {(ANSWERS, "action")}),
    "listeners.fixed_response.content_type": (answers(ContentType="text/plain"), {(ANSWERS, "action")}),
    "listeners.fixed_response.message_body": (answers(MessageBody="no"), {(ANSWERS, "action")}),
    "tags": (tag(BALANCER), {(BALANCER, "tags.more")}),
    "tags of the target group": (tag(GROUP), {(GROUP, "tags.more")}),
    "tags of a listener": (tag(FORWARDS, "remove_tags", TagKeys=["ManagedBy"]), {(FORWARDS, "tags.ManagedBy")}),
    "name": (
        lambda elbv2, arns, more: elbv2.delete_load_balancer(LoadBalancerArn=arns[BALANCER]),
        {(name, "create") for name in (BALANCER, FORWARDS, REDIRECTS, ANSWERS, SECURE)},
    ),
}
REFUSED = "AWS never changes it: another one is refused, in test_elbv2_load_balancer.py"
NO_FIELD = {
    "state": "says whether there is to be one at all",
    "wait_timeout": "how long this module waits",
    "scheme": REFUSED,
    **{f"target_group.{option}": REFUSED for option in ("port", "protocol", "vpc_id", "target_type")},
}


@pytest.fixture(scope="module")
def elbv2(sandbox):
    return sandbox.client("elbv2")


def arns_of(elbv2):
    [one] = elbv2.describe_load_balancers(Names=[NAME])["LoadBalancers"]
    arns = {BALANCER: one["LoadBalancerArn"]}
    arns[GROUP] = elbv2.describe_target_groups(Names=[NAME])["TargetGroups"][0]["TargetGroupArn"]
    for item in elbv2.describe_listeners(LoadBalancerArn=arns[BALANCER])["Listeners"]:
        arns[f"listener {NAME}:{item['Port']}"] = item["ListenerArn"]
    return arns


def plain(value, arns):
    """Without what is new whenever something is made: ARNs stand as what they are of; addresses and times go."""
    if isinstance(value, dict):
        fresh = ("DNSName", "CreatedTime")
        return {key: plain(item, arns) for key, item in value.items() if key not in fresh}
    if isinstance(value, list):
        return sorted((plain(item, arns) for item in value), key=repr)
    return arns.get(value, value) if isinstance(value, str) else value


def described(elbv2):
    found = elbv2.describe_load_balancers()["LoadBalancers"]
    if NAME not in [one["LoadBalancerName"] for one in found]:
        return None
    if NAME not in [one["TargetGroupName"] for one in elbv2.describe_target_groups()["TargetGroups"]]:
        return None
    arns = arns_of(elbv2)
    answers = (
        elbv2.describe_load_balancers(Names=[NAME])["LoadBalancers"],
        elbv2.describe_load_balancer_attributes(LoadBalancerArn=arns[BALANCER])["Attributes"],
        elbv2.describe_target_groups(Names=[NAME])["TargetGroups"],
        elbv2.describe_target_group_attributes(TargetGroupArn=arns[GROUP])["Attributes"],
        elbv2.describe_listeners(LoadBalancerArn=arns[BALANCER])["Listeners"],
        elbv2.describe_tags(ResourceArns=list(arns.values()))["TagDescriptions"],
    )
    return [plain(answer, {arn: name for name, arn in arns.items()}) for answer in answers]


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, elbv2, arguments, change, expected):
    asked = {key: value for key, value in arguments.items() if key != "more"}
    module(MODULE, asked)
    arns = arns_of(elbv2)
    drifts(module, MODULE, asked, lambda: described(elbv2), lambda: change(elbv2, arns, arguments["more"]), expected)


def test_every_option_has_a_case(arguments):
    asked = {key: value for key, value in arguments.items() if key != "more"}
    every_option_drifts(MODULE, CASES, NO_FIELD, asked)
