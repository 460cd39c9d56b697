"""The parts of a verification that decide without asking AWS."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import (
    verify,
    verify_capacity,
    verify_network,
    verify_tasks,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.ecs_cluster import strategy
from ansible_collections.nexus_learn.aws.plugins.module_utils.verify import (
    CHANGED,
    CREATED,
    FAILED,
    NOT_APPLICABLE,
    OK,
    UNKNOWN,
)
from botocore.exceptions import ClientError

# ---- what is planned ----


def stack(*changes, module="iam_roles", **args):
    fields = ("resource", "action", "path")
    planned = [dict(zip(fields, change, strict=True)) for change in changes]
    return verify.Stack([verify.Step("task", module, args, {"changes": planned})])


def test_what_site_yml_makes_or_mends_is_no_failure():
    made = stack(("log group a", "create", ""))
    assert made.pending("log group", "a", "log group a").status == CREATED
    assert made.pending("log group", "a", "log group b") is None
    mended = stack(("role a", "update", "assume_role_policy.Statement"), ("role a", "update", "tags.x"))
    found = mended.pending("role", "a", "role a", paths=["assume_role_policy"])
    assert (found.status, found.evidence) == (CHANGED, "site.yml puts it right: role a assume_role_policy.Statement.")
    assert mended.pending("role", "a", "role a", paths=["policies"]) is None


def test_a_check_that_is_not_allowed_to_read_stops_no_other():
    error = {"Error": {"Code": "AccessDenied", "Message": "not authorized to perform: ecr:BatchGetImage"}}

    def denied(aws, stack):
        raise ClientError(error, "BatchGetImage")

    def fine(aws, stack):
        yield verify.Finding("b", "x", FAILED, "it is not there.", "Set c.")

    assert [one.status for one in verify.run(None, stack(), {"a": denied})] == [UNKNOWN]
    foreseen = SimpleNamespace(services=["one"])
    found = verify.run(None, foreseen, {"a": denied, "b": fine})
    assert [one.status for one in found] == [UNKNOWN, FAILED]
    assert "The deployer's IAM policies do not allow ecr:BatchGetImage" in found[0].evidence
    assert verify.result(found)["failures"] == ["b: x: it is not there. Set c."]


# ---- images ----


@pytest.mark.parametrize(
    ("platforms", "architecture", "status"),
    [
        (["amd64"], "X86_64", OK),
        (["amd64"], "ARM64", FAILED),
        (["amd64", "arm64", "unknown"], "ARM64", OK),
        (None, "ARM64", OK),
    ],
)
def test_an_image_is_for_the_architecture_of_the_task(platforms, architecture, status):
    manifest = {} if platforms is None else {"manifests": [{"platform": {"architecture": one}} for one in platforms]}
    found = verify_tasks.image_finding("i", "sha256:0123456789", json.dumps(manifest), architecture, "app_image")
    assert found.status == status
    assert "unknown" not in found.evidence


# ---- trust policies ----

ACCOUNT, REGION = "123456789012", "us-east-1"


def trust(effect="Allow", service="ecs-tasks.amazonaws.com", action="sts:AssumeRole", **conditions):
    return {"Effect": effect, "Principal": {"Service": service}, "Action": action, "Condition": conditions}


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        ([trust()], ""),
        ([trust(StringEquals={"aws:SourceAccount": ACCOUNT})], ""),
        ([trust(ArnLike={"aws:SourceArn": f"arn:*:ecs:{REGION}:{ACCOUNT}:*"})], ""),
        ([trust(service=["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"], action=["sts:*"])], ""),
        ([trust(service="ecs.amazonaws.com")], "does not let"),
        ([trust(action="sts:TagSession")], "does not let"),
        ([trust(StringEquals={"aws:SourceAccount": "999999999999"})], "condition that is not met"),
        ([trust(ArnLike={"aws:SourceArn": f"arn:aws:ecs:eu-west-1:{ACCOUNT}:*"})], "condition that is not met"),
        ([trust(StringNotEquals={"aws:SourceAccount": "999999999999"})], "condition that is not met"),
        ([trust(), trust("Deny", StringEquals={"aws:SourceAccount": ACCOUNT})], "denies"),
        ([trust(), trust("Deny", StringEquals={"aws:SourceAccount": "999999999999"})], ""),
        ([], "does not let"),
    ],
)
def test_ecs_may_assume_a_role(statements, problem):
    found = verify_tasks.trust_problem({"Statement": statements}, ACCOUNT, REGION, "aws")
    assert problem in found
    assert bool(problem) == bool(found)


# ---- secrets ----


@pytest.mark.parametrize(
    ("text", "problem"),
    [('{"a": "hush"}', ""), ('{"b": "hush"}', "no key a"), ("hush", "no JSON object"), ('["hush"]', "no JSON object")],
)
def test_a_json_key_of_a_secret_and_never_its_value(text, problem):
    found = verify_tasks.json_key_problem(text, "a")
    assert problem in found
    assert bool(problem) == bool(found)
    assert "hush" not in found


def simulated(decision, **details):
    one = {"EvalResourceName": "arn:x", "EvalResourceDecision": decision, **details}
    return {"EvalActionName": "s:Get", "EvalDecision": decision, "ResourceSpecificResults": [one]}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (simulated("implicitDeny"), "no policy allows s:Get on arn:x."),
        (simulated("explicitDeny"), "a policy denies s:Get on arn:x."),
        (
            simulated("implicitDeny", PermissionsBoundaryDecisionDetail={"AllowedByPermissionsBoundary": False}),
            "its permissions boundary does not allow s:Get on arn:x.",
        ),
        ({"EvalActionName": "s:Get", "EvalDecision": "implicitDeny"}, "no policy allows s:Get on *."),
    ],
)
def test_why_a_role_may_not(result, words):
    good = simulated("allowed")
    assert verify_tasks.simulation_finding("r", [good]).status == OK
    found = verify_tasks.simulation_finding("r", [good, result])
    assert (found.status, found.evidence) == (FAILED, words)


# ---- shutdown ----


@pytest.mark.parametrize(
    ("stop", "environment", "status", "words"),
    [
        (30, {}, OK, "30 s from SIGTERM"),
        (121, {}, FAILED, "Fargate allows 2 to 120"),
        (1, {}, FAILED, "Fargate allows 2 to 120"),
        (120, {"STOP_TIMEOUT": "120"}, OK, "105 of 120 s"),
        (60, {"STOP_TIMEOUT": "120"}, FAILED, "ECS kills it after 60 s"),
        (15, {"STOP_TIMEOUT": "15"}, FAILED, "the last 15 s are for handing tasks back"),
        (120, {"STOP_TIMEOUT": "soon"}, FAILED, "STOP_TIMEOUT is no number"),
        (
            120,
            {"STOP_TIMEOUT": "120", "LANGGRAPH_TIME_LIMIT": "900"},
            OK,
            "900 s, and a lost one comes back after 1125 s",
        ),
        (120, {"STOP_TIMEOUT": "120", "EMBEDDINGS_TIME_LIMIT": "0"}, FAILED, "EMBEDDINGS_TIME_LIMIT is no number"),
    ],
)
def test_a_worker_is_given_the_time_it_takes_to_stop(stop, environment, status, words):
    container = {"stop_timeout": stop, "environment": environment}
    found = verify_tasks.shutdown_finding("service", "worker", container, "ecs_celery_worker")
    assert found.status == status
    assert words in found.evidence


# ---- ways out ----

NAT = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "active"}
IGW = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}
TGW = {"DestinationCidrBlock": "0.0.0.0/0", "TransitGatewayId": "tgw-1", "State": "active"}
HOLE = {**NAT, "State": "blackhole"}
OPEN = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
NEEDS = ["ecr.api", "ecr.dkr", "s3", "secretsmanager", "logs"]


def endpoints(*names, **fields):
    return [
        {
            "ServiceName": f"com.amazonaws.{REGION}.{name}", "State": "available",
            **({"VpcEndpointType": "Gateway", "RouteTableIds": ["rtb-1"]} if name == "s3" else
               {"VpcEndpointType": "Interface", "PrivateDnsEnabled": True, "Groups": [{"GroupId": "sg-e"}]}),
            **fields,
        }
        for name in names
    ]  # fmt: skip


def facts(route=None, endpoints=(), state="available", permissions=(OPEN,), main=False):
    association = {"Main": True} if main else {"SubnetId": "subnet-1"}
    table = {"RouteTableId": "rtb-1", "Associations": [association], "Routes": [route] if route else []}
    return verify_network.Facts(
        {"subnet-1": {"CidrBlock": "10.0.64.0/20"}},
        [table],
        {"nat-1": {"State": state}},
        list(endpoints),
        {"sg-e": {"IpPermissions": list(permissions)}},
    )


def way(facts, public=False, needs=NEEDS):
    wanted = {"subnets": ["subnet-1"], "security_groups": ["sg-task"], "assign_public_ip": public}
    service = SimpleNamespace(name="service", wanted=wanted)
    return verify_network.way_out_finding(service, needs, facts, REGION, "mend")


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (way(facts(NAT)), OK, "goes by NAT gateway nat-1"),
        (way(facts(NAT, main=True)), OK, "goes by NAT gateway nat-1"),
        (way(facts(NAT, state="failed")), FAILED, "nat-1, which is failed"),
        (way(facts(HOLE)), FAILED, "leads nowhere (rtb-1)"),
        (way(facts(IGW)), FAILED, "for which tasks would need public addresses"),
        (way(facts(IGW), public=True), OK, "goes by igw-1"),
        (way(facts(TGW)), UNKNOWN, "goes by tgw-1"),
        (way(facts()), FAILED, "no VPC endpoint that tasks reach for ecr.api, ecr.dkr, s3, secretsmanager, logs"),
        (way(facts(endpoints=endpoints(*NEEDS))), OK, "has endpoints for ecr.api"),
        (way(facts(endpoints=endpoints(*NEEDS[1:]))), FAILED, "reach for ecr.api."),
        (way(facts(endpoints=endpoints(*NEEDS, State="pending"))), FAILED, "reach for ecr.api"),
        (
            way(facts(endpoints=endpoints(*NEEDS, PrivateDnsEnabled=False))),
            FAILED,
            "for ecr.api, ecr.dkr, secretsmanager",
        ),
        (way(facts(endpoints=endpoints(*NEEDS, RouteTableIds=["rtb-2"]))), FAILED, "reach for s3."),
        (
            way(facts(endpoints=endpoints(*NEEDS), permissions=())),
            FAILED,
            "for ecr.api, ecr.dkr, secretsmanager, logs.",
        ),
        (way(facts(endpoints=endpoints(*NEEDS)), needs=["*", "logs"]), FAILED, "reach for the image's registry."),
    ],
)
def test_where_a_subnet_leads(found, status, words):
    assert found.status == status, found
    assert words in found.evidence


def test_an_endpoint_lets_a_security_group_in_or_not():
    def group(name):
        return {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": name}]}

    everything = endpoints(*NEEDS)
    assert way(facts(endpoints=everything, permissions=[group("sg-task")])).status == OK
    assert way(facts(endpoints=everything, permissions=[group("sg-other")])).status == FAILED


# ---- security groups ----


def groups(ingress=6379, source="worker", egress=None):
    rule = {"protocol": "tcp", "from_port": ingress, "to_port": ingress, "source_security_groups": [source]}
    return {
        "security_groups": [
            {"name": "worker", "ingress": [], "egress": egress},
            {"name": "other", "ingress": [], "egress": []},
            {"name": "redis", "ingress": [rule], "egress": []},
        ]
    }


ONLY_HTTPS = [{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["0.0.0.0/0"]}]


@pytest.mark.parametrize(
    ("params", "status", "words"),
    [
        (groups(), OK, "redis lets worker in on 6379"),
        (groups(ingress=6380), FAILED, "redis does not let worker in on port 6379"),
        (groups(source="other"), FAILED, "redis does not let worker in on port 6379"),
        (groups(egress=ONLY_HTTPS), FAILED, "worker lets nothing out on port 6379"),
    ],
)
def test_the_way_to_redis(params, status, words):
    found = verify_network.redis_finding("service", params, ["worker"], ["redis"], 6379)
    assert found.status == status
    assert words in found.evidence


@pytest.mark.parametrize(("egress", "status"), [(None, OK), (ONLY_HTTPS, OK), ([], FAILED)])
def test_https_out(egress, status):
    assert verify_network.egress_finding("service", groups(egress=egress), ["worker"]).status == status


# ---- Redis ----


@pytest.mark.parametrize(
    ("there", "status", "words"),
    [
        ({"Status": "available", "ClusterEnabled": False}, OK, "available"),
        ({"Status": "snapshotting"}, OK, "snapshotting"),
        ({"Status": "deleting"}, FAILED, "it is deleting"),
        ({"Status": "available", "ClusterEnabled": True}, FAILED, "cluster mode is on"),
    ],
)
def test_redis_is_there_and_not_in_cluster_mode(there, status, words):
    found = verify_network.group_finding("redis", there)
    assert found.status == status
    assert words in found.evidence


@pytest.mark.parametrize(("policy", "status"), [("noeviction", OK), ("allkeys-lru", FAILED), ("", FAILED)])
def test_redis_evicts_nothing(policy, status):
    assert verify_network.eviction_finding("redis", "parameters", policy).status == status


# ---- room ----


def service(desired, running, percent=200, cpu="1024", **providers):
    given = [{"capacity_provider": name, "weight": weight} for name, weight in (providers or {"FARGATE": 1}).items()]
    return SimpleNamespace(
        name="service",
        there={"desired_count": desired, "running_count": running},
        wanted={"maximum_percent": percent},
        task={"cpu": cpu},
        capacity=strategy(given),
    )


@pytest.mark.parametrize(
    ("given", "before", "created", "peak", "vcpu"),
    [
        (service(2, 2), None, False, 4, 4),
        (service(2, 2, cpu="2048"), "1024", False, 4, 6),  # two old beside two new
        (service(3, 3, percent=150), None, False, 4, 4),  # rounded down
        (service(1, 1, percent=100), None, False, 1, 1),  # the old one first
        (service(1, 1, percent=100, cpu="256"), "1024", False, 1, 1),
        (service(5, 0), None, True, 5, 5),
        (service(2, 0), None, False, 4, 4),  # a deployment of what does not run
        (service(0, 0), None, False, 0, 0),
    ],
)
def test_the_widest_moment_of_a_deployment(given, before, created, peak, vcpu):
    found = verify_capacity.demand(given, before, created)
    assert (found.peak, found.peak_vcpu) == (peak, vcpu)


def test_fargate_and_fargate_spot_have_quotas_of_their_own():
    given = service(4, 4, FARGATE=1, FARGATE_SPOT=3)
    assert verify_capacity.demand(given, None, False).spot == 0.75


@pytest.mark.parametrize(
    ("needed", "ours", "used", "status", "words"),
    [
        (6.0, 3.0, None, OK, "what else the account runs is not known"),
        (6.5, 3.0, None, FAILED, "6 are allowed"),
        (6.0, 3.0, 3.0, OK, "0 are of others"),
        (6.0, 3.0, 3.5, FAILED, "0.5 are of others"),
        (6.0, 3.0, 2.0, OK, "0 are of others"),  # a value from before the last scaling
    ],
)
def test_room_in_a_quota(needed, ours, used, status, words):
    found = verify_capacity.quota_finding("FARGATE", "L-1", needed, ours, 6.0, used)
    assert found.status == status
    assert words in found.evidence
    assert ("--quota-code L-1 --desired-value 7" in found.mend) == (status == FAILED)


@pytest.mark.parametrize(
    ("subnets", "more", "status"),
    [
        (["a", "b"], 7, OK),
        (["a", "b"], 8, FAILED),
        (["a", "c"], 1, UNKNOWN),
        (["(known after apply: subnet a)"], 1, CREATED),
    ],
)
def test_free_addresses(subnets, more, status):
    assert verify_capacity.address_finding(subnets, {"a": 3, "b": 4}, more).status == status


def test_a_stack_without_spot_and_alarms_says_that_it_has_none():
    nothing = stack()
    found = [*verify_capacity.quotas(None, nothing), *verify_tasks.alarms(None, nothing)]
    assert {one.status for one in found} == {NOT_APPLICABLE}
