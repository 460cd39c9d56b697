"""Application Auto Scaling of the sandbox, through boto3, on ECS services of the sandbox."""

import contextlib
import datetime
import itertools
import json
import time
import urllib.request

import pytest
from botocore.exceptions import ClientError
from ecs_stack import stack_fixture  # noqa: F401 - used as `stack`

CPU = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}}
MEMORY = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageMemoryUtilization"}}
names = (f"scaled-{number}" for number in itertools.count())


def until(check, seconds=20.0):
    """The first true value of check(), which is asked ten times a second."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(0.1)
    return value


class Scaled:
    """One ECS service and the calls that scale it. `.metric` is a metric of its own, which nobody else writes."""

    def __init__(self, sandbox, desired=1, command=("sleep", "3600"), service=None):
        """`service`: (cluster, name) of one that exists, instead of a new one."""
        self.cluster, self.name = service or ("scaling", next(names))
        self.resource = f"service/{self.cluster}/{self.name}"
        self.key = {
            "ServiceNamespace": "ecs",
            "ResourceId": self.resource,
            "ScalableDimension": "ecs:service:DesiredCount",
        }
        self.api = sandbox.client("application-autoscaling")
        self.cloudwatch = sandbox.client("cloudwatch")
        self.ecs = sandbox.client("ecs")
        self.minute = 60 / sandbox.time_scale
        if not service:
            self.create(sandbox, desired, command)

    def create(self, sandbox, desired, command):
        ec2 = sandbox.client("ec2")
        self.ecs.create_cluster(clusterName="scaling")
        self.ecs.register_task_definition(
            family=self.name,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "app", "image": "busybox", "command": list(command), "stopTimeout": 2}],
        )
        self.ecs.create_service(
            cluster="scaling",
            serviceName=self.name,
            taskDefinition=self.name,
            desiredCount=desired,
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
                    "securityGroups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
                }
            },
        )

    def service(self):
        return self.ecs.describe_services(cluster=self.cluster, services=[self.name])["services"][0]

    def desired(self):
        return self.service()["desiredCount"]

    def deployed(self):
        return [d["rolloutState"] for d in self.service()["deployments"]] == ["COMPLETED"]

    def register(self, minimum=1, maximum=10, **more):
        more = {"MinCapacity": minimum, "MaxCapacity": maximum, **more}
        return self.api.register_scalable_target(**self.key, **more)["ScalableTargetARN"]

    def target(self):
        return self.api.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[self.resource])[
            "ScalableTargets"
        ][0]

    def custom(self, metric="Backlog"):
        dimensions = [{"Name": "Cluster", "Value": "scaling"}, {"Name": "Service", "Value": self.name}]
        specification = {"Namespace": "Test", "MetricName": metric, "Dimensions": dimensions, "Statistic": "Average"}
        return {"CustomizedMetricSpecification": specification}

    def track(self, name="track", target=50.0, metric=None, **more):
        configuration = {"TargetValue": target, **(metric or self.custom()), **more}
        return self.api.put_scaling_policy(
            **self.key,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration,
        )

    def feed(self, value, periods=20, metric="Backlog"):
        """One data point in each of the last periods and in the running one."""
        now = time.time()
        data = [
            {
                "MetricName": metric,
                "Dimensions": self.custom()["CustomizedMetricSpecification"]["Dimensions"],
                "Value": value,
                "Timestamp": datetime.datetime.fromtimestamp(now - age * self.minute, datetime.UTC),
            }
            for age in range(periods)
        ]
        self.cloudwatch.put_metric_data(Namespace="Test", MetricData=data)

    def keep(self, check, value=None, seconds=20.0, **metrics):
        """until(check), while the metric goes on having this value, or each of `metrics` its own."""

        def step():
            for metric, current in (metrics or {"Backlog": value}).items():
                self.feed(current, 1, metric)
            return check()

        return until(step, seconds)

    def alarms(self):
        found = self.cloudwatch.describe_alarms(AlarmNamePrefix=f"TargetTracking-{self.resource}-")["MetricAlarms"]
        return {alarm["AlarmName"].split("-Alarm")[1].split("-")[0]: alarm for alarm in found}

    def activities(self, **more):
        return self.api.describe_scaling_activities(ServiceNamespace="ecs", ResourceId=self.resource, **more)[
            "ScalingActivities"
        ]

    def policies(self, **more):
        return self.api.describe_scaling_policies(ServiceNamespace="ecs", **more)["ScalingPolicies"]


@pytest.fixture(scope="module")
def early(sandbox):
    """Services for the tests that wait for a finished deployment: it finishes while other tests run."""
    return {desired: Scaled(sandbox, desired) for desired in (3, 4, 5)}


@pytest.fixture
def scaled(sandbox, early):
    made = []

    def make(deployed=None, **options):
        made.append(early[deployed] if deployed else Scaled(sandbox, **options))
        if deployed:
            until(made[-1].deployed, 30)
        return made[-1]

    yield make
    for one in made:
        if one.api.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[one.resource])["ScalableTargets"]:
            one.api.deregister_scalable_target(**one.key)
        with contextlib.suppress(ClientError):  # a test may have deleted it
            one.ecs.delete_service(cluster=one.cluster, service=one.name, force=True)


def refused(code, call, *arguments, **keywords):
    with pytest.raises(ClientError) as failure:
        call(*arguments, **keywords)
    assert failure.value.response["Error"]["Code"] == code
    return failure.value.response["Error"]["Message"]


# Scalable targets -----------------------------------------------------------------------------------------------------


def test_register_describe_update_deregister(scaled):
    one = scaled(desired=2)
    arn = one.register(1, 5, Tags={"Project": "nexus-learn"})
    target = one.target()
    assert target.pop("CreationTime")
    assert target == {
        **one.key,
        "MinCapacity": 1,
        "MaxCapacity": 5,
        "RoleARN": "arn:aws:iam::123456789012:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/"
        "AWSServiceRoleForApplicationAutoScaling_ECSService",
        "SuspendedState": {
            "DynamicScalingInSuspended": False,
            "DynamicScalingOutSuspended": False,
            "ScheduledScalingSuspended": False,
        },
        "ScalableTargetARN": arn,
    }
    assert one.api.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"Project": "nexus-learn"}
    # An update keeps the ARN and what it does not name.
    suspended = {"SuspendedState": {"DynamicScalingInSuspended": True}}
    assert one.api.register_scalable_target(**one.key, MaxCapacity=7, **suspended)["ScalableTargetARN"] == arn
    target = one.target()
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 7)
    assert target["SuspendedState"]["DynamicScalingInSuspended"] is True
    assert target["SuspendedState"]["DynamicScalingOutSuspended"] is False
    assert one.desired() == 2
    one.api.deregister_scalable_target(**one.key)
    assert "No scalable target found" in refused(
        "ObjectNotFoundException", one.api.deregister_scalable_target, **one.key
    )


def test_desired_count_is_clamped_at_once_and_recorded(scaled):
    one = scaled(desired=2)
    one.register(3, 5)
    assert one.desired() == 3
    one.register(0, 1)
    assert one.desired() == 1
    assert [activity["Cause"] for activity in one.activities()] == [
        "maximum capacity was set to 1",
        "minimum capacity was set to 3",
    ]
    assert one.activities()[0]["Description"] == "Setting desired count to 1."
    until(lambda: one.activities()[0]["StatusCode"] == "Successful")
    assert one.activities()[0]["StatusMessage"] == (
        "Successfully set desired count to 1. Change successfully fulfilled by ecs."
    )


def test_bad_targets_are_refused(scaled):
    one = scaled()
    gone = {**one.key, "ResourceId": "service/scaling/nobody", "MinCapacity": 1, "MaxCapacity": 2}
    message = refused("ValidationException", one.api.register_scalable_target, **gone)
    assert message == "ECS service doesn't exist: service/scaling/nobody"
    gone["ResourceId"] = "service/no-cluster/nobody"
    refused("ValidationException", one.api.register_scalable_target, **gone)
    refused("ValidationException", one.register, 5, 1)
    refused("ValidationException", one.register, -1, 1)
    refused("ValidationException", one.api.register_scalable_target, **one.key, MinCapacity=1)
    other = {**one.key, "ServiceNamespace": "dynamodb", "ScalableDimension": "dynamodb:table:ReadCapacityUnits"}
    refused("ValidationException", one.api.register_scalable_target, **other, MinCapacity=1, MaxCapacity=2)
    assert one.api.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"] == []
    assert not one.api.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[one.resource])["ScalableTargets"]


def test_tags(scaled):
    one = scaled()
    arn = one.register(Tags={"a": "1"})
    one.api.tag_resource(ResourceARN=arn, Tags={"a": "2", "b": "3"})
    one.api.untag_resource(ResourceARN=arn, TagKeys=["b", "unknown"])
    assert one.api.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"a": "2"}
    assert "already exists" in refused("ValidationException", one.register, Tags={"c": "4"})
    refused("ResourceNotFoundException", one.api.list_tags_for_resource, ResourceARN=arn[:-4] + "none")
    many = {f"k{number}": "" for number in range(50)}
    refused("TooManyTagsException", one.api.tag_resource, ResourceARN=arn, Tags=many)


# Policies and alarms --------------------------------------------------------------------------------------------------


def test_target_tracking_makes_honest_alarms_and_an_update_keeps_them(scaled):
    one = scaled()
    one.register()
    made = one.track("cpu", 70.0, CPU, ScaleInCooldown=300, ScaleOutCooldown=60)
    high, low = one.alarms()["High"], one.alarms()["Low"]
    assert {alarm["AlarmName"]: alarm["AlarmARN"] for alarm in made["Alarms"]} == {
        alarm["AlarmName"]: alarm["AlarmArn"] for alarm in (high, low)
    }
    for alarm, comparison, threshold, periods in (
        (high, "GreaterThanThreshold", 70.0, 3),
        (low, "LessThanThreshold", 63.0, 15),
    ):
        assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]) == (threshold, periods, 60)
        assert (alarm["ComparisonOperator"], alarm["Statistic"]) == (comparison, "Average")
        assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/ECS", "CPUUtilization")
        assert alarm["Dimensions"] == [
            {"Name": "ClusterName", "Value": "scaling"},
            {"Name": "ServiceName", "Value": one.name},
        ]
        assert alarm["AlarmActions"][0].startswith(made["PolicyARN"])
        assert made["PolicyARN"] in alarm["AlarmDescription"]
    again = one.track("cpu", 50.0, CPU)
    assert (again["PolicyARN"], again["Alarms"]) == (made["PolicyARN"], made["Alarms"])
    assert one.alarms()["Low"]["Threshold"] == 45.0
    [policy] = one.policies(ResourceId=one.resource)
    assert policy["TargetTrackingScalingPolicyConfiguration"] == {"TargetValue": 50.0, **CPU}
    assert (policy["PolicyName"], policy["PolicyType"], policy["Alarms"]) == (
        "cpu",
        "TargetTrackingScaling",
        made["Alarms"],
    )
    one.track("cpu", 50.0, MEMORY)
    assert one.alarms()["High"]["MetricName"] == "MemoryUtilization"
    assert len(one.alarms()) == 2
    one.api.delete_scaling_policy(**one.key, PolicyName="cpu")
    assert one.alarms() == {}
    refused("ObjectNotFoundException", one.api.delete_scaling_policy, **one.key, PolicyName="cpu")


def test_requests_per_target_and_metric_math_have_their_alarms_too(scaled):
    one = scaled()
    one.register()
    label = "app/lb/1234567890abcdef/targetgroup/tg/abcdef1234567890"
    requests = {"PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": label}
    one.track("alb", 100.0, {"PredefinedMetricSpecification": requests})
    high = one.alarms()["High"]
    assert (high["Namespace"], high["MetricName"], high["Statistic"]) == (
        "AWS/ApplicationELB",
        "RequestCountPerTarget",
        "Sum",
    )
    assert high["Dimensions"] == [
        {"Name": "LoadBalancer", "Value": "app/lb/1234567890abcdef"},
        {"Name": "TargetGroup", "Value": "targetgroup/tg/abcdef1234567890"},
    ]
    one.api.delete_scaling_policy(**one.key, PolicyName="alb")
    stat = {
        "Metric": {"Namespace": "Test", "MetricName": "m", "Dimensions": [{"Name": "Q", "Value": "q"}]},
        "Stat": "Sum",
    }
    queries = [
        {"Id": "m1", "MetricStat": stat, "ReturnData": False},
        {"Id": "e1", "Expression": "m1 / 2", "Label": "half", "ReturnData": True},
    ]
    one.track("math", 10.0, {"CustomizedMetricSpecification": {"Metrics": queries}})
    assert [query["Id"] for query in one.alarms()["High"]["Metrics"]] == ["m1", "e1"]
    stored = one.policies(ResourceId=one.resource)[0]["TargetTrackingScalingPolicyConfiguration"]
    assert stored["CustomizedMetricSpecification"]["Metrics"] == queries


def test_bad_policies_are_refused(scaled):
    one = scaled()
    message = refused("ObjectNotFoundException", one.track)
    assert message == (
        f"No scalable target registered for service namespace: ecs, resource ID: {one.resource}, "
        "scalable dimension: ecs:service:DesiredCount"
    )
    one.register()
    one.track("cpu", metric=CPU)
    duplicate = refused("ValidationException", one.track, "cpu-2", 60.0, CPU)
    assert duplicate == "Only one TargetTrackingScaling policy for a given metric specification is allowed."
    refused("ValidationException", one.track, "both", 60.0, {**CPU, **one.custom()})
    refused("ValidationException", one.track, "none", 0, one.custom())
    refused("ValidationException", one.track, "cooldown", 50.0, one.custom(), ScaleInCooldown=-1)
    rds = {"PredefinedMetricSpecification": {"PredefinedMetricType": "RDSReaderAverageCPUUtilization"}}
    refused("ValidationException", one.track, "rds", 60.0, rds)
    alb = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}}
    refused("ValidationException", one.track, "alb", 60.0, alb)
    refused("ValidationException", one.api.put_scaling_policy, **one.key, PolicyName="empty", PolicyType="StepScaling")
    assert [policy["PolicyName"] for policy in one.policies(ResourceId=one.resource)] == ["cpu"]


def test_policies_are_found_by_exact_resource_and_by_name_and_come_in_pages(scaled):
    """moto takes service/scaling/scaled-1 for service/scaling/scaled-10 and ignores PolicyNames."""
    one = scaled()
    one.register()
    step = {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
    }
    for number in range(12):
        one.api.put_scaling_policy(
            **one.key, PolicyName=f"step-{number}", PolicyType="StepScaling", StepScalingPolicyConfiguration=step
        )
    assert [p["PolicyName"] for p in one.policies(PolicyNames=["step-3", "other"])] == ["step-3"]
    assert one.policies(PolicyNames=["step-3"])[0]["StepScalingPolicyConfiguration"] == step
    assert one.policies(ResourceId=one.resource[:-1]) == []
    assert len(one.policies(ResourceId=one.resource)) == 10  # AWS's page
    paginator = one.api.get_paginator("describe_scaling_policies")
    for size in (None, 5, 1):
        pages = paginator.paginate(ServiceNamespace="ecs", ResourceId=one.resource, PaginationConfig={"PageSize": size})
        found = [policy["PolicyName"] for page in pages for policy in page["ScalingPolicies"]]
        assert found == [f"step-{number}" for number in range(12)]
    refused("InvalidNextTokenException", one.policies, NextToken="nonsense")
    refused("ValidationException", one.policies, MaxResults=51)


def test_targets_come_in_pages(scaled):
    some = [scaled(desired=0) for _ in range(3)]
    for one in some:
        one.register(0, 1)
    pages = (
        some[0]
        .api.get_paginator("describe_scalable_targets")
        .paginate(ServiceNamespace="ecs", ResourceIds=[one.resource for one in some], PaginationConfig={"PageSize": 2})
    )
    sizes = [len(page["ScalableTargets"]) for page in pages]
    assert sizes == [2, 1]


def test_deregistering_takes_policies_actions_and_alarms_along(scaled):
    one = scaled()
    one.register(2, 4)
    one.track("cpu", metric=CPU)
    one.api.put_scheduled_action(
        **one.key, ScheduledActionName="night", Schedule="cron(0 22 * * ? *)", ScalableTargetAction={"MaxCapacity": 1}
    )
    one.api.deregister_scalable_target(**one.key)
    assert one.policies(ResourceId=one.resource) == []
    assert one.alarms() == {}
    actions = one.api.describe_scheduled_actions(ServiceNamespace="ecs", ResourceId=one.resource)
    assert actions["ScheduledActions"] == []
    assert one.desired() == 2
    assert one.activities()  # history stays, for six weeks on AWS


def test_scheduled_actions_are_kept(scaled):
    one = scaled()
    action = {
        "ScheduledActionName": "night",
        "Schedule": "cron(0 22 * * ? *)",
        "ScalableTargetAction": {"MaxCapacity": 1},
    }
    refused("ObjectNotFoundException", one.api.put_scheduled_action, **one.key, **action)
    one.register()
    for wrong in (
        {"Schedule": "every night"},
        {"Schedule": "cron(0 22 * * * *)"},
        {"Schedule": "cron(60 22 * * ? *)"},
        {"Timezone": "Mars/Phobos"},
        {"ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 1}},
    ):
        refused("ValidationException", one.api.put_scheduled_action, **one.key, **{**action, **wrong})
    one.api.put_scheduled_action(**one.key, **action, Timezone="Europe/Paris")
    one.api.put_scheduled_action(**one.key, ScheduledActionName="night", ScalableTargetAction={"MaxCapacity": 2})
    [found] = one.api.describe_scheduled_actions(
        ServiceNamespace="ecs", ResourceId=one.resource, ScheduledActionNames=["night"]
    )["ScheduledActions"]
    assert found["ScheduledActionARN"].endswith(f"resource/ecs/{one.resource}:scheduledActionName/night")
    assert found["CreationTime"]
    assert (found["Schedule"], found["Timezone"]) == ("cron(0 22 * * ? *)", "Europe/Paris")
    assert found["ScalableTargetAction"] == {"MaxCapacity": 2}
    one.api.delete_scheduled_action(**one.key, ScheduledActionName="night")
    refused("ObjectNotFoundException", one.api.delete_scheduled_action, **one.key, ScheduledActionName="night")


def test_step_and_predictive_policies_are_kept(scaled):
    one = scaled()
    one.register()
    steps = {
        "AdjustmentType": "PercentChangeInCapacity",
        "StepAdjustments": [
            {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 10.0, "ScalingAdjustment": 10},
            {"MetricIntervalLowerBound": 10.0, "ScalingAdjustment": 30},
        ],
        "MinAdjustmentMagnitude": 2,
        "Cooldown": 60,
        "MetricAggregationType": "Maximum",
    }
    put = {"PolicyName": "step", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": steps}
    one.api.put_scaling_policy(**one.key, **put)
    gap, bounded, twice = (
        [{"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 1, "ScalingAdjustment": 1}, last]
        for last in (
            {"MetricIntervalLowerBound": 2, "ScalingAdjustment": 2},
            {"MetricIntervalLowerBound": 1, "MetricIntervalUpperBound": 2, "ScalingAdjustment": 2},
            {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 2},
        )
    )
    for wrong in (gap, bounded, twice):
        configuration = {**steps, "StepAdjustments": wrong}
        refused(
            "ValidationException",
            one.api.put_scaling_policy,
            **one.key,
            **{**put, "StepScalingPolicyConfiguration": configuration},
        )
    pair = {"PredefinedMetricType": "ECSServiceCPUUtilization"}
    forecast = {
        "MetricSpecifications": [{"TargetValue": 40.0, "PredefinedMetricPairSpecification": pair}],
        "Mode": "ForecastOnly",
    }
    put = {"PolicyName": "forecast", "PolicyType": "PredictiveScaling"}
    one.api.put_scaling_policy(**one.key, **put, PredictiveScalingPolicyConfiguration=forecast)
    wrong = {**forecast, "MaxCapacityBreachBehavior": "IncreaseMaxCapacity"}
    refused(
        "ValidationException", one.api.put_scaling_policy, **one.key, **put, PredictiveScalingPolicyConfiguration=wrong
    )
    found = {policy["PolicyName"]: policy for policy in one.policies(ResourceId=one.resource)}
    assert found["step"]["StepScalingPolicyConfiguration"] == steps
    assert found["forecast"]["PredictiveScalingPolicyConfiguration"] == forecast
    assert [found[name]["Alarms"] for name in ("step", "forecast")] == [[], []]


# The evaluator acts ---------------------------------------------------------------------------------------------------


def test_scales_out_proportionally_up_to_the_maximum_and_says_why_not_further(scaled):
    one = scaled(desired=2)
    one.register(1, 7)
    one.track(target=50.0, ScaleOutCooldown=60)
    one.feed(100.0)
    one.keep(lambda: one.desired() >= 4, 100.0)
    activity = one.activities()[-1]
    alarm = one.alarms()["High"]
    assert activity["Cause"] == f"monitor alarm {alarm['AlarmName']} in state ALARM triggered policy track"
    assert activity["Description"] == "Setting desired count to 4."
    assert alarm["StateValue"] == "ALARM"
    assert alarm["StateReason"].startswith("Threshold Crossed: 3 out of the last 3 datapoints [100.0, 100.0, 100.0]")
    assert json.loads(alarm["StateReasonData"])["threshold"] == 50.0
    one.keep(lambda: one.desired() == 7, 100.0)  # 8 would be proportional
    assert one.alarms()["Low"]["StateValue"] == "OK"
    reasons = one.keep(
        lambda: [a for a in one.activities(IncludeNotScaledActivities=True) if "NotScaledReasons" in a], 100.0
    )
    assert reasons[0]["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 7}]
    assert reasons[0]["StatusCode"] == "Failed"
    until(lambda: one.activities()[0]["StatusCode"] == "Successful")
    assert all("NotScaledReasons" not in a for a in one.activities())
    assert [a["StatusCode"] for a in one.activities() if a["StatusCode"] == "InProgress"] == []


def test_scales_in_after_fifteen_low_points_and_not_below_the_minimum(scaled):
    one = scaled(deployed=5)
    one.register(2, 7)
    one.track(target=50.0, ScaleInCooldown=60)
    one.feed(1.0)
    one.keep(lambda: one.desired() == 2, 1.0)
    low = one.alarms()["Low"]
    assert low["StateReason"].startswith("Threshold Crossed: 15 out of the last 15 datapoints [1.0, 1.0, ")
    assert one.activities()[0]["Cause"] == (f"monitor alarm {low['AlarmName']} in state ALARM triggered policy track")
    reasons = one.keep(
        lambda: [a for a in one.activities(IncludeNotScaledActivities=True) if "NotScaledReasons" in a], 1.0
    )
    assert reasons[0]["NotScaledReasons"] == [{"Code": "AlreadyAtMinCapacity", "MinCapacity": 2}]


def test_the_default_cooldown_of_five_minutes_holds_a_second_scale_out_back(scaled):
    one = scaled(desired=1)
    one.register(1, 4)
    one.track(target=50.0)
    one.feed(100.0)
    one.keep(lambda: one.desired() == 4, 100.0)
    second, first = one.activities()
    assert [second["Description"], first["Description"]] == [f"Setting desired count to {n}." for n in (4, 2)]
    # without a cooldown it would be the next minute's doing; the evaluator's own tests know the five exactly
    assert (second["StartTime"] - first["StartTime"]).total_seconds() > 2 * one.minute


def test_scale_in_waits_until_all_policies_agree(scaled):
    one = scaled(deployed=4)
    one.register(1, 6)
    one.track("a", 50.0, one.custom("A"))
    one.track("b", 50.0, one.custom("B"))
    one.feed(1.0, metric="A")
    one.feed(48.0, metric="B")
    one.keep(lambda: "ALARM" in states(one, "A"), A=1.0, B=48.0)
    ticks(one, 3)
    assert one.desired() == 4
    one.track("b", 50.0, one.custom("B"), DisableScaleIn=True)  # now it has no say
    one.keep(lambda: one.desired() == 1, A=1.0, B=48.0)


def states(one, metric):
    """States of the two alarms on a metric."""
    found = one.cloudwatch.describe_alarms(AlarmNamePrefix=f"TargetTracking-{one.resource}-")["MetricAlarms"]
    return [alarm["StateValue"] for alarm in found if alarm["MetricName"] == metric]


def ticks(one, count):
    """Let the evaluator look `count` times and more: nothing is decided by this wait but that nothing happens."""
    time.sleep(count * one.minute)


def test_suspended_scaling_does_nothing_until_it_is_resumed(scaled):
    one = scaled(desired=1)
    one.register(1, 4, SuspendedState={"DynamicScalingOutSuspended": True})
    one.track()
    one.feed(100.0)
    one.keep(lambda: one.alarms()["High"]["StateValue"] == "ALARM", 100.0)
    ticks(one, 2)
    assert one.desired() == 1
    one.register(1, 4, SuspendedState={"DynamicScalingOutSuspended": False})
    one.keep(lambda: one.desired() >= 2, 100.0)


def test_without_data_nothing_happens(scaled):
    one = scaled(desired=3)
    one.register(1, 9)
    one.track()
    ticks(one, 3)
    assert {alarm["StateValue"] for alarm in one.alarms().values()} == {"INSUFFICIENT_DATA"}
    assert one.desired() == 3
    assert one.activities(IncludeNotScaledActivities=True) == []


def test_scale_in_waits_for_a_deployment_and_scale_out_does_not(scaled):
    one = scaled(deployed=3)
    one.register(1, 6)
    one.track(ScaleInCooldown=0, ScaleOutCooldown=0)
    one.ecs.register_task_definition(
        family=one.name,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[
            {
                "name": "app",
                "image": "busybox",
                "command": ["sleep", "3600"],
                "stopTimeout": 2,
                "healthCheck": {"command": ["CMD-SHELL", "exit 1"], "interval": 30, "startPeriod": 300},
            }
        ],
    )  # never healthy, so its deployment goes on
    one.ecs.update_service(cluster="scaling", service=one.name, taskDefinition=one.name)
    assert not one.deployed()
    one.feed(1.0)
    one.keep(lambda: one.alarms()["Low"]["StateValue"] == "ALARM", 1.0)
    ticks(one, 2)
    assert one.desired() == 3
    one.feed(70.0)
    one.keep(lambda: one.desired() > 3, 200.0)


def test_a_deleted_service_keeps_its_target_and_scaling_it_fails(scaled):
    one = scaled(desired=1)
    one.register(1, 4)
    one.track()
    one.ecs.delete_service(cluster="scaling", service=one.name, force=True)
    one.feed(100.0)
    [activity] = one.keep(lambda: [a for a in one.activities() if a["StatusCode"] == "Failed"][:1], 100.0)
    assert activity["StatusMessage"].startswith("Failed to set desired count to ")
    assert one.target()["MaxCapacity"] == 4


def test_metric_math_scales(scaled):
    """Backlog per task, as the queue-delay recipes do it."""
    one = scaled(desired=1)
    one.register(1, 3)
    custom = one.custom()["CustomizedMetricSpecification"]
    stat = {"Stat": custom.pop("Statistic"), "Metric": custom}
    queries = [
        {"Id": "backlog", "MetricStat": stat, "ReturnData": False},
        {"Id": "each", "Expression": "backlog / MAX([FILL(backlog, 0) * 0, 2])", "ReturnData": True},
    ]
    one.track("math", 10.0, {"CustomizedMetricSpecification": {"Metrics": queries}})
    one.feed(60.0)
    one.keep(lambda: one.desired() == 3, 60.0)  # 60 / 2 is three times the target


def test_a_step_policy_scales_when_its_alarm_rings_and_as_far_as_its_step_says(scaled):
    one = scaled(desired=1)
    one.register(1, 9)
    steps = [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 100, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 100, "ScalingAdjustment": 3},
    ]
    policy = one.api.put_scaling_policy(
        **one.key,
        PolicyName="step",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": steps,
            "Cooldown": 86400,
        },
    )["PolicyARN"]
    metric = one.custom()["CustomizedMetricSpecification"]
    alarm = {
        "AlarmName": one.name,
        **{key: metric[key] for key in ("Namespace", "MetricName", "Dimensions", "Statistic")},
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 50.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    }
    one.cloudwatch.put_metric_alarm(**alarm, AlarmActions=[policy], ActionsEnabled=False)
    one.keep(lambda: one.cloudwatch.describe_alarms(AlarmNames=[one.name], StateValue="ALARM")["MetricAlarms"], 200.0)
    ticks(one, 2)
    assert one.desired() == 1
    one.cloudwatch.put_metric_alarm(**alarm, AlarmActions=[policy])
    one.keep(lambda: one.desired() == 4, 200.0)
    assert one.activities()[0]["Cause"] == f"monitor alarm {one.name} in state ALARM triggered policy step"
    one.feed(200.0)
    ticks(one, 2)
    assert one.desired() == 4  # of the three tasks that the step asks for, all are under way
    one.cloudwatch.delete_alarms(AlarmNames=[one.name])


def test_scheduled_actions_set_the_limits_when_their_time_has_come(scaled):
    one = scaled(desired=2)
    one.register(1, 5, SuspendedState={"ScheduledScalingSuspended": True})
    every_minute = {"ScheduledActionName": "out", "Schedule": "cron(* * * * ? *)", "Timezone": "Europe/Berlin"}
    one.api.put_scheduled_action(**one.key, **every_minute, ScalableTargetAction={"MinCapacity": 3})
    past, future = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2020, 2099))
    early = {"ScheduledActionName": "early", "Schedule": "rate(1 minute)", "StartTime": future}
    one.api.put_scheduled_action(**one.key, **early, ScalableTargetAction={"MinCapacity": 4})
    over = {"ScheduledActionName": "over", "Schedule": "rate(1 minute)", "EndTime": past}
    one.api.put_scheduled_action(**one.key, **over, ScalableTargetAction={"MinCapacity": 5})
    ticks(one, 3)
    assert (one.target()["MinCapacity"], one.desired()) == (1, 2)
    one.api.register_scalable_target(**one.key, SuspendedState={"ScheduledScalingSuspended": False})
    until(lambda: one.desired() == 3)
    assert (one.target()["MinCapacity"], one.target()["MaxCapacity"]) == (3, 5)
    cause = "scheduled action name out was triggered"
    activity = next(activity for activity in one.activities() if activity["Cause"] == cause)
    assert activity["StatusMessage"] == "Successfully set minimum capacity to 3"


def test_a_task_that_burns_cpu_is_joined_by_others(scaled):
    """No metric of the test's own here: real processes, measured by the sandbox."""
    one = scaled(desired=1, command=("sh", "-c", "while :; do :; done"))
    one.register(1, 2)
    one.track("cpu", 40.0, CPU)
    until(lambda: one.desired() == 2, 40)
    until(lambda: one.service()["runningCount"] == 2)


