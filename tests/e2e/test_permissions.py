"""site.yml, diagnose.yml and destroy.yml as the deployer of policies/, with IAM enforced; and without some of them.

pytest tests/e2e/test_permissions.py --all-statements    every statement by a run of its own (about half an hour)
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from conftest import Console

from sandbox.iam.evaluate import Request, applies

ROOT = Path(__file__).resolve().parents[2]
DEV = ("-i", "inventories/dev")
POLICIES = sorted(ROOT.glob("policies/deployer-*.json"))
STATEMENTS = {
    one["Sid"]: one
    for path in POLICIES
    if path.stem != "deployer-identity"  # the runs are with a permissions boundary
    for one in json.loads(path.read_text())["Statement"]
}
BOUNDARY = "arn:aws:iam::123456789012:policy/tasks"
ONLY_TO_VERIFY = {"EcrReadNamed", "ServiceQuotasRead"}
"""Without them playbooks/verify.yml does not fail: it says what it does not know."""
IN_NO_RUN = {"EcrRead", "ElastiCacheRestore"}
"""For playbooks/image.yml, which needs a builder (test_without_its_token_no_image_is_pushed), and for a Redis that is
made from a snapshot (`destroyed` tries it, for test_each_statement_is_needed)."""
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker:1"


class Deployer:
    """A user with the rendered policies, and the runs of a stack that uses what the inventory offers."""

    def __init__(self, console, folder: Path):
        self.console, self.folder = console, folder
        console.playbook(
            "playbooks/deployer_policy.yml", *DEV, "-e", "account_id=123456789012", "-e", f"folder={folder}",
            "-e", f"permissions_boundary_arn={BOUNDARY}", "-e", f"app_image={IMAGE}",
        )  # fmt: skip
        self.documents = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
        self.hire()

    def hire(self) -> None:
        """Make the user, and what the stack is given: a boundary, a KMS key, a namespace and a certificate."""
        client = self.console.sandbox.client
        actions = ["logs:*", "secretsmanager:*", "kms:*", "ecr:*", "ecs:UpdateTaskProtection"]
        tasks = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [tasks]})
        client("iam").create_policy(PolicyName=BOUNDARY.rpartition("/")[2], PolicyDocument=document)
        client("iam").create_user(UserName="deployer")
        for name, document in self.documents.items():
            made = client("iam").create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]
            client("iam").attach_user_policy(UserName="deployer", PolicyArn=made["Arn"])
        key = client("iam").create_access_key(UserName="deployer")["AccessKey"]
        self.console.env |= {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        kms = client("kms")
        kms.create_alias(AliasName="alias/stack", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
        self.key = kms.describe_key(KeyId="alias/stack")["KeyMetadata"]["Arn"]
        client("servicediscovery").create_http_namespace(Name="stack")
        self.certificate = client("acm").request_certificate(DomainName="api.example.com")["CertificateArn"]

    def push(self) -> None:
        """The image, which the stack's repository has to be there for."""
        self.console.sandbox.client("ecr").put_image(
            repositoryName="nexus-learn-worker",
            imageManifest=json.dumps({"mediaType": "application/vnd.oci.image.manifest.v1+json"}),
            imageTag="1",
        )

    def without(self, sid: str) -> None:
        """Take one statement away from the user; "" gives all of them back."""
        iam = self.console.sandbox.client("iam")
        for name, document in self.documents.items():
            arn = f"arn:aws:iam::123456789012:policy/{name}"
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            left = [one for one in document["Statement"] if one["Sid"] != sid]
            iam.create_policy_version(
                PolicyArn=arn, PolicyDocument=json.dumps({**document, "Statement": left}), SetAsDefault=True
            )

    @property
    def created(self) -> dict:
        """Variables of the first run."""
        return {
            "app_image": IMAGE,
            "permissions_boundary_arn": BOUNDARY,
            "elasticache_kms_key_id": "alias/stack",
            "observability_kms_key_id": self.key,
            "deployment_kms_key_id": self.key,
            "ecr_repository_kms_key_id": self.key,
            "ecs_cluster_service_connect_namespace": "stack",
            "celery_services": [
                {"name": f"celery-{queue}", "queues": [queue], "desired_count": 1}
                for queue in ("langgraph", "embeddings")
            ],
        }

    @property
    def changed(self) -> dict:
        """Variables of the second."""
        return self.created | {
            "celery_cpu": 512,
            "celery_memory": 1024,
            "celery_max_count": 6,
            "redis_num_nodes": 2,
            "observability_log_retention_days": 14,
            "ecr_repository_keep_images": 50,
            "network_vpc_endpoints": ["s3", "logs"],
            "ecs_backend_certificate_arn": self.certificate,
            "elasticache_log_types": ["slow-log"],
            "elasticache_user_name": "celery",
            "elasticache_users": [
                {"id": "stack-default", "name": "default", "access_string": "off -@all"},
                {"id": "stack-celery", "name": "celery", "access_string": "on ~* &* +@all"},
            ],
        }

    def runs(self):
        """(arguments of ansible-playbook) to create, change, look after and destroy the stack, one after the other."""
        yield ("site.yml", *DEV, "-e", json.dumps(self.created))
        yield ("site.yml", *DEV, "-e", json.dumps(self.changed))
        yield ("playbooks/diagnose.yml", *DEV, "-e", json.dumps(self.changed))
        yield from self.verbs()
        yield self.destroy

    confirmed = (
        "stack=nexus-learn",
        "delete_redis=nexus-learn-redis",
        "delete_bucket=nexus-learn-deployment",
        "delete_repository=nexus-learn-worker",
    )
    destroy = (
        "playbooks/destroy.yml",
        *DEV,
        *(
            word
            for one in (*confirmed, "deployment_bucket_delete=true", "ecr_repository_delete=true")
            for word in ("-e", one)
        ),
    )

    def verbs(self):
        """Of the services, between change and destroy."""
        changed = (*DEV, "-e", json.dumps(self.changed))
        service = ("-e", "service=celery-langgraph")
        yield ("playbooks/status.yml", *changed)
        yield ("playbooks/logs.yml", *changed)
        yield ("playbooks/scale.yml", *changed, *service, "-e", "count=7", "-e", "move_limits=true")
        yield ("playbooks/scale.yml", *changed, *service, "-e", "count=1")
        yield ("playbooks/run.yml", *changed, "-e", json.dumps({"command": ["echo", "x"], "image": "busybox"}))
        yield ("playbooks/restart.yml", *changed, *service)
        yield ("playbooks/rollback.yml", *changed, *service)
        self.hang("nexus-learn-celery-langgraph-service")
        yield ("playbooks/rollback.yml", *changed, *service)

    def hang(self, service: str) -> None:
        """Somebody deploys what never becomes healthy."""
        ecs = self.console.sandbox.client("ecs")
        place = {"cluster": "nexus-learn-cluster"}
        (there,) = ecs.describe_services(**place, services=[service])["services"]
        definition = ecs.describe_task_definition(taskDefinition=there["taskDefinition"])["taskDefinition"]
        check = {"command": ["CMD", "false"], "startPeriod": 300, "interval": 300}
        known = ecs.meta.service_model.operation_model("RegisterTaskDefinition").input_shape.members
        given = {key: definition[key] for key in known if key in definition}
        given["containerDefinitions"] = [{**one, "healthCheck": check} for one in given["containerDefinitions"]]
        arn = ecs.register_task_definition(**given)["taskDefinition"]["taskDefinitionArn"]
        ecs.update_service(**place, service=service, taskDefinition=arn)

    def client(self, service: str):
        """One of the deployer's own, for a call that no run makes."""
        return boto3.client(
            service, "us-east-1", endpoint_url=self.console.sandbox.endpoint,
            aws_access_key_id=self.console.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.console.env["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip

    def decided(self) -> list[tuple[Request, str | None]]:
        """Every question that was put to IAM for the deployer, with why it was denied."""
        with urllib.request.urlopen(f"{self.console.sandbox.endpoint}/_sandbox/authorizations") as answer:
            found = json.load(answer)
        return [
            (Request(one["action"], one["resource"], one["context"]), one["denied"])
            for one in found
            if one["principal"].endswith(":user/deployer")
        ]


@pytest.fixture(scope="module")
def deployer(start_sandbox, tmp_path_factory) -> Deployer:
    sandbox = start_sandbox(1.0, "--enforce-iam")
    console = Console(sandbox, tmp_path_factory.mktemp("console") / "steps")
    return Deployer(console, tmp_path_factory.mktemp("policies"))


def missing(run, sid: str) -> str:
    """The action that the failed run says is missing; it is one of the statement's."""
    found = re.search(r"IAM policies do not allow ([\w-]+:\w+): .*is not authorized to perform: \1 ", run.text)
    assert found, run.output
    assert found.group(1) in STATEMENTS[sid]["Action"]
    return found.group(1)


def test_the_policies_are_what_the_generator_writes():
    check = subprocess.run(
        [sys.executable, "scripts/deployer_policy.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout


def test_the_policies_fit_into_iam():
    """6,144 characters without white space in each of at most 10, also with the longest names there may be."""
    long = {
        "partition": "aws-us-gov",
        "aws_region": "ap-southeast-2",
        "account_id": "1" * 12,
        "name_prefix": "n" * 28,  # ElastiCache allows 40 characters, of which ours takes 12
        "project_name": "p" * 28,
        "environment_name": "production",
        "app_repository": "r" * 64,
        "app_account": "1" * 12,
        "managed_repository": "r" * 64,
        "permissions_boundary_arn": f"arn:aws-us-gov:iam::{'1' * 12}:policy/{'b' * 128}",
    }
    assert len(POLICIES) <= 10
    for path in POLICIES:
        text = json.dumps(json.loads(path.read_text()), separators=(",", ":"))
        filled = re.sub(r"\{\{ (\w+) \}\}", lambda found: long[found.group(1)], text)
        assert len(filled) <= 6144, path.name
        assert "{{" not in filled


def test_no_statement_is_without_limits():
    for sid, one in STATEMENTS.items():
        assert not any("*" in action for action in one["Action"]), sid
        assert one["Resource"] != ["*"] or "Condition" in one, sid
    passing = STATEMENTS["PassRolesToTasks"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert all(re.search(r":role/\{\{ name_prefix \}\}-[a-z-]+-(task|execution)$", arn) for arn in passing["Resource"])


@pytest.fixture(scope="module")
def refused(deployer) -> list[str]:
    """Actions that an empty account's first run says are missing, each after one statement was taken away."""
    found = []
    for sid in ("Ec2Read", "Ec2TagNew"):
        deployer.without(sid)
        found.append(missing(deployer.console.playbook("site.yml", *DEV, succeeds=False), sid))
    deployer.without("")
    return found


def test_without_a_statement_the_first_run_fails_and_names_the_action(refused):
    assert refused[0].startswith("ec2:Describe")
    assert refused[1] == "ec2:CreateTags"


@pytest.fixture(scope="module")
def deployed(deployer, refused) -> Deployer:
    """Created and changed; meanwhile somebody took a role's boundary away, which the second run puts back."""
    create, change, diagnose = itertools.islice(deployer.runs(), 3)
    deployer.console.playbook(*create)
    deployer.push()
    deployer.console.sandbox.client("iam").delete_role_permissions_boundary(RoleName=ROLE)
    deployer.console.playbook(*change)
    deployer.console.playbook(*diagnose)
    deployer.verified = deployer.console.playbook("playbooks/verify.yml", *DEV, "-e", json.dumps(deployer.changed))
    return deployer


ROLE = "nexus-learn-backend-task"
GRANT = {
    "PolicyName": "more",
    "PolicyDocument": json.dumps(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    ),
}
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
)


def test_a_role_without_the_boundary_is_given_nothing(deployed):
    root, iam = deployed.console.sandbox.client("iam"), deployed.client("iam")
    assert root.get_role(RoleName=ROLE)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY
    iam.put_role_policy(RoleName=ROLE, **GRANT)
    iam.delete_role_policy(RoleName=ROLE, PolicyName="more")
    with pytest.raises(ClientError, match="iam:DeleteRolePermissionsBoundary"):
        iam.delete_role_permissions_boundary(RoleName=ROLE)
    wider = "arn:aws:iam::aws:policy/AdministratorAccess"
    with pytest.raises(ClientError, match="iam:PutRolePermissionsBoundary"):
        iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=wider)
    root.delete_role_permissions_boundary(RoleName=ROLE)
    with pytest.raises(ClientError, match="iam:PutRolePolicy"):
        iam.put_role_policy(RoleName=ROLE, **GRANT)
    iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=BOUNDARY)
    tags = [{"Key": "Project", "Value": "nexus-learn"}, {"Key": "Environment", "Value": "dev"}]
    with pytest.raises(ClientError, match="iam:CreateRole"):
        iam.create_role(RoleName="nexus-learn-celery-beat-task", AssumeRolePolicyDocument=TRUST, Tags=tags)


def test_create_and_change_pass(deployed):
    assert deployed.console.sandbox.status()["services"]


def test_workers_may_have_the_tasks_of_their_cluster_protected(deployed):
    """By the ECS agent, which asks as their role; not where ecs_celery_worker_protect_after is 0."""
    sandbox = deployed.console.sandbox
    (uri, *_) = (
        process.environ()["ECS_AGENT_URI"]
        for process in psutil.process_iter(["cmdline", "username"])
        if "--queues=langgraph" in (process.info["cmdline"] or [])
        and process.environ().get("AWS_ENDPOINT_URL") == sandbox.daemon
    )
    for enabled in (True, False):
        wanted = json.dumps({"ProtectionEnabled": enabled}).encode()
        request = urllib.request.Request(f"{uri}/task-protection/v1/state", wanted, method="PUT")
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["protection"]["ProtectionEnabled"] is enabled
    found = sandbox.client("iam").get_role_policy(
        RoleName="nexus-learn-celery-worker-task", PolicyName="scale-in-protection"
    )
    (statement,) = found["PolicyDocument"]["Statement"]
    for cluster, allowed in (("nexus-learn-cluster", True), ("nexus-learn-prod-cluster", False)):
        task = f"arn:aws:ecs:us-east-1:123456789012:task/{cluster}/x"
        assert applies(statement, Request("ecs:UpdateTaskProtection", task, {})) is allowed
    off = {**deployed.changed, "ecs_celery_worker_protect_after": 0}
    arguments = ("--tags", "ecs_celery_worker", "--check", "--diff", "-e", json.dumps(off))
    run = deployed.console.playbook("site.yml", *DEV, *arguments)
    assert "scale-in-protection" in run.text
    assert re.search(r"PROTECT_AFTER.{0,40}10.{0,40}0", run.text), run.text


def test_the_deployer_may_read_all_that_is_verified(deployed):
    assert not re.search(r"^    (unknown|failed|to be changed) ", deployed.verified.output, re.MULTILINE)
    assert "kms:Decrypt, ecr:BatchCheckLayerAvailability" in deployed.verified.text


@pytest.mark.parametrize(
    ("sid", "arguments"),
    [
        ("PassRolesToTasks", ("--tags", "ecs_celery_beat", "-e", "ecs_celery_beat_memory=1024")),
        ("CloudWatchForAutoScaling", ("--tags", "autoscaling", "-e", "autoscaling_cpu_target=50")),
        ("LogsChange", ("--tags", "observability", "-e", "observability_log_retention_days=30")),
        ("EcrChange", ("--tags", "ecr_repository", "-e", "ecr_repository_scan_on_push=false")),
    ],
)
def test_without_a_statement_a_change_fails_and_names_the_action(deployed, sid, arguments):
    deployed.without(sid)
    variables = ("-e", json.dumps(deployed.changed))
    missing(deployed.console.playbook("site.yml", *DEV, *variables, *arguments, succeeds=False), sid)
    deployed.without("")


def test_without_its_token_no_image_is_pushed(deployed, tmp_path):
    """The token is asked for before anything is built, so this builder has only to say that it could."""
    builder = tmp_path / "podman"
    builder.write_text('#!/bin/sh\ntest "$1" = info\n')
    builder.chmod(0o755)
    deployed.without("EcrRead")
    given = json.dumps({**deployed.changed, "image_builder": "podman"})
    path = {"PATH": f"{tmp_path}:{deployed.console.env['PATH']}"}
    run = deployed.console.playbook("playbooks/image.yml", *DEV, "-e", given, succeeds=False, env=path)
    deployed.without("")
    assert missing(run, "EcrRead") == "ecr:GetAuthorizationToken"


@pytest.fixture(scope="module")
def looked_after(deployed) -> Deployer:
    """What is done with services between two deployments. An image takes a builder: here only its push begins."""
    for arguments in deployed.verbs():
        deployed.console.playbook(*arguments)
    ecr = deployed.client("ecr")
    ecr.get_authorization_token()
    ecr.initiate_layer_upload(repositoryName="nexus-learn-worker")
    return deployed


def test_the_verbs_pass(looked_after):
    """The last one stopped a deployment, which no other one does."""
    assert any(
        request.action == "ecs:StopServiceDeployment" for request, denied in looked_after.decided() if not denied
    )


@pytest.fixture(scope="module")
def destroyed(looked_after) -> Deployer:
    """And it was tried to restore Redis from a snapshot that is not there, which IAM decides first."""
    looked_after.console.playbook(*looked_after.destroy)
    cache = looked_after.client("elasticache")
    with pytest.raises(cache.exceptions.SnapshotNotFoundFault):
        cache.create_replication_group(
            ReplicationGroupId="nexus-learn-redis", ReplicationGroupDescription="Redis", NumCacheClusters=1,
            SnapshotName="automatic.nexus-learn-redis-001-2026-11-25-03-00", CacheNodeType="cache.t3.micro",
            Tags=[{"Key": "Project", "Value": "nexus-learn"}, {"Key": "Environment", "Value": "dev"}],
        )  # fmt: skip
    return looked_after


def test_destroy_passes(destroyed):
    assert destroyed.console.sandbox.status()["services"] == []


@pytest.mark.parametrize("sid", sorted(STATEMENTS))
def test_each_statement_is_needed(destroyed, sid):
    """Of all that was asked of IAM in the runs above, something is allowed by this statement alone."""
    statements = [one for document in destroyed.documents.values() for one in document["Statement"]]
    (mine,) = (one for one in statements if one["Sid"] == sid)
    others = [one for one in statements if one is not mine]
    needed = [
        request
        for request, denied in destroyed.decided()
        if not denied and applies(mine, request) and not any(applies(one, request) for one in others)
    ]
    assert needed


def test_another_stack_is_out_of_reach(destroyed):
    """What the same account holds of prod, the same calls are denied."""
    statements = [one for document in destroyed.documents.values() for one in document["Statement"]]
    changes = [
        request
        for request, denied in destroyed.decided()
        if not denied
        and "aws:resourcetag/environment" in request.context
        and "iam:passedtoservice" not in request.context
    ]
    reads = re.compile(r":(Describe|List|Get|BatchGet|Simulate|Filter)")
    changes = [request for request in changes if not reads.search(request.action)]
    assert len({request.action for request in changes}) > 20
    for request in changes:
        context = {**request.context, "aws:resourcetag/environment": ("prod",)}
        theirs = Request(request.action, request.resource, context)
        allowed = [one["Sid"] for one in statements if applies(one, theirs)]
        assert set(allowed) <= {"Ec2Use"}, (request.action, allowed)


@pytest.mark.all_statements
@pytest.mark.parametrize("sid", sorted(set(STATEMENTS) - ONLY_TO_VERIFY - IN_NO_RUN))
def test_every_statement_by_a_run_of_its_own(deployer, sid):
    deployer.console.sandbox.run("reset")
    deployer.hire()
    deployer.without(sid)
    for arguments in deployer.runs():
        run = deployer.console.playbook(*arguments, succeeds=None)
        if run.returncode:
            print(sid, missing(run, sid))
            return
    pytest.fail(f"create, change, diagnose and destroy all pass without {sid}")
