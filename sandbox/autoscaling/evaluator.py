"""What auto scaling decides, as pure functions: no clock, no I/O.

Sources: CloudWatch user guide, "How alarms evaluate missing data"; Application Auto Scaling user guide,
"Target tracking scaling policies" (how cooldowns and several policies work together); ECS developer guide,
"Target tracking" (no scale-in during a deployment).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
PERIODS_HIGH, PERIODS_LOW = 3, 15
LOW_SHARE = 0.9
"""AlarmLow fires below this share of the target value, so that a policy does not swing around its target."""
LEAST_STEP = "MinAdjustmentMagnitude"
SLACK = 2
"""CloudWatch looks at more periods than it must have, so that late points do not hide what the older ones say."""


def alarm_state(points: Sequence[float | None], periods: int, breaches: Callable[[float], bool]) -> str:
    """State of an alarm with `periods` of `periods` data points to alarm and missing data treated as missing.

    points: one value per period, newest last, None where there was no data; `periods + SLACK` of them.
    With fewer points than periods it is ALARM only when all of them breach and the oldest is `periods` old or more:
    one early point never alarms on its own.
    """
    present = [(age, value) for age, value in enumerate(reversed(points), 1) if value is not None]
    if not present:
        return INSUFFICIENT_DATA
    recent = present[:periods]
    if not all(breaches(value) for _, value in recent):
        return OK
    return ALARM if len(recent) == periods or recent[-1][0] >= periods else OK


def user_alarm_state(
    points: Sequence[float | None],
    periods: int,
    datapoints: int,
    breaches: Callable[[float], bool],
    missing: str,
    current: str,
) -> str:
    """State of an alarm that people put: `datapoints` of `periods`, with its own treatment of missing data.

    points as for alarm_state(). missing: missing, ignore, breaching or notBreaching; current is the state so far.
    """
    present = [(age, breaches(value)) for age, value in enumerate(reversed(points), 1) if value is not None][:periods]
    breaching = sum(breach for _, breach in present)
    gaps = periods - len(present)
    if gaps and missing == "breaching":
        breaching += gaps
    elif gaps and missing == "ignore" and breaching < datapoints:
        return OK if present and len(present) - breaching > periods - datapoints else current
    elif gaps and missing == "missing":
        if not present:
            return INSUFFICIENT_DATA
        # too few points to alarm, all of which breach, the oldest of them old enough
        if breaching == len(present) and present[-1][0] >= datapoints:
            return ALARM
    return ALARM if breaching >= datapoints else OK


@dataclass(frozen=True)
class Reading:
    """One target tracking policy as this minute finds it."""

    policy: str
    target: float
    high: str
    low: str
    value: float = 0.0
    """The newest data point: scale-out is proportional to it."""
    peak: float = 0.0
    """The highest of the points AlarmLow looked at: scale-in leaves room for it (AWS: "scale in more gradually")."""
    scale_in: bool = True
    out_cooldown: float = 300.0
    in_cooldown: float = 300.0


@dataclass(frozen=True)
class Cooldown:
    """What the last scaling activities of a target forbid. Times in seconds on the caller's clock."""

    out_until: float = -math.inf
    out_from: int = 0
    """Capacity before the scale-out that started the cooldown."""
    out_to: int = 0
    in_until: float = -math.inf


@dataclass(frozen=True)
class Situation:
    """The scalable target as this minute finds it."""

    current: int
    minimum: int
    maximum: int
    deploying: bool = False
    out_suspended: bool = False
    in_suspended: bool = False


@dataclass(frozen=True)
class Decision:
    """Either a new capacity (`desired`), or why there is none although an alarm asked (`reason`, AWS's codes)."""

    policy: str
    direction: str
    desired: int | None = None
    reason: str | None = None
    cooldown: Cooldown = field(default_factory=Cooldown)


def decide(situation: Situation, readings: Sequence[Reading], cooldown: Cooldown, now: float) -> Decision | None:
    """Scale out if any policy asks for it; in only if all that may scale in agree; None: nothing to do."""
    if any(r.high == ALARM for r in readings):
        # Availability first: while one policy is above its target, nothing is taken away for another.
        return None if situation.out_suspended else _scale_out(situation, readings, cooldown, now)
    voters = [r for r in readings if r.scale_in]
    if not voters or any(r.low != ALARM for r in voters):
        return None
    if situation.in_suspended or situation.deploying or now < cooldown.in_until:
        return None
    return _scale_in(situation, voters, cooldown, now)


