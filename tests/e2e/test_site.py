"""The life of the dev stack: foretold, interrupted, deployed, changed by hand, mended, destroyed. In this order."""

from __future__ import annotations

import json
import re

import pytest
import steps

SITE = ("site.yml", "-i", "inventories/dev")
ROLE_TAGS = [
    "network",
    "elasticache",
    "ecs_cluster",
    "observability",
    "ecr_repository",
    "ecs_backend",
    "ecs_celery_worker",
    "ecs_celery_beat",
    "autoscaling",
]


@pytest.fixture(scope="module")
def url(console):
    balancers = console.sandbox.client("elbv2").describe_load_balancers(Names=["nexus-learn-alb"])["LoadBalancers"]
    return f"http://{balancers[0]['DNSName']}"


def auth_token(console) -> str:
    secret = console.sandbox.client("secretsmanager").get_secret_value(SecretId="nexus-learn/redis")["SecretString"]
    return json.loads(secret)["auth_token"]


def limits(cost: dict) -> tuple[float, float]:
    """Without the usual cost between them, which is that of as many tasks as the scaler runs just now."""
    return cost["min"], cost["max"]


@pytest.fixture(scope="module")
def check(console):
    run = console.playbook(*SITE, "--check", "--diff")
    assert run.step["operations"]
    assert steps.writes(run.step) == []
    return run


@pytest.fixture(scope="module")
def foretold(check) -> list[str]:
    return check.changed_tasks


def test_check_on_an_empty_account_runs_to_the_end_and_writes_nothing(check, foretold):
    assert len(foretold) >= 10
    assert check.plan["counts"]["create"] == len({change["resource"] for change in check.plan["changes"]}) > 30
    assert f"Plan: {check.plan['counts']['create']} to create, 0 to change" in check.output
    assert check.plan["unchanged"] == []
    assert check.plan["cost"]["before"] == {"min": 0, "typical": 0, "max": 0}
    assert 0 < check.plan["cost"]["after"]["min"] < check.plan["cost"]["after"]["max"]


def test_a_run_stopped_by_ctrl_c_is_taken_up_by_the_next(console, check, foretold):
    first = console.interrupted(*SITE, "-vvvv", after="TASK [elasticache : replication_group")
    assert not console.plan_file.exists(), "the plan of the check before it would be taken for its own"
    run = console.playbook(*SITE, "-vvvv")
    assert set(run.changed_tasks) <= set(foretold), "nothing changes that was not foretold"
    assert auth_token(console) not in first + run.output + json.dumps(run.plan)
    assert {change["resource"] for change in run.plan["changes"]} | set(run.plan["unchanged"]) == {
        change["resource"] for change in check.plan["changes"]
    }
    assert limits(run.plan["cost"]["after"]) == limits(check.plan["cost"]["after"])
    groups = console.sandbox.client("elasticache").describe_replication_groups()["ReplicationGroups"]
    assert [group["ReplicationGroupId"] for group in groups] == ["nexus-learn-redis"]
    vpcs = console.sandbox.client("ec2").describe_vpcs(Filters=[{"Name": "tag:Project", "Values": ["nexus-learn"]}])
    assert len(vpcs["Vpcs"]) == 1


def test_the_question_is_answered(console, url):
    task = console.ask(url, "What does an index do for a query?")
    assert task["state"] == "SUCCESS"
    assert task["result"]


def test_the_sandbox_stays_small(console, url):
    assert console.sandbox.status()["memory_mb"] < 300


def test_a_second_run_changes_nothing_and_makes_no_write_call(console, check):
    """Nor what the inventory says nothing of, such as access logs that somebody else has turned on."""
    elbv2, s3 = console.sandbox.client("elbv2"), console.sandbox.client("s3")
    (balancer,) = elbv2.describe_load_balancers()["LoadBalancers"]

    def logs(enabled):
        values = {"access_logs.s3.enabled": enabled, "access_logs.s3.bucket": "of-the-security-team"}
        attributes = [{"Key": key, "Value": value} for key, value in values.items()]
        elbv2.modify_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"], Attributes=attributes)

    s3.create_bucket(Bucket="of-the-security-team")
    logs("true")
    run = console.playbook(*SITE, "-vvvv")
    logs("false")
    s3.delete_bucket(Bucket="of-the-security-team")
    assert run.changed == 0
    assert run.step["operations"]
    assert steps.writes(run.step) == []
    assert auth_token(console) not in run.output + json.dumps(run.plan)
    assert set(run.plan["unchanged"]) == {change["resource"] for change in check.plan["changes"]}
    assert run.plan["counts"]["unchanged"] == check.plan["counts"]["create"]
    assert run.plan["cost"]["before"] == run.plan["cost"]["after"]
    assert limits(run.plan["cost"]["after"]) == limits(check.plan["cost"]["after"])


