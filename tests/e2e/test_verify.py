"""verify.yml on an empty account, on stacks that are as they should be, and on one in which one thing after another is
not; each finding stands alone."""

from __future__ import annotations

import json
import re

import pytest
from steps import writes

VERIFY = ("playbooks/verify.yml", "-i", "inventories/dev")
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
IMAGE = f"{REGISTRY}/nexus-learn-worker:1"
TASKS = ["backend", "celery-worker", "celery-beat"]


def lines(run) -> list[tuple[str, str, str]]:
    """(status, check, subject and evidence) of each line."""
    status = "ok|failed|unknown|not applicable|to be created|to be changed"
    return re.findall(rf"^    ({status}) +([^:]+): (.*)$", run.output, re.MULTILINE)


def of(run, status: str) -> list[str]:
    return [f"{check}: {text}" for found, check, text in lines(run) if found == status]


class Verifier:
    """Runs of verify.yml on the deployed stack, with the variables that it was deployed with."""

    def __init__(self, console):
        self.console, self.client = console, console.sandbox.client
        ecr = self.client("ecr")
        tags = {"Project": "nexus-learn", "Environment": "dev", "Region": "us-east-1"}
        ecr.create_repository(
            repositoryName="nexus-learn-worker", tags=[{"Key": key, "Value": value} for key, value in tags.items()]
        )
        for tag, platforms in (("1", ["amd64", "arm64"]), ("arm", ["arm64"])):
            kind = "application/vnd.oci.image.index.v1+json"
            manifest = {"mediaType": kind, "manifests": [{"platform": {"architecture": one}} for one in platforms]}
            ecr.put_image(repositoryName="nexus-learn-worker", imageManifest=json.dumps(manifest), imageTag=tag)
        self.secret = self.client("secretsmanager").create_secret(
            Name="nexus-learn/model", SecretString='{"api_key": "hush-hush"}'
        )["ARN"]
        self.given = {
            "app_image": IMAGE,
            "ecs_celery_worker_secrets": {"OPENAI_API_KEY": f"{self.secret}:api_key::"},
        }

    def __call__(self, succeeds: bool = False, **variables):
        run = self.console.playbook(*VERIFY, "-e", json.dumps(self.given | variables), succeeds=succeeds)
        assert writes(run.step) == []
        assert "hush" not in run.output
        for failure in of(run, "failed"):
            assert failure in run.text.partition("Before the next deployment:")[2], "all failures are told at the end"
        return run

    def failures(self, **variables) -> list[str]:
        return of(self(**variables), "failed")


def test_an_empty_account_lacks_only_what_site_yml_makes(console):
    run = console.playbook(*VERIFY)
    assert of(run, "failed") == of(run, "unknown") == of(run, "to be changed") == []
    made = {line.partition(":")[0] for line in of(run, "to be created")}
    assert made == {
        "role",
        "secret",
        "execution role",
        "log group",
        "way out",
        "egress",
        "way to Redis",
        "addresses",
        "Redis",
    }
    (image, *_) = of(run, "not applicable")
    assert image.startswith("image: nexus-learn-worker:latest: no image of ECR; a local AWS pulls nothing.")
    assert writes(run.step) == []


def test_what_site_yml_would_refuse_is_told_and_the_rest_is_unknown(console):
    iam = console.sandbox.client("iam")
    iam.create_role(RoleName="nexus-learn-backend-task", AssumeRolePolicyDocument="{}")
    run = console.playbook(*VERIFY, succeeds=False)
    iam.delete_role(RoleName="nexus-learn-backend-task")
    (failed,) = of(run, "failed")
    assert "IAM role nexus-learn-backend-task exists and belongs to somebody else" in failed
    assert failed.endswith("What comes after it could not be checked.")
    assert {line.partition(": ")[2] for line in of(run, "unknown")} == {"all: no service could be foreseen."}


@pytest.fixture(scope="module")
def verify(console) -> Verifier:
    """The dev stack, its image in ECR, and a secret of the inventory's."""
    verifier = Verifier(console)
    console.playbook("site.yml", "-i", "inventories/dev", "-e", json.dumps(verifier.given))
    return verifier