def test_requests_through_the_load_balancer_scale_a_service_out(scaled, stack):
    """No metric of the test's own here either: the load balancer counts, the policy names both of its dimensions."""
    elbv2 = stack.sandbox.client("elbv2")
    balancer = elbv2.create_load_balancer(Name="scaling", Subnets=stack.subnets)["LoadBalancers"][0]
    group = elbv2.create_target_group(
        Name="scaling", Protocol="HTTP", Port=8000, VpcId=stack.vpc, TargetType="ip"
    )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
    elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )  # fmt: skip
    definition = stack.register(
        stack.container(
            "exec python3 -m http.server -d $HOME -b 127.0.0.1 $PORT",
            environment=[{"name": "PORT", "value": "8000"}],
            portMappings=[{"containerPort": 8000}],
        )
    )
    target = {"targetGroupArn": group, "containerName": "main", "containerPort": 8000}
    name = stack.create(definition, loadBalancers=[target], healthCheckGracePeriodSeconds=300)
    stack.completed(name, 60)
    one = scaled(service=(stack.cluster, name))
    one.register(1, 2)
    label = (balancer["LoadBalancerArn"].partition(":loadbalancer/")[2], group.rpartition(":")[2])
    requests = {"PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": "/".join(label)}
    one.track("requests", 1.0, {"PredefinedMetricSpecification": requests})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def burst():
        for _ in range(5):
            direct.open(f"http://{balancer['DNSName']}/", timeout=20).read()
        return one.desired() == 2

    until(burst, 60)
    assert one.activities()[0]["Cause"].endswith("in state ALARM triggered policy requests")


