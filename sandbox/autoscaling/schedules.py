"""When scheduled actions fire: at, rate and cron expressions in AWS's dialect. Pure.

Sources: Application Auto Scaling user guide, "Schedule recurring scaling actions using cron expressions";
API reference, PutScheduledAction.
"""

import calendar
import datetime
import re
from zoneinfo import ZoneInfo

AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)s?\)")
CRON = re.compile(r"cron\((\S+(?: \S+){5})\)")
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (1, 7), "year": (1970, 2199)}
MINUTE = datetime.timedelta(minutes=1)


def check(expression: str) -> None:
    """ValueError for what is no schedule."""
    if match := CRON.fullmatch(expression):
        fields = dict(zip(FIELDS, match[1].split(), strict=True))
        if (fields["day"] == "?") == (fields["weekday"] == "?"):
            raise ValueError("One of Day-of-month and Day-of-week is a question mark.")
        for name, field in fields.items():
            if field != "?":
                _matches(name, field, datetime.datetime(2028, 2, 1))
    elif not (AT.fullmatch(expression) or RATE.fullmatch(expression)):
        raise ValueError("Schedule must be at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(fields).")


def fires(action: dict, since: datetime.datetime, after: datetime.datetime, until: datetime.datetime) -> bool:
    """Whether a scheduled action fires in after < time <= until; `since` is when it was put (all aware)."""
    start, end = action.get("StartTime"), action.get("EndTime")
    if (start and until < start) or (end and after >= end):
        return False
    zone = ZoneInfo(action.get("Timezone", "UTC"))
    expression = action["Schedule"]
    if match := AT.fullmatch(expression):
        return after < datetime.datetime.fromisoformat(match[1]).replace(tzinfo=zone) <= until
    if match := RATE.fullmatch(expression):
        every = datetime.timedelta(**{f"{match[2]}s": int(match[1])})
        base = start or since
        return (until - base) // every > max((after - base) // every, -1 if start else 0)
    moment = after.replace(second=0, microsecond=0) + MINUTE
    while moment <= until:
        if (not start or moment >= start) and matches(expression, moment.astimezone(zone)):
            return True
        moment += MINUTE
    return False


def matches(expression: str, moment: datetime.datetime) -> bool:
    """Whether a cron expression names this minute."""
    fields = expression.removeprefix("cron(").removesuffix(")").split()
    return all(field == "?" or _matches(name, field, moment) for name, field in zip(FIELDS, fields, strict=True))


def _matches(name: str, field: str, moment: datetime.datetime) -> bool:
    low, high = FIELDS[name]
    value: int = moment.isoweekday() % 7 + 1 if name == "weekday" else getattr(moment, name)
    last = calendar.monthrange(moment.year, moment.month)[1]
    for name_, number in zip(MONTHS + DAYS, [*range(1, 13), *range(1, 8)], strict=True):
        if name in ("month", "weekday"):
            field = re.sub(rf"\b{name_}\b", str(number), field.upper())
    for part in field.split(","):
        if name == "day" and part == "L":
            hit = value == last
        elif name == "day" and (match := re.fullmatch(r"(\d+|L)W", part)):
            hit = value == _nearest_weekday(moment, last if match[1] == "L" else int(match[1]), last)
        elif name == "weekday" and (match := re.fullmatch(r"([1-7])L", part)):
            hit = value == int(match[1]) and moment.day > last - 7
        elif name == "weekday" and (match := re.fullmatch(r"([1-7])#([1-5])", part)):
            hit = value == int(match[1]) and (moment.day - 1) // 7 + 1 == int(match[2])
        else:
            match = re.fullmatch(r"(\*|\d+)(?:-(\d+))?(?:/(\d+))?", part)
            if not match or (match[1] == "*" and match[2]):
                raise ValueError(f"{part} is not allowed in the field {name} of a cron expression.")
            first = low if match[1] == "*" else int(match[1])
            final = int(match[2]) if match[2] else high if match[1] == "*" or match[3] else first
            if not low <= first <= final <= high or match[3] == "0":
                raise ValueError(f"{part} is not allowed in the field {name} of a cron expression.")
            hit = first <= value <= final and (value - first) % int(match[3] or 1) == 0
        if hit:
            return True
    return False


def _nearest_weekday(moment: datetime.datetime, day: int, last: int) -> int:
    """The day of the month, Monday to Friday, that is nearest to `day` in the same month."""
    candidates = [day + step for step in (0, -1, 1, -2, 2)]
    return next(d for d in candidates if 1 <= d <= last and moment.replace(day=d).isoweekday() <= 5)