def test_a_good_stack_passes(verify):
    run = verify(succeeds=True)
    assert {status for status, _, _ in lines(run)} == {"ok", "not applicable"}
    assert of(run, "not applicable") == [
        "quota: vCPUs of FARGATE_SPOT: nothing of this stack runs there.",
        "deployment alarms: all services: none are configured.",
    ]
    (image,) = (line for line in of(run, "ok") if line.startswith("image: "))
    assert re.match(rf"image: {IMAGE}: it is sha256:[0-9a-f]+, .*; built for amd64, arm64\.", image)
    allowed = [line for line in of(run, "ok") if line.startswith("execution role: nexus-learn-celery-worker-execution")]
    for action in ("secretsmanager:GetSecretValue", "ecr:BatchGetImage", "logs:PutLogEvents"):
        assert action in allowed[0]


def test_images(verify):
    found = verify.failures(
        ecs_backend_image=f"{REGISTRY}/nexus-learn-worker:2",
        app_image=f"{REGISTRY}/nexus-learn-worker:arm",
        ecs_celery_beat_image=f"{REGISTRY}/gone:1",
    )
    assert found == [
        f"image: {REGISTRY}/nexus-learn-worker:2: ECR does not have it in nexus-learn-worker. "
        "Push it, or set app_image to one that is there.",
        f"image: {REGISTRY}/nexus-learn-worker:arm: it is built for arm64, and the task definition asks for X86_64. "
        "Build it for linux/amd64, or set app_image or ecs_celery_worker_cpu_architecture.",
        f"image: {REGISTRY}/gone:1: ECR has no repository gone. Push it, or set app_image to one that is there.",
    ]


def test_an_image_whose_repository_is_still_to_be_made(verify):
    image = f"{REGISTRY}/nexus-learn-new:1"
    assert verify.failures(app_image=image, image_repository="nexus-learn-new") == [
        f"image: {image}: ECR has no repository nexus-learn-new. playbooks/image.yml makes it, and pushes the image."
    ]


def test_secrets(verify):
    manager = verify.client("secretsmanager")
    plain, deleted = (manager.create_secret(Name=f"nexus-learn/{name}", SecretString="x")["ARN"] for name in "pd")
    manager.delete_secret(SecretId=deleted, RecoveryWindowInDays=7)
    secrets = {"A": f"{verify.secret}:token::", "B": f"{plain}:key::", "C": deleted, "D": deleted.replace("/d-", "/e-")}
    found = verify.failures(ecs_celery_worker_secrets=secrets)
    assert [re.sub(r"-\w{6}(?= key|: )", "", line) for line in found] == [
        "secret: nexus-learn/model key token: its value has no key token. "
        "Write it into the secret, or mend ecs_celery_worker_secrets.",
        "secret: nexus-learn/p key key: its value is no JSON object, and so has no key key. "
        "Write it into the secret, or mend ecs_celery_worker_secrets.",
        "secret: nexus-learn/d: it is scheduled for deletion. "
        "Restore it: aws secretsmanager restore-secret --secret-id nexus-learn/d",
        "secret: nexus-learn/e: Secrets Manager does not have it. Make it, or mend ecs_celery_worker_secrets.",
    ]


def test_an_execution_role_that_may_not_read(verify):
    iam, name = verify.client("iam"), "nexus-learn-celery-worker-execution"
    deny = {"Effect": "Deny", "Action": "secretsmanager:GetSecretValue", "Resource": verify.secret}
    document = json.dumps({"Version": "2012-10-17", "Statement": deny})
    policy = iam.create_policy(PolicyName="deny", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    assert verify.failures() == [
        f"execution role: {name}: a policy denies secretsmanager:GetSecretValue on {verify.secret}. "
        f"Look at what is attached to it: aws iam list-attached-role-policies --role-name {name}"
    ]
    iam.detach_role_policy(RoleName=name, PolicyArn=policy)


def test_deployment_alarms(verify):
    cloudwatch = verify.client("cloudwatch")
    for name in ("rings", "calm"):
        cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace="x", MetricName="x", Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
        )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName="rings", StateValue="ALARM", StateReason="test")
    run = verify(ecs_backend_deployment_alarms=["rings", "calm", "gone"])
    assert of(run, "failed") == [
        "deployment alarm: rings: it is in ALARM, so it would not stop a deployment. "
        """Wait until it is OK, or deploy without it: -e '{"ecs_backend_deployment_alarms": []}'""",
        "deployment alarm: gone: CloudWatch does not have it. Make it, or take it from ecs_backend_deployment_alarms.",
    ]
    assert "deployment alarm: calm: it is INSUFFICIENT_DATA." in of(run, "ok")


