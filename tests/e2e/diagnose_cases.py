"""Twenty broken stacks: how each is broken and mended, and what the diagnosis has to say first.

``docs/diagnose.md`` shows the table of them, which test_diagnose.py compares with this. The order saves deployments:
some begin where the one before ends, and what cannot be taken back (the scaler's history) comes last.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis

CLUSTER, GROUP, SECRET = "nexus-learn-cluster", "nexus-learn-redis", "nexus-learn/redis"
BACKEND, WORKER, BEAT = (f"nexus-learn-{name}-service" for name in ("backend", "celery-worker", "celery-beat"))


class Broken:
    """The deployed stack, with hands to break it."""

    def __init__(self, console):
        self.console, self.sandbox = console, console.sandbox
        self.client = console.sandbox.client
        self.ecs, self.manager = self.client("ecs"), self.client("secretsmanager")
        self.remember()

    def remember(self) -> None:
        """What is sound, to begin from and to go back to."""
        self.sound = {name: self.service(name)["taskDefinition"] for name in (BACKEND, WORKER, BEAT)}
        self.version = self.manager.get_secret_value(SecretId=SECRET)
        self.value = json.loads(self.version["SecretString"])

    def service(self, name: str) -> dict:
        return self.ecs.describe_services(cluster=CLUSTER, services=[name])["services"][0]

    def update(self, name: str, **more) -> None:
        self.ecs.update_service(cluster=CLUSTER, service=name, **more)

    def breaker(self, on: bool) -> dict:
        found = self.service(BEAT)["deploymentConfiguration"]
        settings = {**found["deploymentCircuitBreaker"], "enable": on, "rollback": on}
        return {"deploymentConfiguration": {**found, "deploymentCircuitBreaker": settings}}

    def revision(self, name: str, memory: str = "", **container) -> str:
        """ARN of a new revision of a service's sound one, with other fields."""
        found = self.ecs.describe_task_definition(taskDefinition=self.sound[name])["taskDefinition"]
        keys = ("family", "cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn", "taskRoleArn",
                "volumes", "runtimePlatform")  # fmt: skip
        arguments = {key: found[key] for key in keys if key in found}
        arguments["containerDefinitions"] = [{**found["containerDefinitions"][0], **container}]
        arguments["memory"] = memory or arguments["memory"]
        return self.ecs.register_task_definition(**arguments)["taskDefinition"]["taskDefinitionArn"]

    def trip(self) -> None:
        """A deployment of beat that its circuit breaker takes back, to the end."""
        wrong = self.revision(BEAT, command=["python", "-c", "raise SystemExit('no settings')"])
        self.update(BEAT, **self.breaker(on=True), taskDefinition=wrong)
        deadline = time.monotonic() + 120
        while self.ecs.list_service_deployments(cluster=CLUSTER, service=BEAT)["serviceDeployments"][0]["status"] != (
            "ROLLBACK_SUCCESSFUL"
        ):
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def command(self, name: str, queues: str) -> list[str]:
        found = self.ecs.describe_task_definition(taskDefinition=self.sound[name])["taskDefinition"]
        words = found["containerDefinitions"][0]["command"]
        return [f"--queues={queues}" if word.startswith("--queues=") else word for word in words]

    def deploy(self, name: str, **more) -> None:
        self.update(name, taskDefinition=self.revision(name, **more))

    def put(self, value: dict) -> None:
        self.manager.put_secret_value(SecretId=SECRET, SecretString=json.dumps(value))

    def put_back(self) -> None:
        """The secret's version that was there first, so that services have the version that they were deployed with."""
        now = self.manager.get_secret_value(SecretId=SECRET)["VersionId"]
        self.manager.update_secret_version_stage(
            SecretId=SECRET, VersionStage="AWSCURRENT", MoveToVersionId=self.version["VersionId"],
            RemoveFromVersionId=now,
        )  # fmt: skip

    def redis(self) -> redis.Redis:
        url = self.value["url"].partition("?")[0]
        return redis.Redis.from_url(url, ssl_ca_certs=str(self.sandbox.home / "ca.pem"))

    def nodes(self) -> list[Path]:
        return sorted((self.sandbox.home / "elasticache/us-east-1").glob(f"{GROUP}-*"))

    def primary(self) -> redis.Redis:
        """As the sandbox's own user, who may do what ElastiCache's customers may not."""
        found = []
        for folder in self.nodes():
            lines = (folder / "redis.conf").read_text().splitlines()
            port = next(int(line.split()[1]) for line in lines if line.startswith("port "))
            password = next(line.split()[3][1:] for line in lines if line.startswith("user sandbox "))
            found.append(redis.Redis(port=port, username="sandbox", password=password))
        return next(node for node in found if node.info("replication")["role"] == "master")

    def lose_disks(self) -> None:
        """Both nodes die, and neither finds a place to start again."""
        for folder in self.nodes():
            folder.rename(folder.with_suffix(".lost"))
            folder.touch()
        for folder in (one.with_suffix(".lost") for one in self.nodes() if one.is_file()):
            for entry in Path("/proc").glob("[0-9]*"):
                try:
                    if os.readlink(entry / "cwd") == str(folder):
                        os.kill(int(entry.name), signal.SIGKILL)
                except OSError:
                    continue

    def find_disks(self) -> None:
        for folder in self.nodes():
            if folder.is_file():
                folder.unlink()

    def close_redis_to_workers(self) -> None:
        ec2 = self.client("ec2")
        ids = {one["GroupName"]: one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]}
        peer = {"GroupId": ids["nexus-learn-celery-worker"]}
        rule = {"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6379, "UserIdGroupPairs": [peer]}
        ec2.revoke_security_group_ingress(GroupId=ids[GROUP], IpPermissions=[rule])

    def policy(self, value: str) -> None:
        cache = self.client("elasticache")
        (node, *_) = cache.describe_cache_clusters()["CacheClusters"]
        cache.modify_cache_parameter_group(
            CacheParameterGroupName=node["CacheParameterGroup"]["CacheParameterGroupName"],
            ParameterNameValues=[{"ParameterName": "maxmemory-policy", "ParameterValue": value}],
        )

    def fill(self) -> None:
        """Leave it no room: a limit that is reached, rather than 400 MB that are sent."""
        node = self.primary()
        self.room = node.config_get("maxmemory")["maxmemory"]
        node.config_set("maxmemory", node.info("memory")["used_memory"])

    def empty(self) -> None:
        self.primary().config_set("maxmemory", self.room)

    def second_beat(self) -> None:
        network = self.service(BEAT)["networkConfiguration"]
        made = self.ecs.run_task(
            cluster=CLUSTER, taskDefinition=self.sound[BEAT], networkConfiguration=network, launchType="FARGATE"
        )
        self.stray = made["tasks"][0]["taskArn"]

    def lose_message(self) -> None:
        """What a worker leaves that dies with a message: kombu's record of it."""
        message = [{"headers": {"id": "of-a-worker-that-is-gone"}}, "embeddings", "embeddings"]
        self.redis().hset("unacked", "lost", json.dumps(message))
        self.redis().zadd("unacked_index", {"lost": time.time() - 60})

    def find_message(self) -> None:
        self.redis().zrem("unacked_index", "lost")
        self.redis().hdel("unacked", "lost")

    def storm(self) -> None:
        scaling = self.client("application-autoscaling")
        target = {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{CLUSTER}/{WORKER}",
            "ScalableDimension": "ecs:service:DesiredCount",
        }
        for _ in range(3):
            scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=5)
            scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=1)
        scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=5)


