"""Services: replacing, rolling out, rolling back, draining, metrics. Every task is a real process."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from ecs_stack import eventually, stack_fixture  # noqa: F401 - used as `stack`

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


def test_service_comes_up_says_so_and_is_scaled(stack):
    name = stack.create(stack.register(), 2)
    service = stack.service(name)
    assert service["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    service = stack.completed(name)
    assert (service["runningCount"], service["pendingCount"]) == (2, 0)
    messages = eventually(lambda: (m := stack.messages(name)) and "steady state" in m[0] and m)
    assert re.fullmatch(rf"\(service {name}\) has started 2 tasks: \(task \w+\) \(task \w+\)\.", messages[-1])
    assert messages[1].endswith("deployment completed.")
    task = stack.tasks(name)[0]
    assert task["startedBy"] == service["deployments"][0]["id"]
    assert task["group"] == f"service:{name}"

    stack.update(name, desiredCount=3)
    eventually(lambda: stack.service(name)["runningCount"] == 3)
    assert [d["rolloutState"] for d in stack.service(name)["deployments"]] == ["COMPLETED"]
    stack.update(name, desiredCount=1)
    eventually(lambda: stack.service(name)["runningCount"] == 1 and len(stack.tasks(name, "STOPPED")) == 2)
    stopped = stack.tasks(name, "STOPPED")[0]
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert stopped["stoppedReason"] == f"Scaling activity initiated by (deployment {service['deployments'][0]['id']})"
    eventually(lambda: "has reached a steady state" in stack.messages(name)[0])


def test_task_that_is_stopped_or_crashes_is_replaced(stack):
    name = stack.create(stack.register())
    stack.completed(name)
    first = stack.tasks(name)[0]["taskArn"]
    stack.ecs.stop_task(cluster=stack.cluster, task=first)
    second = eventually(
        lambda: [t for t in stack.tasks(name) if t["lastStatus"] == "RUNNING" and t["taskArn"] != first]
    )
    assert second[0]["taskArn"] != first
    assert [d["rolloutState"] for d in stack.service(name)["deployments"]] == ["COMPLETED"]


def test_update_rolls_over_within_the_percents(stack):
    family = stack.name("roll")
    name = stack.create(stack.register(family=family), 2)
    old = stack.completed(name)["deployments"][0]["id"]
    new = stack.register(family=family)
    answer = stack.update(name, taskDefinition=new)
    assert [d["status"] for d in answer["deployments"]] == ["PRIMARY", "ACTIVE"]
    assert answer["taskDefinition"] == new
    fewest, most = 2, 0
    while len((service := stack.service(name))["deployments"]) > 1:
        fewest = min(fewest, service["runningCount"])
        most = max(most, service["runningCount"] + service["pendingCount"])
        time.sleep(0.02)
    assert fewest == 2
    assert most <= 4
    service = stack.completed(name)
    assert {task["taskDefinitionArn"] for task in stack.tasks(name)} == {new}
    assert service["deployments"][0]["id"] != old
    history = stack.ecs.list_service_deployments(cluster=stack.cluster, service=name)["serviceDeployments"]
    assert [deployment["status"] for deployment in history] == ["SUCCESSFUL", "SUCCESSFUL"]
    revision = stack.ecs.describe_service_revisions(serviceRevisionArns=[history[0]["targetServiceRevisionArn"]])
    assert revision["serviceRevisions"][0]["taskDefinition"] == new


def test_singleton_never_runs_twice(stack):
    """0 and 100 percent, as for beat: the old task has ended before the new one starts."""
    script = "trap 'sleep 0.7; date +%s%N; exit 0' TERM; date +%s%N; while :; do sleep 0.05; done"
    family = stack.name("beat")
    definition = stack.register(stack.container(script), family=family)
    name = stack.create(definition, deploymentConfiguration={"minimumHealthyPercent": 0, "maximumPercent": 100})
    stack.completed(name)
    first = stack.tasks(name)[0]["taskArn"]
    eventually(lambda: stack.printed(first))
    stack.update(name, forceNewDeployment=True)
    stack.completed(name)
    second = stack.tasks(name)[0]["taskArn"]
    ended, started = int(stack.printed(first)[-1]), int(eventually(lambda: stack.printed(second))[0])
    assert second != first
    assert len(stack.printed(first)) == 2
    assert ended < started


def test_breaker_rolls_back_to_the_last_completed_revision_and_the_old_tasks_serve_on(stack):
    family = stack.name("breaker")
    good = stack.register(family=family)
    name = stack.create(good, 2, deploymentConfiguration=BREAKER)
    before = stack.completed(name)
    arns = {task["taskArn"] for task in stack.tasks(name)}
    bad = stack.register(stack.container("echo broken; exit 3"), family=family)
    broken = stack.update(name, taskDefinition=bad)["deployments"][0]["id"]
    history = eventually(
        lambda: (
            (h := stack.ecs.list_service_deployments(cluster=stack.cluster, service=name)["serviceDeployments"])
            and h[0]["status"] == "ROLLBACK_SUCCESSFUL"
            and h
        )
    )
    service = stack.completed(name)
    assert service["taskDefinition"] == good
    assert service["deployments"][0]["id"] not in (broken, before["deployments"][0]["id"])
    assert {task["taskArn"] for task in stack.tasks(name)} == arns
    stack.ecs.get_waiter("services_stable").wait(
        cluster=stack.cluster, services=[name], WaiterConfig={"MaxAttempts": 1}
    )
    messages = stack.messages(name)
    assert f"(service {name}) (deployment {broken}) deployment failed: tasks failed to start." in messages
    rolled = f"(service {name}) rolling back to deployment {service['deployments'][0]['id']}."
    assert rolled in messages
    failed = [task for task in stack.tasks(name, "STOPPED") if task["taskDefinitionArn"] == bad]
    codes = [task["containers"][0].get("exitCode") for task in failed]
    assert 3 <= codes.count(3) <= len(codes) <= 4  # threshold max(3, ceil(2 / 2)); two start at once
    detail = stack.ecs.describe_service_deployments(serviceDeploymentArns=[history[0]["serviceDeploymentArn"]])
    detail = detail["serviceDeployments"][0]
    assert detail["deploymentCircuitBreaker"]["status"] == "TRIGGERED"
    assert detail["deploymentCircuitBreaker"]["failureCount"] >= 3


def test_a_deployment_that_is_stopped_is_rolled_back_without_a_breaker(stack):
    family = stack.name("stopped")
    good = stack.register(family=family)
    name = stack.create(good)
    stack.completed(name)
    slow = stack.container(healthCheck={"command": ["CMD", "false"], "startPeriod": 300, "interval": 300})
    stuck = stack.update(name, taskDefinition=stack.register(slow, family=family))["deployments"][0]["id"]

    def history():
        return stack.ecs.list_service_deployments(cluster=stack.cluster, service=name)["serviceDeployments"]

    assert [one["status"] for one in history()] == ["IN_PROGRESS", "SUCCESSFUL"]
    arn = history()[0]["serviceDeploymentArn"]
    for _ in range(2):  # of one that is being rolled back, the roll-back goes on
        assert stack.ecs.stop_service_deployment(serviceDeploymentArn=arn)["serviceDeploymentArn"] == arn
    service = stack.completed(name)
    assert service["taskDefinition"] == good
    assert service["deployments"][0]["id"] != stuck
    detail = stack.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]
    assert detail["status"] == "ROLLBACK_SUCCESSFUL"
    assert detail["deploymentCircuitBreaker"]["status"] == "DISABLED"
    with pytest.raises(stack.ecs.exceptions.ConflictException):
        stack.ecs.stop_service_deployment(serviceDeploymentArn=arn)
    with pytest.raises(stack.ecs.exceptions.ServiceDeploymentNotFoundException):
        stack.ecs.stop_service_deployment(serviceDeploymentArn=f"{arn}0")


def test_the_first_deployment_cannot_be_rolled_back(stack):
    name = stack.create(stack.register(stack.container(healthCheck={"command": ["CMD", "false"], "startPeriod": 300})))
    arn = stack.service(name)["currentServiceDeployment"]
    with pytest.raises(stack.ecs.exceptions.InvalidParameterException, match="roll back to"):
        stack.ecs.stop_service_deployment(serviceDeploymentArn=arn)


def test_breaker_with_a_count_gives_a_singleton_up_sooner(stack):
    family = stack.name("count")
    count = {"thresholdConfiguration": {"type": "COUNT", "value": 1}}
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True, **count}}
    name = stack.create(stack.register(family=family), deploymentConfiguration=breaker)
    good = stack.completed(name)["taskDefinition"]
    bad = stack.register(stack.container("exit 3"), family=family)
    stack.update(name, taskDefinition=bad)
    eventually(lambda: any("deployment failed" in message for message in stack.messages(name)))
    assert stack.completed(name)["taskDefinition"] == good
    assert len([task for task in stack.tasks(name, "STOPPED") if task["taskDefinitionArn"] == bad]) == 1


def test_alarm_that_goes_off_rolls_a_deployment_back_and_one_that_rang_before_is_not_heeded(stack):
    cloudwatch = stack.sandbox.client("cloudwatch")
    alarm, family = stack.name("alarm"), stack.name("alarmed")
    cloudwatch.put_metric_alarm(
        AlarmName=alarm, Namespace="n", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip

    def ring(state):
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="test")

    alarms = {"alarms": {"alarmNames": [alarm], "enable": True, "rollback": True}}
    ring("OK")
    name = stack.create(stack.register(family=family), deploymentConfiguration=alarms)
    good = stack.completed(name)["taskDefinition"]
    never = {"healthCheck": {"command": ["CMD", "false"], "interval": 60, "retries": 10}}
    stack.update(name, taskDefinition=stack.register(stack.container(**never), family=family))
    eventually(lambda: len(stack.tasks(name)) == 2)
    ring("ALARM")
    eventually(lambda: any("deployment failed: alarm detected." in message for message in stack.messages(name)))
    assert stack.completed(name)["taskDefinition"] == good

    new = stack.register(family=family)
    stack.update(name, taskDefinition=new)
    assert stack.completed(name)["taskDefinition"] == new, "the alarm rang from the beginning"


def test_deployment_is_over_early_where_that_is_asked_for(stack):
    family = stack.name("early")
    early = {"enable": True, "healthyPercent": 50, "sourceServiceRevisionCleanup": "DEFERRED"}
    configuration = {"minimumHealthyPercent": 50, "earlySuccessCriteria": early}
    slow = stack.container("trap 'sleep 4' TERM; while :; do sleep 0.1; done", stopTimeout=9)
    name = stack.create(stack.register(slow, family=family), 2, deploymentConfiguration=configuration)
    stack.completed(name)
    stack.update(name, taskDefinition=stack.register(family=family))

    def over():
        deployments = stack.service(name)["deployments"]
        return deployments[0]["rolloutState"] == "COMPLETED" and deployments

    assert [d["status"] for d in eventually(over)] == ["PRIMARY", "ACTIVE"], "the old tasks are still stopping"
    stack.completed(name)


def test_a_new_deployment_ends_a_roll_back(stack, tmp_path):
    file, family = tmp_path / "healthy", stack.name("ghost")
    file.touch()
    check = {"command": ["CMD-SHELL", f"test -e {file}"], "interval": 5, "startPeriod": 300}
    percents = {**BREAKER, "minimumHealthyPercent": 0, "maximumPercent": 100}
    good = stack.register(stack.container(healthCheck=check), family=family)
    name = stack.create(good, deploymentConfiguration=percents)
    stack.completed(name)

    def history() -> list[str]:
        answer = stack.ecs.list_service_deployments(cluster=stack.cluster, service=name)
        return [deployment["status"] for deployment in answer["serviceDeployments"]]

    file.unlink()  # the roll-back cannot complete
    stack.update(name, taskDefinition=stack.register(stack.container("exit 3"), family=family))
    eventually(lambda: history()[0] == "ROLLBACK_IN_PROGRESS" and len(stack.service(name)["deployments"]) == 1, 30)
    stack.update(name, forceNewDeployment=True)
    assert history() == ["IN_PROGRESS", "STOPPED", "SUCCESSFUL"]
    file.touch()
    stack.completed(name)
    assert history() == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


def test_first_deployment_that_fails_stays_failed_and_starts_nothing_more(stack):
    name = stack.create(stack.register(stack.container(image="busybox:missing")), deploymentConfiguration=BREAKER)
    deployment = eventually(lambda: (d := stack.service(name)["deployments"][0])["rolloutState"] == "FAILED" and d)
    assert deployment["failedTasks"] == 3
    assert deployment["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    time.sleep(0.5)  # long enough for another task to be started wrongly
    assert len(stack.tasks(name, "STOPPED")) == 3
    assert stack.service(name)["runningCount"] == 0
    assert any("unable to place a task" in m and "CannotPullContainerError" in m for m in stack.messages(name))
    stack.update(name, taskDefinition=stack.register())
    stack.completed(name)


def test_crash_loop_without_breaker_is_held_back_longer_and_longer(stack):
    name = stack.create(stack.register(stack.container("exit 1")))
    eventually(lambda: stack.service(name)["deployments"][0]["failedTasks"] >= 7, 30)
    assert stack.service(name)["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert any("unable to consistently start tasks" in message for message in stack.messages(name))
    starts = sorted(task["createdAt"] for task in stack.tasks(name, "STOPPED"))
    # ten AWS seconds after the third failure, then 20, 40, 80; an AWS minute lasts a second here
    for n, seconds in enumerate((10, 20, 40, 80), start=3):
        assert starts[n] - starts[n - 1] > timedelta(seconds=seconds / 60)


def test_failing_health_check_replaces_tasks_and_trips_the_breaker(stack):
    family = stack.name("health")
    check = {"command": ["CMD-SHELL", "test -e /nowhere"], "interval": 5, "retries": 1, "timeout": 2}
    name = stack.create(stack.register(family=family), deploymentConfiguration=BREAKER)
    stack.completed(name)
    # 400 percent: three new tasks at a time, so that three failures take one interval
    bad = stack.register(stack.container(healthCheck=check), family=family)
    percents = {**BREAKER, "maximumPercent": 400, "minimumHealthyPercent": 100}
    stack.update(name, taskDefinition=bad, desiredCount=3, deploymentConfiguration=percents)
    eventually(lambda: any("failed container health checks" in m for m in stack.messages(name)), 30)
    service = stack.completed(name, 30)
    assert service["taskDefinition"].endswith(":1")
    stopped = [task for task in stack.tasks(name, "STOPPED") if task["taskDefinitionArn"] == bad]
    reasons = {task["stoppedReason"] for task in stopped}
    assert "Task failed container health checks" in reasons


def test_a_container_that_was_healthy_and_fails_is_replaced(stack, tmp_path):
    """Each task makes a file of its own that it is healthy by, so that the test decides which of them fails."""
    check = {"command": ["CMD-SHELL", f"test -e {tmp_path}/${{HOME##*/}}"], "interval": 5, "retries": 1}
    script = f"touch {tmp_path}/${{HOME##*/}}; exec sleep 600"
    name = stack.create(stack.register(stack.container(script, healthCheck=check)))
    stack.completed(name)
    first = stack.tasks(name)[0]
    assert first["healthStatus"] == "HEALTHY"
    [file] = tmp_path.iterdir()
    file.unlink()
    stopped = stack.reached(first["taskArn"], "STOPPED", 40)
    assert stopped["stoppedReason"] == "Task failed container health checks"
    assert stopped["healthStatus"] == "UNHEALTHY"
    replaced = eventually(lambda: [t for t in stack.tasks(name) if t["healthStatus"] == "HEALTHY"])
    assert replaced[0]["taskArn"] != first["taskArn"]
    assert [d["rolloutState"] for d in stack.service(name)["deployments"]] == ["COMPLETED"]


def test_rollout_waits_for_the_health_check(stack, tmp_path):
    check = {"command": ["CMD-SHELL", f"test -e {tmp_path}/ok"], "interval": 10, "startPeriod": 300}
    name = stack.create(stack.register(stack.container(healthCheck=check)))
    eventually(lambda: stack.service(name)["runningCount"] == 1)
    assert stack.tasks(name)[0]["healthStatus"] == "UNKNOWN"
    assert stack.service(name)["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    (tmp_path / "ok").touch()
    stack.completed(name)
    assert stack.tasks(name)[0]["containers"][0]["healthStatus"] == "HEALTHY"


def test_capacity_provider_strategy_spreads_tasks(stack):
    strategy = [
        {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 3},
    ]
    name = stack.create(
        stack.register({"name": "main", "image": "busybox", "command": ["sleep", "600"]}),
        5,
        capacityProviderStrategy=strategy,
    )
    eventually(lambda: len(stack.tasks(name)) == 5)
    taken = [task["capacityProviderName"] for task in stack.tasks(name)]
    assert (taken.count("FARGATE"), taken.count("FARGATE_SPOT")) == (2, 3)


def test_tasks_get_the_tags_of_their_service(stack):
    tags = [{"key": "Project", "value": "p"}]
    name = stack.create(stack.register(), propagateTags="SERVICE", enableECSManagedTags=True, tags=tags)
    arn = eventually(lambda: stack.tasks(name))[0]["taskArn"]
    found = {tag["key"]: tag["value"] for tag in stack.task(arn)["tags"]}
    assert found == {"Project": "p", "aws:ecs:clusterName": stack.cluster, "aws:ecs:serviceName": name}


def test_four_tasks_finish_their_work_when_scaled_to_zero(stack):
    script = "trap 'sleep 1.5; echo finished; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    name = stack.create(stack.register(stack.container(script, stopTimeout=20)), 4)
    stack.completed(name)
    arns = [task["taskArn"] for task in stack.tasks(name)]
    for arn in arns:
        eventually(lambda arn=arn: stack.printed(arn))
    stack.update(name, desiredCount=0)
    for arn in arns:
        assert stack.reached(arn, "STOPPED")["containers"][0]["exitCode"] == 0
        assert stack.printed(arn) == ["ready", "finished"]


def test_cpu_and_memory_of_a_service_are_in_cloudwatch(stack):
    name = stack.create(stack.register(stack.container("while :; do :; done")))
    stack.completed(name)
    cloudwatch = stack.sandbox.client("cloudwatch")
    dimensions = [{"Name": "ClusterName", "Value": stack.cluster}, {"Name": "ServiceName", "Value": name}]

    def highest(metric: str) -> float:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/ECS",
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=datetime.now(UTC) - timedelta(minutes=5),
            EndTime=datetime.now(UTC) + timedelta(minutes=5),
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return max((point["Maximum"] for point in points), default=0.0)

    assert eventually(lambda: highest("CPUUtilization") > 50 and highest("CPUUtilization")) <= 100
    assert 0 < highest("MemoryUtilization") < 50  # a shell: 1 to 4 MB of 512


def test_load_balancer_gates_the_rollout_and_is_left_before_the_process_ends(stack):
    elbv2 = stack.sandbox.client("elbv2")
    balancer = elbv2.create_load_balancer(Name=stack.name("lb"), Subnets=stack.subnets)["LoadBalancers"][0]
    group = elbv2.create_target_group(
        Name=stack.name("tg"), Protocol="HTTP", Port=8000, VpcId=stack.vpc, TargetType="ip", HealthCheckPath="/ok",
        HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
    definition = stack.register(
        stack.container(
            "mkdir $HOME/www; echo yes > $HOME/www/ok; exec python3 -m http.server -d $HOME/www -b 127.0.0.1 $PORT",
            environment=[{"name": "PORT", "value": "8000"}],
            portMappings=[{"containerPort": 8000}],
        )
    )
    target = {"targetGroupArn": group, "containerName": "main", "containerPort": 8000}
    elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )  # fmt: skip
    name = stack.create(definition, 2, loadBalancers=[target], healthCheckGracePeriodSeconds=30)
    stack.completed(name, 30)
    health = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert [h["TargetHealth"]["State"] for h in health] == ["healthy", "healthy"]
    ports = {binding["hostPort"] for task in stack.tasks(name) for binding in task["containers"][0]["networkBindings"]}
    assert {h["Target"]["Port"] for h in health} == ports
    assert any(f"registered 1 targets in (target-group {group})" in message for message in stack.messages(name))

    stack.update(name, desiredCount=0)
    eventually(lambda: stack.service(name)["runningCount"] == 0 and not stack.tasks(name), 30)
    eventually(lambda: len(stack.tasks(name, "STOPPED")) == 2)
    eventually(lambda: all(t["lastStatus"] == "STOPPED" for t in stack.tasks(name, "STOPPED")))
    health = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert [h["TargetHealth"]["State"] for h in health if h["TargetHealth"]["State"] != "draining"] == []
    assert any("has begun draining connections on 2 tasks" in message for message in stack.messages(name))