# Metrics --------------------------------------------------------------------------------------------------------------


def test_cloudwatch_tells_metrics_apart_by_all_their_dimensions(scaled):
    """moto 5.2.5 lists a metric of two dimensions once per data point, and mixes a cluster's with its services'."""
    cloudwatch = scaled(desired=0).cloudwatch
    namespace = f"Apart/{next(names)}"
    cluster, service = {"Name": "ClusterName", "Value": "c"}, {"Name": "ServiceName", "Value": "s"}
    minute = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0) - datetime.timedelta(minutes=5)
    for second, value in ((1, 10.0), (31, 30.0), (61, 50.0)):
        time_ = minute + datetime.timedelta(seconds=second)
        for dimensions, plus in (([cluster], 1000.0), ([cluster, service], 0.0)):
            datum = {"MetricName": "m", "Dimensions": dimensions, "Value": value + plus, "Timestamp": time_}
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])
    listed = cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
    assert sorted(len(metric["Dimensions"]) for metric in listed) == [1, 2]
    span = {"StartTime": minute, "EndTime": minute + datetime.timedelta(minutes=3)}
    points = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName="m",
        Dimensions=[service, cluster],
        Period=60,
        Statistics=["Average", "Maximum"],
        **span,
    )["Datapoints"]
    assert [(p["Timestamp"], p["Average"], p["Maximum"]) for p in points] == [
        (minute, 20.0, 30.0),
        (minute + datetime.timedelta(minutes=1), 50.0, 50.0),
    ]
    metric = {"Namespace": namespace, "MetricName": "m", "Dimensions": [service, cluster]}
    results = cloudwatch.get_metric_data(
        MetricDataQueries=[
            {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}},
            {"Id": "p", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "p50"}, "ReturnData": False},
            {"Id": "e1", "Expression": "m1 / 10", "Label": "tenth"},
        ],
        ScanBy="TimestampAscending",
        **span,
    )["MetricDataResults"]
    assert [(r["Id"], r["Label"], r["Values"]) for r in results] == [
        ("m1", "m Sum", [40.0, 50.0]),
        ("e1", "tenth", [4.0, 5.0]),
    ]