@pytest.mark.parametrize("tag", ROLE_TAGS)
def test_each_role_alone_on_a_deployed_stack(console, tag):
    assert console.playbook(*SITE, "--tags", tag).changed == 0


def test_a_tag_changes_its_own_role_only(console):
    run = console.playbook(*SITE, "--tags", "autoscaling", "-e", "celery_max_count=7", "-e", "redis_num_nodes=2")
    assert run.changed_tasks == ["autoscaling : Create or update targets and policies"]
    assert "max_capacity: 5 -> 7" in run.text
    assert any("1 to 7 tasks, which this run did not read" in line for line in run.plan["cost"]["unpriced"])
    console.playbook(*SITE, "--tags", "autoscaling")


def test_a_tag_takes_the_steps_before_it_as_they_are_deployed(console):
    """Not as the inventory would have them by now: nothing of it is applied yet."""
    edited = {"network_availability_zones": ["us-east-1a", "us-east-1b", "us-east-1c"], "redis_version": "6.2"}
    extra = ("-e", json.dumps(edited))
    assert console.playbook(*SITE, "--tags", "ecs_celery_worker", *extra).changed == 0
    run = console.playbook("playbooks/outputs.yml", "-i", "inventories/dev", *extra)
    assert "redis_endpoint: 127.0.0.1" in run.text


def test_a_stack_may_use_the_repository_of_another_one(console):
    """With an empty name it manages none, and one that it has made stays."""
    outputs = ("playbooks/outputs.yml", "-i", "inventories/dev", "-e", "output=ecr_repository_uri")
    uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker"
    assert uri in console.playbook(*outputs).text
    none = ("-e", "image_repository=")
    assert uri not in console.playbook(*outputs, *none).text
    run = console.playbook(*SITE, *none)
    assert run.changed == 0
    assert "ECR repository nexus-learn-worker" not in run.plan["unchanged"]
    assert "ecr_repository_uri: ''" in run.text
    theirs = ("-e", "image_repository=nexus-learn-theirs")
    console.sandbox.client("ecr").create_repository(repositoryName="nexus-learn-theirs")
    run = console.playbook(*SITE, *theirs, succeeds=False)
    console.sandbox.client("ecr").delete_repository(repositoryName="nexus-learn-theirs")
    assert "ECR repository nexus-learn-theirs exists and belongs to somebody else" in run.text
    assert steps.writes(run.step) == []


def test_a_lost_token_is_replaced_and_neither_is_in_any_output(console):
    lost = auth_token(console)
    manager = console.sandbox.client("secretsmanager")
    manager.put_secret_value(SecretId="nexus-learn/redis", SecretString="{}")
    run = console.playbook(*SITE, "--tags", "elasticache", "-vvvv", "--diff")
    assert "auth_token: (hidden) -> (hidden, new)" in run.text
    everything = run.output + json.dumps(run.plan)
    assert lost != auth_token(console)
    assert lost not in everything
    assert auth_token(console) not in everything


def test_services_are_deployed_anew_when_their_secret_has_changed(console, url):
    """Tasks read a secret when they start, so a new token or URL reaches only tasks that start after it."""
    manager = console.sandbox.client("secretsmanager")
    value = manager.get_secret_value(SecretId="nexus-learn/redis")["SecretString"]
    version = manager.put_secret_value(SecretId="nexus-learn/redis", SecretString=value)["VersionId"]
    deploys = [
        "ecs_backend : services | Deploy the API",
        "ecs_celery_worker : services | Deploy the workers",
        "ecs_celery_beat : services | Deploy beat",
    ]
    assert console.playbook(*SITE, "--check").changed_tasks == deploys
    assert console.playbook(*SITE).changed_tasks == deploys
    ecs = console.sandbox.client("ecs")
    service = ecs.describe_services(cluster="nexus-learn-cluster", services=["nexus-learn-celery-worker-service"])
    definition = ecs.describe_task_definition(taskDefinition=service["services"][0]["taskDefinition"])
    container = definition["taskDefinition"]["containerDefinitions"][0]
    assert {"name": "REDIS_SECRET_VERSION", "value": version} in container["environment"]
    assert console.ask(url, "Do the new tasks answer?")["state"] == "SUCCESS"


