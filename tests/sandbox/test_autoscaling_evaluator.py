"""What auto scaling decides, on generated situations."""

import datetime
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sandbox.autoscaling import evaluator as ev
from sandbox.autoscaling import metrics, schedules
from sandbox.autoscaling.evaluator import (
    ALARM,
    INSUFFICIENT_DATA,
    OK,
    Cooldown,
    Reading,
    Situation,
    alarm_state,
    decide,
)

X, O, _ = 1.0, 0.0, None  # noqa: E741 - the letters of CloudWatch's own table: breaching, not breaching, missing
states = st.sampled_from([OK, ALARM, INSUFFICIENT_DATA])


def over(value: float) -> bool:
    return value > 0.5


@pytest.mark.parametrize(
    ("points", "state"),
    [
        ([O, _, X, _, X], OK),
        ([_, _, _, _, O], OK),
        ([_, _, _, _, _], INSUFFICIENT_DATA),
        ([O, X, X, _, X], ALARM),
        ([_, _, X, _, _], ALARM),
        ([_, _, _, _, X], OK),  # one point that has just come alarms nobody
        ([_, _, _, X, X], OK),
        ([X, X, O, X, X], OK),
        ([O, O, X, X, X], ALARM),
    ],
)
def test_alarm_state_is_that_of_cloudwatchs_table(points, state):
    assert alarm_state(points, 3, over) == state


@given(st.lists(st.sampled_from([X, O, _]), min_size=17, max_size=17))
def test_an_alarm_needs_all_its_points_to_breach(points):
    state = alarm_state(points, 15, over)
    present = [point for point in points if point is not None]
    assert (state == INSUFFICIENT_DATA) == (not present)
    if state == ALARM:
        assert set(present[-15:]) == {X}
    if len(present) >= 15:
        assert (state == ALARM) == (set(present[-15:]) == {X})


@st.composite
def readings(draw):
    return [
        Reading(
            policy=f"p{number}",
            target=draw(st.floats(1, 1000)),
            high=draw(states),
            low=draw(states),
            value=draw(st.floats(0, 5000)),
            peak=draw(st.floats(0, 5000)),
            scale_in=draw(st.booleans()),
            out_cooldown=draw(st.floats(0, 600)),
            in_cooldown=draw(st.floats(0, 600)),
        )
        for number in range(draw(st.integers(1, 4)))
    ]


@st.composite
def situations(draw):
    minimum = draw(st.integers(0, 20))
    return Situation(
        current=draw(st.integers(0, 60)),
        minimum=minimum,
        maximum=minimum + draw(st.integers(0, 30)),
        deploying=draw(st.booleans()),
        out_suspended=draw(st.booleans()),
        in_suspended=draw(st.booleans()),
    )


cooldowns = st.builds(Cooldown, st.floats(-100, 1000), st.integers(0, 60), st.integers(0, 60), st.floats(-100, 1000))


@given(situations(), readings(), cooldowns, st.floats(0, 900))
def test_every_decision_keeps_the_promises(situation, some, cooldown, now):
    decision = decide(situation, some, cooldown, now)
    highs = [reading for reading in some if reading.high == ALARM]
    voters = [reading for reading in some if reading.scale_in]
    if decision is None:
        return
    assert (decision.desired is None) != (decision.reason is None)
    if decision.direction == "out":
        assert highs
        assert not situation.out_suspended
    else:
        assert not highs
        assert not situation.in_suspended
        assert not situation.deploying
        assert voters
        assert all(reading.low == ALARM for reading in voters)
        assert now >= cooldown.in_until
    if decision.desired is not None:
        assert situation.minimum <= decision.desired <= situation.maximum
        if decision.direction == "out":
            assert decision.desired > situation.current
            assert now >= cooldown.out_until or decision.desired > cooldown.out_to
            assert decision.cooldown.in_until == -math.inf
        else:
            assert decision.desired < situation.current
            assert decision.cooldown.out_until == cooldown.out_until


@given(situations(), readings(), st.floats(0, 900))
def test_nothing_is_forgotten_without_a_cooldown(situation, some, now):
    """The other direction: what may scale, does, or says why not."""
    decision = decide(situation, some, Cooldown(), now)
    voters = [reading for reading in some if reading.scale_in]
    if any(reading.high == ALARM for reading in some):
        assert (decision is None) == situation.out_suspended
    elif voters and all(reading.low == ALARM for reading in voters):
        assert (decision is None) == (situation.in_suspended or situation.deploying)
    else:
        assert decision is None


