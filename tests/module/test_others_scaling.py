"""What others got wrong about scaling, log groups and alarms. Other tests name more complaints in their docstrings."""

import pytest
import scaling_services
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nexus_learn.aws.plugins.module_utils import doors
from ansible_collections.nexus_learn.aws.plugins.modules import cloudwatch_log_groups

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
POLICY = {"name": "cpu", "predefined_metric_type": "ECSServiceAverageCPUUtilization", "target_value": 70}
KEY = "arn:aws:kms:us-east-1:123456789012:key/{}1111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def services(sandbox):
    yield from scaling_services.services(sandbox)


@pytest.fixture
def limits(sandbox):
    def of(resource_id):
        scaling = sandbox.client("application-autoscaling")
        [target] = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[resource_id])[
            "ScalableTargets"
        ]
        return target["MinCapacity"], target["MaxCapacity"]

    return of


def scaled(resource_id, least, most, **more):
    target = {"resource_id": resource_id, "min_capacity": least, "max_capacity": most, "policies": [POLICY]}
    return {"targets": [target], "tags": TAGS, **more}


def test_check_mode_registers_and_deletes_nothing(module, services, calls, limits):
    """community.aws.application_autoscaling_policy writes in check mode, both to create and to delete."""
    resource_id = services("o-check")
    calls.clear()
    assert module("application_autoscaling", scaled(resource_id, 0, 6), check=True)["changed"]
    assert calls.writes == []
    module("application_autoscaling", scaled(resource_id, 0, 6))
    calls.clear()
    assert module("application_autoscaling", scaled(resource_id, 0, 6, state="absent"), check=True)["changed"]
    assert calls.writes == []
    assert limits(resource_id) == (0, 6)


def test_limits_become_exactly_what_was_asked_for(module, services, limits):
    """community.aws.application_autoscaling_policy ignores other limits; terraform-aws-modules/terraform-aws-ecs#394
    and #372: the least was silently the desired count."""
    resource_id = services("o-limits")
    module("application_autoscaling", scaled(resource_id, 0, 6))
    changes = module("application_autoscaling", scaled(resource_id, 0, 20))["changes"]
    assert [(c["path"], c["before"], c["after"]) for c in changes] == [("max_capacity", 6, 20)]
    assert limits(resource_id) == (0, 20)


def test_absent_deregisters_the_target(module, services, sandbox):
    """community.aws.application_autoscaling_policy leaves the scalable target behind; aws/copilot-cli#1619: the count
    stays stuck after auto scaling is taken away."""
    resource_id = services("o-absent")
    module("application_autoscaling", scaled(resource_id, 0, 6))
    module("application_autoscaling", scaled(resource_id, 0, 6, state="absent"))
    scaling = sandbox.client("application-autoscaling")
    assert scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[resource_id])["ScalableTargets"] == []


def test_several_policies_with_metric_math_are_no_change_twice(quartet, services):
    """community.aws.application_autoscaling_policy changes a second policy on every run; aws/aws-cdk#20659: target
    tracking refuses metric math."""
    stat = {"metric": {"namespace": "Celery", "metric_name": "QueueLength"}, "stat": "Average"}
    queries = [
        {"id": "waiting", "metric_stat": stat, "return_data": False},
        {"id": "backlog", "expression": "FILL(waiting, 0) / 2"},
    ]
    math = {"name": "math", "target_value": 10, "customized_metric_specification": {"metrics": queries}}
    arguments = scaled(services("o-math"), 0, 3)
    arguments["targets"][0]["policies"] = [POLICY, math]
    quartet("application_autoscaling", arguments)


def test_a_retention_that_aws_does_not_offer_is_refused_before_anything_is_done(module, sandbox):
    """amazon.aws.cloudwatchlogs_log_group deletes the log group when it does not know the retention."""
    module("cloudwatch_log_groups", {"log_groups": [{"name": "/o/kept", "retention_in_days": 14}], "tags": TAGS})
    spec = ArgumentSpecValidator(**doors.full_spec(cloudwatch_log_groups.SPEC))
    wrong = spec.validate({"region": "us-east-1", "log_groups": [{"name": "/o/kept", "retention_in_days": 15}]})
    assert "value of retention_in_days must be one of" in wrong.error_messages[0]
    groups = sandbox.client("logs").describe_log_groups(logGroupNamePrefix="/o/kept")["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [14]


def test_check_mode_changes_no_retention_and_a_run_changes_the_key(module, sandbox, calls):
    """amazon.aws.cloudwatchlogs_log_group changes the retention in check mode, and never another KMS key."""
    logs = sandbox.client("logs")
    before = {"name": "/o/key", "retention_in_days": 14, "kms_key_id": KEY.format(1)}
    after = {"name": "/o/key", "retention_in_days": 30, "kms_key_id": KEY.format(2)}
    module("cloudwatch_log_groups", {"log_groups": [before], "tags": TAGS})
    calls.clear()
    foretold = module("cloudwatch_log_groups", {"log_groups": [after], "tags": TAGS}, check=True)["changes"]
    assert calls.writes == []
    assert module("cloudwatch_log_groups", {"log_groups": [after], "tags": TAGS})["changes"] == foretold
    [group] = logs.describe_log_groups(logGroupNamePrefix="/o/key")["logGroups"]
    assert (group["retentionInDays"], group["kmsKeyId"]) == (30, KEY.format(2))


def test_an_alarm_on_metric_math_is_no_change_twice(quartet):
    """amazon.aws.cloudwatch_metric_alarm changes an alarm on ``metrics`` on every run; amazon.aws#1439 and #1750 are of
    the same kind."""
    stat = {"metric": {"namespace": "AWS/ECS", "metric_name": "CPUUtilization"}, "period": 60, "stat": "Average"}
    alarm = {
        "name": "o-math",
        "metrics": [
            {"id": "cpu", "metric_stat": stat, "return_data": False},
            {"id": "share", "expression": "cpu / 100"},
        ],
        "evaluation_periods": 1,
        "threshold": 1,
        "comparison_operator": "GreaterThanOrEqualToThreshold",
    }
    quartet("cloudwatch_alarms", {"metric_alarms": [alarm], "tags": TAGS})