def test_outputs_by_tag(console, url):
    run = console.playbook(*SITE, "--tags", "outputs")
    assert run.changed == 0
    assert f"backend_url: {url}" in run.text


def test_outputs(console, url):
    run = console.playbook("playbooks/outputs.yml", "-i", "inventories/dev", "-e", "output=backend_url")
    assert url in run.output
    run = console.playbook("playbooks/outputs.yml", "-i", "inventories/dev", "-e", "output=nonsense", succeeds=False)
    assert "There is no output nonsense; there are: redis_endpoint" in run.text


def test_outputs_as_a_json_file(console, tmp_path):
    file = tmp_path / "outputs.json"
    console.playbook(
        "playbooks/outputs.yml", "-i", "inventories/dev", "-e", "output_format=json", "-e", f"output_file={file}"
    )
    outputs = json.loads(file.read_text())
    assert outputs["celery_worker_service_name"] == "nexus-learn-celery-worker-service"
    assert outputs["redis_url"] == f"rediss://{outputs['redis_endpoint']}:{outputs['redis_port']}/0"


def test_one_output_as_a_json_file(console, tmp_path):
    file = tmp_path / "output.json"
    extra = ("-e", f"output=celery_worker_service_names output_format=json output_file={file}")
    console.playbook("playbooks/outputs.yml", "-i", "inventories/dev", *extra)
    assert json.loads(file.read_text()) == ["nexus-learn-celery-worker-service"]


def test_the_auth_token_is_in_no_output(console):
    run = console.playbook(*SITE, "--check", "--diff", "-vvvv", "-e", "redis_node_type=cache.t3.small")
    assert run.changed == 1
    assert auth_token(console) not in run.output + json.dumps(run.plan)
    assert "~ replication group nexus-learn-redis node_type: cache.t3.micro -> cache.t3.small" in run.text
    assert "! disruptive: the data moves to new nodes: connections break for some seconds" in run.text
    assert run.plan["cost"]["delta"]["typical"] == pytest.approx(12.43, abs=0.02)


def test_a_stack_of_the_same_name_is_refused(console):
    run = console.playbook(*SITE, "-vvvv", "-e", "environment_name=staging", succeeds=False)
    assert "belongs to somebody else" in run.text
    assert "name_prefix" in run.text
    assert [failure["refused"] for failure in run.plan["failures"]] == [True]
    assert auth_token(console) not in run.output + json.dumps(run.plan)


def test_the_cost_is_a_command(console):
    """Of what is deployed and of what is not, without a change; the numbers are tested in tests/unit/test_prices.py."""
    run = console.playbook("playbooks/cost.yml", "-i", "inventories/dev", "-vvvv", "-e", "celery_max_count=8")
    assert steps.writes(run.step) == []
    assert auth_token(console) not in run.output + json.dumps(run.plan)
    numbers = r"36\.04 / \S+ / 180\.20 36\.04 / \S+ / 288\.32 1 to 8 tasks"
    assert re.search(f"service nexus-learn-celery-worker-service {numbers}", run.text)
    assert "together" in run.text
    assert "Plan:" not in run.text
    nat = {"cost_assumed": {"nat_gb": [0, 0, 0]}}
    run = console.playbook("playbooks/cost.yml", "-i", "inventories/prod", "-e", json.dumps(nat))
    assert steps.writes(run.step) == []
    assert "NAT gateway nexus-learn-prod-nat-b - 36.50 with" in run.text
    assert "replication group nexus-learn-prod-redis - 99.37 / 99.74 / 101.12 2 x cache.t3.medium" in run.text