def test_the_sandbox_publishes_what_its_tasks_use(scaled):
    one = scaled(desired=1, command=("sh", "-c", "while :; do :; done"))
    dimensions = [{"Name": "ClusterName", "Value": "scaling"}, {"Name": "ServiceName", "Value": one.name}]

    def average(name):
        now = datetime.datetime.now(datetime.UTC)
        points = one.cloudwatch.get_metric_statistics(
            Namespace="AWS/ECS",
            MetricName=name,
            Dimensions=dimensions,
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=1),
            Period=3600,
            Statistics=["Average"],
            Unit="Percent",
        )["Datapoints"]
        return points and points[0]["Average"]

    until(lambda: (average("CPUUtilization") or 0) > 10)
    assert 0 < until(lambda: average("MemoryUtilization")) < 50
    listed = one.cloudwatch.list_metrics(Namespace="AWS/ECS", Dimensions=dimensions)["Metrics"]
    assert sorted(metric["MetricName"] for metric in listed) == ["CPUUtilization", "MemoryUtilization"]


# Contact points with moto ---------------------------------------------------------------------------------------------


def test_contact_points_with_moto_are_where_they_were():
    """What sandbox.autoscaling takes from moto 5.2.5; a failure here says what a new moto has moved."""
    import inspect

    from moto.applicationautoscaling import urls
    from moto.cloudwatch import models
    from moto.core.responses import BaseResponse

    assert list(urls.url_paths) == ["{0}/$"]
    assert callable(models.are_dimensions_same)
    backend = models.CloudWatchBackend("us-east-1", "123456789012")
    assert backend.metric_data == []
    parameters = inspect.signature(models.CloudWatchBackend.put_metric_alarm).parameters
    assert {"name", "treat_missing_data", "alarm_actions", "metric_data_queries", "threshold"} <= parameters.keys()
    assert list(inspect.signature(models.Alarm.update_state).parameters) == [
        "self",
        "reason",
        "reason_data",
        "state_value",
    ]
    assert [*inspect.signature(models.MetricDataQuery).parameters] == [
        "query_id",
        "label",
        "period",
        "return_data",
        "expression",
        "metric_stat",
    ]
    assert hasattr(BaseResponse(service_name="application-autoscaling"), "automated_parameter_parsing")