@given(st.integers(1, 50), st.floats(1, 100), st.floats(1.01, 10))
def test_scale_out_is_proportional(current, target, excess):
    decision = decide(Situation(current, 0, 10_000), [Reading("p", target, ALARM, OK, target * excess)], Cooldown(), 0)
    assert decision.desired == math.ceil(current * excess - 1e-6) or math.isclose(
        decision.desired, current * excess, abs_tol=1
    )
    assert decision.desired > current


@given(st.integers(1, 50), st.floats(1, 100), st.floats(0, 0.89))
def test_scale_in_never_leaves_more_than_the_target_per_task(current, target, share):
    decision = decide(Situation(current, 0, 100), [Reading("p", target, OK, ALARM, 0.0, target * share)], Cooldown(), 0)
    if decision.desired is None:
        assert decision.reason == "AlreadyAtDesiredCapacity"
    elif decision.desired:
        assert current * target * share / decision.desired <= target * (1 + 1e-6)


def test_the_largest_scale_out_wins_and_the_most_careful_scale_in():
    out = [Reading("cpu", 50, ALARM, OK, 75), Reading("memory", 50, ALARM, OK, 150)]
    assert decide(Situation(2, 1, 10), out, Cooldown(), 0).desired == 6
    inward = [Reading("cpu", 50, OK, ALARM, 5, 10), Reading("memory", 50, OK, ALARM, 5, 30)]
    decision = decide(Situation(5, 1, 10), inward, Cooldown(), 0)
    assert (decision.desired, decision.policy) == (3, "memory")


def test_one_policy_that_does_not_agree_or_has_no_data_stops_scale_in_unless_it_may_not_scale_in():
    calm = Reading("cpu", 50, OK, ALARM, 5, 10)
    for state in (OK, INSUFFICIENT_DATA):
        other = Reading("memory", 50, OK, state, 48, 48)
        assert decide(Situation(5, 1, 10), [calm, other], Cooldown(), 0) is None
        disabled = Reading("memory", 50, OK, state, 48, 48, scale_in=False)
        assert decide(Situation(5, 1, 10), [calm, disabled], Cooldown(), 0).desired == 1


def test_scale_out_cooldown_lets_only_a_larger_scale_out_pass():
    first = decide(Situation(2, 1, 20), [Reading("p", 50, ALARM, OK, 100, out_cooldown=300)], Cooldown(), 0)
    assert first.desired == 4
    same = [Reading("p", 50, ALARM, OK, 100)]
    assert decide(Situation(4, 1, 20), same, first.cooldown, 299) is None  # counted from the 2 tasks there were
    larger = decide(Situation(4, 1, 20), [Reading("p", 50, ALARM, OK, 150)], first.cooldown, 299)
    assert larger.desired == 6
    assert decide(Situation(4, 1, 20), same, first.cooldown, 301).desired == 8


def test_scale_in_waits_for_its_cooldown_and_scale_out_ends_that():
    calm = [Reading("p", 50, OK, ALARM, 10, 30, in_cooldown=300)]
    first = decide(Situation(10, 1, 20), calm, Cooldown(), 0)
    assert first.desired == 6
    assert decide(Situation(6, 1, 20), calm, first.cooldown, 299) is None
    out = decide(Situation(6, 1, 20), [Reading("p", 50, ALARM, OK, 100, out_cooldown=0)], first.cooldown, 10)
    assert out.desired == 12
    assert decide(Situation(12, 1, 20), calm, out.cooldown, 11).desired == 8


def test_a_desired_count_outside_the_limits_is_brought_back_by_the_next_activity_of_its_direction():
    high, low = [Reading("p", 50, ALARM, OK, 51)], [Reading("p", 50, OK, ALARM, 44, 44)]
    assert decide(Situation(1, 4, 9), high, Cooldown(), 0).desired == 4
    assert decide(Situation(12, 4, 9), low, Cooldown(), 0).desired == 9
    assert decide(Situation(12, 4, 9), high, Cooldown(), 0).reason == "AlreadyAtMaxCapacity"
    assert decide(Situation(1, 4, 9), low, Cooldown(), 0).reason == "AlreadyAtMinCapacity"