BY_COMMAND = "by the command that the first finding names"


@dataclass(frozen=True)
class Case:
    """``symptom`` is what a person sees; ``evidence`` and ``command`` are part of those of the first finding."""

    name: str
    symptom: str
    broken: Callable[[Broken], None]
    mended: Callable[[Broken], None] | str | None
    cause: str
    resource: str
    evidence: str
    command: str
    # whether to run the playbook, which also knows what differs from the inventory, or the module in this process
    playbook: bool = False


CASES = [
    Case(
        "closed security group", "Workers start, are never healthy, and log `Cannot connect to redis`",
        lambda s: s.close_redis_to_workers(), BY_COMMAND,
        "security_group_closed", "security group nexus-learn-redis", "nexus-learn-redis (sg-", "--tags network",
        playbook=True,
    ),
    Case(
        "evicting policy", "Tasks vanish without a trace when Redis is full",
        lambda s: s.policy("allkeys-lru"), BY_COMMAND,
        "redis_evicts", "cache parameter group nexus-learn-redis7", "maxmemory-policy is allkeys-lru",
        "--tags elasticache", playbook=True,
    ),
    Case(
        "full Redis", "The API answers 503, results do not arrive, logs say `OOM command not allowed`",
        lambda s: s.fill(), lambda s: s.empty(),
        "redis_full", "replication group nexus-learn-redis", "bytes", "cache.t3.small",
    ),
    Case(
        "stuck unacked tasks", "A task stays STARTED although its worker is gone",
        lambda s: s.lose_message(), lambda s: s.find_message(),
        "messages_stuck", "Redis key unacked", "1 of them with no worker", "sleep ",
    ),
    Case(
        "throttled API", "`ThrottlingException`, `Rate exceeded` from every command",
        lambda s: s.sandbox.faults(throttle=1.0), lambda s: s.sandbox.faults(),
        "aws_throttles", "API calls: ", "Rate exceeded", "diagnose_attempts=10", playbook=True,
    ),
    Case(
        "missing log group", "New tasks do not start: `failed to create Cloudwatch log stream`",
        lambda s: s.client("logs").delete_log_group(logGroupName="/ecs/nexus-learn/celery-beat"),
        BY_COMMAND,
        "log_group_missing", "log group /ecs/nexus-learn/celery-beat", BEAT, "--tags observability",
    ),
    Case(
        "missing secret key", "New tasks do not start: `did not contain json key`",
        lambda s: s.put({"auth_token": s.value["auth_token"]}), BY_COMMAND,
        "secret_incomplete", f"secret {SECRET}", "its keys: auth_token", "site.yml", playbook=True,
    ),
    Case(
        "TLS mismatch", "`Connection closed by server` from Redis, although it is available",
        lambda s: s.put({**s.value, "url": s.value["url"].replace("rediss://", "redis://")}), BY_COMMAND,
        "tls_mismatch", f"secret {SECRET}", "begins with redis://", "site.yml",
    ),
    Case(
        "beat doubled", "Each periodic task runs twice",
        lambda s: s.second_beat(), lambda s: s.ecs.stop_task(cluster=CLUSTER, task=s.stray),
        "beat_doubled", f"service {BEAT}", "family:nexus-learn-celery-beat",
        "aws ecs stop-task --cluster nexus-learn-cluster --task ",
    ),
    Case(
        "beat dead", "Periodic tasks do not run",
        lambda s: s.update(BEAT, desiredCount=0), BY_COMMAND,
        "beat_dead", f"service {BEAT}", "desired count 0", "--tags ecs_celery_beat",
    ),
    Case(
        "wrong token", "Workers log `invalid username-password pair` and are never healthy",
        lambda s: (s.put({**s.value, "url": s.value["url"].replace(s.value["auth_token"], "x" * 64)}),
                   s.update(BEAT, forceNewDeployment=True)),
        lambda s: (s.put_back(), s.update(BEAT, forceNewDeployment=True)),
        "wrong_token", f"secret {SECRET}", "invalid username-password pair", "put-secret-value", playbook=True,
    ),
    # beat's circuit breaker is off for these three
    Case(
        "crash loop", "Tasks start and stop, again and again",
        lambda s: s.update(BEAT, **s.breaker(on=False), taskDefinition=s.revision(
            BEAT, command=["python", "-c", "raise SystemExit('no module named config.celary')"])),
        None,
        "crash_loop", f"service {BEAT}", "exit code 1; its last log line: \"no module named", "aws logs tail",
        playbook=True,
    ),
    Case(
        "OOM", "Tasks stop with exit code 137",
        lambda s: s.deploy(BEAT, command=["python", "-c", "import time; x = b'x' * (700 << 20); time.sleep(60)"]),
        None,
        "out_of_memory", f"service {BEAT}", "OutOfMemoryError: Container killed", '"ecs_celery_beat_memory": 1024',
    ),
    Case(
        "bad image", "Tasks stop before they start",
        lambda s: s.deploy(BEAT, image="nexus-learn-worker:missing"), None,
        "image_not_found", f"service {BEAT}", "CannotPullContainerError", "-e app_image=",
    ),
    Case(
        "breaker tripped", "The deployment is over, and the old version runs",
        lambda s: s.trip(), BY_COMMAND,
        "deployment_undone", f"service {BEAT}", "no settings", "playbooks/restart.yml", playbook=True,
    ),
    Case(
        "wrong queue name", "New workers stop at once",
        lambda s: s.deploy(WORKER, command=s.command(WORKER, "langgraph,embedings")), BY_COMMAND,
        "wrong_queue_name", f"service {WORKER}", "embedings", '"celery_queues": ["embeddings", "langgraph"]',
    ),
    Case(
        "no consumer", "Tasks of one kind stay PENDING",
        lambda s: s.deploy(WORKER, command=s.command(WORKER, "langgraph")), BY_COMMAND,
        "no_consumer", f"service {WORKER}", f"{WORKER} consumes langgraph",
        '"celery_queues": ["embeddings", "langgraph"]', playbook=True,
    ),
    Case(
        "drifted task definition", "Nobody deployed, and the workers are others",
        lambda s: s.deploy(WORKER, memory="4096"),
        BY_COMMAND,
        "task_definition_drifted", f"service {WORKER}", 'task_definition.memory: "4096" -> "2048"',
        "--tags ecs_celery_worker", playbook=True,
    ),
    Case(
        "failed failover", "Nothing reaches Redis, for minutes",
        lambda s: s.lose_disks(), lambda s: s.find_disks(),
        "failover_failed", "replication group nexus-learn-redis", "Recovering cache nodes", "aws elasticache ",
        playbook=True,
    ),
    Case(
        "scale-in storm", "Tasks start anew again and again, and workers come and go",
        lambda s: s.storm(), None,
        "scaling_storm", f"service {WORKER}", "maximum capacity was set to 1", '"autoscaling_scale_in_cooldown": 900',
    ),
]  # fmt: skip