def test_prod_is_foretold_beside_dev(console):
    assert console.playbook("site.yml", "-i", "inventories/prod", "--check").changed >= 10


def test_security_groups_follow_the_ports(console):
    certificate = "arn:aws:acm:us-east-1:123456789012:certificate/x"
    extra = ("-e", f"elasticache_port=6380 ecs_backend_port=9000 ecs_backend_certificate_arn={certificate}")
    run = console.playbook("site.yml", "-i", "inventories/prod", "--check", "--diff", "--tags", "network", *extra)
    assert "tcp 6380" in run.text
    assert "tcp 9000" in run.text
    assert "tcp 443" in run.text
    assert not re.search(r"tcp (6379|8000|80)\b", run.text)


def test_an_internal_load_balancer_lies_in_private_subnets(console):
    run = console.playbook(
        "site.yml", "-i", "inventories/prod", "--check", "--diff", "-e", "ecs_backend_scheme=internal"
    )
    balancer = run.text[run.text.index("scheme: internal") :].split(" tags: ")[0]
    assert re.findall(r"subnet nexus-learn-prod-(\S+)\)", balancer) == ["private-a", "private-b"]


def test_tasks_may_use_the_key_that_encrypts_their_secret(console):
    kms = console.sandbox.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/redis", TargetKeyId=key)
    run = console.playbook(
        "site.yml", "-i", "inventories/prod", "--check", "--diff", "-e", "elasticache_kms_key_id=alias/redis"
    )
    # by its ARN, for a policy does not take an alias: once for each of backend, worker and beat
    assert len(re.findall(rf"kms:Decrypt.{{0,160}}?{key}", run.text)) == 3


def test_destroy_asks_for_the_name(console, url):
    run = console.playbook(
        "playbooks/destroy.yml", "-i", "inventories/dev", "-e", "stack=something-else", succeeds=False
    )
    assert "You typed something-else; this inventory's stack is nexus-learn" in run.text
    assert console.ask(url, "Are you still there?")["state"] == "SUCCESS"


def test_destroy_leaves_nothing_but_the_final_snapshot(console):
    confirmed = ("-e", "stack=nexus-learn", "-e", "delete_redis=nexus-learn-redis")
    destroy = ("playbooks/destroy.yml", "-i", "inventories/dev", *confirmed)
    token = auth_token(console)
    foretold = console.playbook(*destroy, "--check")
    # with another block than the one it was made with: what is there is taken away, whatever the inventory says by now
    run = console.playbook(*destroy, "-vvvv", "-e", "network_cidr_block=10.9.0.0/16")
    assert run.changed_tasks == foretold.changed_tasks
    assert token not in run.output
    client = console.sandbox.client
    mine = [{"Name": "tag:Project", "Values": ["nexus-learn"]}]
    assert client("ec2").describe_vpcs(Filters=mine)["Vpcs"] == []
    assert client("ec2").describe_security_groups(Filters=mine)["SecurityGroups"] == []
    assert client("elasticache").describe_replication_groups()["ReplicationGroups"] == []
    assert client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert client("iam").list_roles()["Roles"] == []
    assert client("logs").describe_log_groups()["logGroups"] == []
    assert console.sandbox.status()["services"] == []
    snapshots = client("elasticache").describe_snapshots()["Snapshots"]
    assert [snapshot["ReplicationGroupId"] for snapshot in snapshots] == ["nexus-learn-redis"]
    # and the bucket with the journal, whose last entry is this; the lock is not held any more
    bucket = "nexus-learn-deployment-123456789012-us-east-1"
    assert f"Kept: the bucket {bucket} with the journal" in run.text
    assert [item["Name"] for item in client("s3").list_buckets()["Buckets"]] == [bucket]
    keys = [item["Key"] for item in client("s3").list_objects_v2(Bucket=bucket)["Contents"]]
    assert all(key.startswith("journal/") for key in keys)
    last = json.loads(client("s3").get_object(Bucket=bucket, Key=keys[-1])["Body"].read())
    assert last["playbook"] == "playbooks/destroy.yml"
    assert "replication group nexus-learn-redis" in [change["resource"] for change in last["changes"]]
    everything = [client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys]
    assert token not in "".join(everything)

    assert console.playbook(*destroy).changed == 0, "a second run is clean"