def _scale_out(situation: Situation, readings: Sequence[Reading], cooldown: Cooldown, now: float) -> Decision | None:
    cooling = now < cooldown.out_until
    base = cooldown.out_from if cooling else situation.current
    wanted, reading = max(
        ((max(1, _proportional(base, r.value, r.target)), r) for r in readings if r.high == ALARM),
        key=lambda pair: pair[0],
    )
    desired = _within(situation, wanted)
    # Only a larger scale-out than the one that started the cooldown may pass it.
    if cooling and desired <= cooldown.out_to:
        return None
    if desired <= situation.current:
        at_maximum = situation.current >= situation.maximum
        return Decision(
            reading.policy, "out", reason="AlreadyAtMaxCapacity" if at_maximum else "AlreadyAtDesiredCapacity"
        )
    # A scale-out ends a scale-in cooldown.
    after = Cooldown(now + reading.out_cooldown, base, desired)
    return Decision(reading.policy, "out", desired, cooldown=after)


def _scale_in(situation: Situation, voters: Sequence[Reading], cooldown: Cooldown, now: float) -> Decision:
    wanted, reading = max(
        ((_proportional(situation.current, r.peak, r.target), r) for r in voters), key=lambda pair: pair[0]
    )
    desired = _within(situation, wanted)
    if desired >= situation.current:
        at_minimum = situation.current <= situation.minimum
        return Decision(
            reading.policy, "in", reason="AlreadyAtMinCapacity" if at_minimum else "AlreadyAtDesiredCapacity"
        )
    return Decision(reading.policy, "in", desired, cooldown=replace(cooldown, in_until=now + reading.in_cooldown))


def step_capacity(configuration: dict, current: int, distance: float, above: bool) -> int | None:
    """What a step scaling policy makes of `current` when the metric is `distance` from the alarm's threshold.

    above: whether the alarm watches for values above its threshold; a range's near bound belongs to it. None: no step.
    """
    for step in configuration["StepAdjustments"]:
        low, high = step.get("MetricIntervalLowerBound", -math.inf), step.get("MetricIntervalUpperBound", math.inf)
        if (low <= distance < high) if above else (low < distance <= high):
            change = step["ScalingAdjustment"]
            if configuration["AdjustmentType"] == "ExactCapacity":
                return change
            if configuration["AdjustmentType"] == "PercentChangeInCapacity":
                tasks = current * change / 100
                # away from zero below one task, else towards zero (user guide, "Scaling adjustment types")
                size = max(1 if 0 < abs(tasks) < 1 else math.floor(abs(tasks)), configuration.get(LEAST_STEP, 0))
                change = int(math.copysign(size, change)) if change else 0
            return max(0, current + change)
    return None


def decide_step(
    situation: Situation,
    policy: str,
    capacity: Callable[[int], int | None],
    seconds: float,
    cooldown: Cooldown,
    now: float,
) -> Decision | None:
    """What a step scaling policy does whose alarm rings; capacity(current) is what it wants, seconds its cooldown."""
    cooling = now < cooldown.out_until
    base = cooldown.out_from if cooling else situation.current
    wanted = capacity(base)
    if wanted is None:
        return None
    desired = _within(situation, wanted)
    if desired > situation.current:
        if situation.out_suspended or (cooling and desired <= cooldown.out_to):
            return None
        return Decision(policy, "out", desired, cooldown=Cooldown(now + seconds, base, desired))
    wanted = capacity(situation.current)
    if wanted is not None and wanted < situation.current:
        if situation.in_suspended or situation.deploying or now < cooldown.in_until:
            return None
        desired = _within(situation, wanted)
        if desired < situation.current:
            return Decision(policy, "in", desired, cooldown=replace(cooldown, in_until=now + seconds))
        return Decision(policy, "in", reason="AlreadyAtMinCapacity")
    if wanted is not None and wanted > situation.current >= situation.maximum:
        return Decision(policy, "out", reason="AlreadyAtMaxCapacity")
    return None


def _proportional(capacity: int, value: float, target: float) -> int:
    return math.ceil(capacity * value / target - 1e-9)  # 3 * 70.0 / 70.0 must stay 3


def _within(situation: Situation, wanted: int) -> int:
    return max(situation.minimum, min(situation.maximum, wanted))