class Datum:
    def __init__(self, value, timestamp, name="m", dimensions=(("A", "1"), ("B", "2")), unit="Percent"):
        from datetime import UTC, datetime
        from types import SimpleNamespace

        self.namespace, self.name, self.value, self.unit = "N", name, value, unit
        self.dimensions = [SimpleNamespace(name=key, value=text) for key, text in dimensions]
        self.timestamp = datetime.fromtimestamp(timestamp, UTC)


M = metrics.Metric("N", "m", frozenset({("A", "1"), ("B", "2")}))


def test_periods_hold_what_was_measured_in_them_and_the_unfinished_one_is_left_out():
    data = [Datum(10, 60), Datum(30, 119.9), Datum(50, 180), Datum(99, 240), Datum(7, 59.9)]
    assert metrics.read(data, {M}, 60, 245, 3)[M] == [20.0, None, 50.0]


def test_only_all_dimensions_together_name_a_metric():
    data = [
        Datum(1, 60, dimensions=[("A", "1")]),
        Datum(2, 60, dimensions=[("B", "2"), ("A", "1")]),
        Datum(3, 60, name="n"),
    ]
    assert metrics.read(data, {M}, 60, 120, 1)[M] == [2.0]


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), max_size=40), st.floats(1, 120))
def test_no_point_is_lost_or_counted_twice(points, period):
    assume(all(time // period < 999 // period for time, _ in points))
    count = int(999 // period) + 1
    totals = metrics.Metric("N", "m", M.dimensions, "SampleCount")
    series = metrics.read([Datum(v, t) for t, v in points], {totals}, period, period * (999 // period), count)[totals]
    assert sum(value or 0 for value in series) == len(points)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("a / b", [2.0, None, None]),
        ("(a + b) * 2 - 1", [29.0, None, 5.0]),
        ("FILL(b, 4)", [5.0, 4.0, 0.0]),
        ("FILL(b, REPEAT)", [5.0, 5.0, 0.0]),
        ("MAX([a, b])", [10.0, 6.0, 3.0]),
        ("MIN([a, 4])", [4.0, 4.0, 3.0]),
        ("a / MAX([FILL(b, 0), 1])", [2.0, 6.0, 3.0]),
        ("SUM(a)", [19.0, 19.0, 19.0]),
        ("a^2", [100.0, 36.0, 9.0]),
        ("(0 - a)^0.5", [None, None, None]),
        ("a^999", [None, None, None]),
    ],
)
def test_metric_math(expression, values):
    assert metrics.evaluate(expression, {"a": [10.0, 6.0, 3.0], "b": [5.0, None, 0.0]}, 3) == values


@pytest.mark.parametrize(
    "expression", ["a +", "c", "open('x')", "a.b", "ANOMALY_DETECTION_BAND(a)", "a if b else 1", ""]
)
def test_other_expressions_are_refused(expression):
    with pytest.raises(metrics.ExpressionError):
        metrics.evaluate(expression, {"a": [1.0], "b": [2.0]}, 1)


def test_queries_resolve_in_any_order_and_a_missing_one_is_named():
    a = metrics.Metric("N", "m", frozenset())
    queries = [{"id": "e", "expression": "a * 2", "returned": True}, {"id": "a", "metric": a, "returned": False}]
    assert metrics.series_of(queries, {a: [1.0, None]}, 2) == [2.0, None]
    with pytest.raises(metrics.ExpressionError):
        metrics.series_of(queries[:1], {}, 2)


def test_the_evaluator_needs_what_the_alarms_say():
    from sandbox.autoscaling.alarms import SIDES, threshold

    assert SIDES["High"][1] == ev.PERIODS_HIGH == 3
    assert SIDES["Low"][1] == ev.PERIODS_LOW == 15
    assert threshold(70.0, "High") == 70.0
    assert threshold(70.0, "Low") == 63.0


# Step scaling and schedules -------------------------------------------------------------------------------------------

STEPS = [
    {"MetricIntervalUpperBound": -10, "ScalingAdjustment": -30},
    {"MetricIntervalLowerBound": -10, "MetricIntervalUpperBound": 0, "ScalingAdjustment": -10},
    {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 10},
    {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 30},
]


@pytest.mark.parametrize(
    ("kind", "distance", "above", "more", "expected"),
    [
        ("PercentChangeInCapacity", 0, True, {}, 11),
        ("PercentChangeInCapacity", 10, True, {}, 13),
        ("PercentChangeInCapacity", 10, True, {"MinAdjustmentMagnitude": 5}, 15),
        ("PercentChangeInCapacity", 0, False, {}, 9),
        ("PercentChangeInCapacity", -10, False, {}, 7),
        ("ChangeInCapacity", 9, True, {}, 20),
        ("ChangeInCapacity", -11, False, {}, 0),
        ("ExactCapacity", 50, True, {}, 30),
    ],
)
def test_the_step_that_is_taken_and_what_it_makes_of_ten_tasks(kind, distance, above, more, expected):
    configuration = {"AdjustmentType": kind, "StepAdjustments": STEPS, **more}
    assert ev.step_capacity(configuration, 10, distance, above) == expected


def test_less_than_one_task_is_one_and_no_step_is_none():
    configuration = {"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": STEPS[2:]}
    assert ev.step_capacity(configuration, 1, 5, True) == 2
    assert ev.step_capacity(configuration, 1, -5, True) is None


def test_a_larger_step_passes_the_cooldown_of_a_smaller_one():
    situation = Situation(current=4, minimum=1, maximum=20)
    first = ev.decide_step(situation, "p", lambda n: n + 2, 300, Cooldown(), 0)
    assert first.desired == 6
    later = Situation(current=6, minimum=1, maximum=20)
    assert ev.decide_step(later, "p", lambda n: n + 2, 300, first.cooldown, 60) is None
    # of the five that it asks for, the two of the first are there already
    assert ev.decide_step(later, "p", lambda n: n + 5, 300, first.cooldown, 60).desired == 9
    assert ev.decide_step(later, "p", lambda n: n + 2, 300, first.cooldown, 301).desired == 8


def test_scale_in_by_steps_waits_for_cooldown_and_deployment():
    situation = Situation(current=4, minimum=3, maximum=20)
    first = ev.decide_step(situation, "p", lambda n: n - 2, 300, Cooldown(), 0)
    assert first.desired == 3
    assert ev.decide_step(situation, "p", lambda n: n - 1, 300, first.cooldown, 299) is None
    deploying = Situation(current=4, minimum=3, maximum=20, deploying=True)
    assert ev.decide_step(deploying, "p", lambda n: n - 1, 300, Cooldown(), 0) is None
    least = Situation(current=3, minimum=3, maximum=20)
    assert ev.decide_step(least, "p", lambda n: n - 1, 300, Cooldown(), 0).reason == ("AlreadyAtMinCapacity")


def at(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("schedule", "moment", "fires"),
    [
        ("cron(0 20 ? * MON-FRI *)", "2026-11-25T20:00", True),
        ("cron(0 20 ? * MON-FRI *)", "2026-11-28T20:00", False),
        ("cron(0/15 9-17 L * ? 2026/2)", "2026-11-30T09:45", True),
        ("cron(0 9 ? 11 4#4 *)", "2026-11-25T09:00", True),
        ("cron(0 9 1W 8 ? *)", "2026-08-03T09:00", True),
        ("cron(0 9 ? * 6L *)", "2026-11-27T09:00", True),
        ("cron(0 9 ? * 6L *)", "2026-11-20T09:00", False),
        ("cron(5,10 * * JAN,NOV ? *)", "2026-11-27T00:10", True),
        ("at(2026-11-27T09:00:00)", "2026-11-27T09:00", True),
        ("at(2026-11-27T09:00:00)", "2026-11-27T09:01", False),
        ("rate(5 minutes)", "2026-11-25T00:05", True),
        ("rate(5 minutes)", "2026-11-25T00:00", False),
        ("rate(5 minutes)", "2026-11-25T00:07", False),
    ],
)
def test_when_a_schedule_fires(schedule, moment, fires):
    until = at(moment)
    minute = datetime.timedelta(minutes=1)
    assert schedules.fires({"Schedule": schedule}, at("2026-11-25"), until - minute, until) is fires


def test_time_zone_start_and_end_of_a_schedule():
    berlin = {"Schedule": "cron(0 20 * * ? *)", "Timezone": "Europe/Berlin"}
    day = (at("2026-11-25"), at("2026-11-25T18:59"), at("2026-11-25T19:00"))
    assert schedules.fires(berlin, *day)
    assert not schedules.fires({**berlin, "EndTime": at("2026-11-25T18:00")}, *day)
    assert not schedules.fires({**berlin, "StartTime": at("2026-11-25T19:01")}, *day)
    assert schedules.fires({**berlin, "StartTime": at("2026-11-25T19:00")}, *day)
    assert schedules.fires({"Schedule": "rate(1 day)", "StartTime": at("2026-11-25T19:00")}, *day)