def test_quotas_shutdown_and_the_port_of_redis(verify):
    """Three variables at once: they meet in no check."""
    found = verify.failures(
        ecs_backend_desired_count=100,
        ecs_celery_worker_environment={"STOP_TIMEOUT": "300"},
        network_redis_port=6380,
    )
    assert [re.sub(r" (Lower|Leave) .*", "", line) for line in found] == [
        *(
            f"way to Redis: nexus-learn-{name}-service: nexus-learn-redis does not let nexus-learn-{name} in on port "
            "6379, where Redis listens."
            for name in TASKS
        ),
        # 200 backends of half a vCPU, 4 workers of one, and beat
        "quota: vCPUs of FARGATE: 3.25 run, a deployment of everything comes to 104.25, "
        "what else the account runs is not known, and 64 are allowed.",
        "shutdown: nexus-learn-celery-worker-service celery-worker: the worker is told 300 s (STOP_TIMEOUT), and ECS "
        "kills it after 120 s: tasks that it has not handed back by then wait for the visibility timeout.",
    ]


def test_a_log_group_that_nobody_makes(verify):
    name = "/ecs/nexus-learn/celery-beat"
    managed = [f"/ecs/nexus-learn/{one}" for one in ("backend", "celery-worker")]
    verify.client("logs").delete_log_group(logGroupName=name)
    assert verify.failures(observability_log_groups=managed) == [
        f"log group: {name}: it is not there, and site.yml does not make it. Add it to observability_log_groups."
    ]


def test_what_others_have_changed_and_site_yml_puts_right_is_no_failure(verify):
    """The log group is still away."""
    client, role = verify.client, "nexus-learn-celery-beat-execution"
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    client("iam").update_assume_role_policy(RoleName=role, PolicyDocument=document)
    ec2 = client("ec2")
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["nexus-learn-redis"]}])
    (redis,) = groups["SecurityGroups"]
    ec2.revoke_security_group_ingress(GroupId=redis["GroupId"], IpPermissions=redis["IpPermissions"])
    parameter = {"ParameterName": "maxmemory-policy", "ParameterValue": "allkeys-lru"}
    client("elasticache").modify_cache_parameter_group(
        CacheParameterGroupName="nexus-learn-redis7", ParameterNameValues=[parameter]
    )
    run = verify(succeeds=True)
    assert of(run, "to be created") == ["log group: /ecs/nexus-learn/celery-beat: site.yml makes it."]
    changed = of(run, "to be changed")
    assert [line.partition(": site.yml")[0] for line in changed] == [
        f"role: {role}",
        f"execution role: {role}",
        *(f"way to Redis: nexus-learn-{name}-service" for name in TASKS),
        "eviction: nexus-learn-redis",
    ]
    assert "IAM role nexus-learn-celery-beat-execution assume_role_policy" in changed[0]


def test_a_given_vpc_without_a_way_out_and_with_few_addresses(verify):
    """Of a stack that is not there yet; meanwhile its other parts are to be created."""
    ec2 = verify.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/24")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)

    def subnet(number: int, zone: str) -> str:
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.0.{16 * number}/28", AvailabilityZone=f"us-east-1{zone}")
        return made["Subnet"]["SubnetId"]

    public, private, database = ([subnet(2 * tier + n, zone) for n, zone in enumerate("ab")] for tier in range(3))
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    for one in (*public, private[1]):
        ec2.associate_route_table(RouteTableId=table, SubnetId=one)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    given = {
        "name_prefix": "given",
        "network_vpc_id": vpc,
        "network_public_subnet_ids": public,
        "network_private_subnet_ids": private,
        "network_database_subnet_ids": database,
        "ecs_backend_desired_count": 30,
    }
    run = verify(**given)
    mend = "Have the network's owner open a way, or set network_private_subnet_ids to subnets that have one."
    assert of(run, "failed") == [
        *(
            f"way out: given-{name}-service: {private[0]} has no default route, and has no VPC endpoint that tasks "
            f"reach for ecr.api, ecr.dkr, s3, secretsmanager, logs. {mend}"
            for name in TASKS
        ),
        f"addresses: {', '.join(sorted(private))}: 22 are free, and a deployment of everything takes 33 more. "
        "Lower the counts, or give more or larger subnets (network_private_subnet_ids, or network_cidr_block).",
    ]
