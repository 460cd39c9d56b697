"""Rules of composite alarms: ALARM("a") AND NOT (OK(b) OR INSUFFICIENT_DATA("c")), AT_LEAST(2, ALARM, (a, b, c)). Pure.

Source: CloudWatch API reference, PutCompositeAlarm.
"""

import re
from collections.abc import Callable

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[(),]|[^\s(),"]+)')
STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")
State = Callable[[str], str]
"""Alarm name -> its state."""


class RuleError(ValueError):
    """A rule that is none."""


def names_in(rule: str) -> set[str]:
    """Names of the alarms that a rule refers to; RuleError when it is none."""
    names: set[str] = set()

    def state(name: str) -> str:
        names.add(name)
        return "OK"

    evaluate(rule, state)
    return names


def evaluate(rule: str, state: State) -> bool:
    """Whether a rule holds. All of it is read, so that names_in() sees every name."""
    tokens = TOKEN.findall(rule)
    if "".join(tokens).replace(" ", "") != re.sub(r"\s", "", rule).replace(" ", "") or not tokens:
        raise RuleError(f"{rule} is no rule.")
    reader = _Reader(tokens, state)
    result = reader.either()
    if reader.tokens:
        raise RuleError(f"{rule} goes on after its end, at {reader.tokens[0]}.")
    return result


class _Reader:
    def __init__(self, tokens: list[str], state: State):
        self.tokens = tokens
        self.state = state

    def take(self, expected: str | None = None) -> str:
        if not self.tokens or (expected and self.tokens[0] != expected):
            raise RuleError(f"The rule has {self.tokens[0] if self.tokens else 'its end'} where {expected} should be.")
        return self.tokens.pop(0)

    def either(self) -> bool:
        result = self.both()
        while self.tokens and self.tokens[0] == "OR":
            self.take()
            result = self.both() or result
        return result

    def both(self) -> bool:
        result = self.one()
        while self.tokens and self.tokens[0] == "AND":
            self.take()
            result = self.one() and result
        return result

    def one(self) -> bool:
        word = self.take()
        if word == "NOT":
            return not self.one()
        if word in ("TRUE", "FALSE"):
            return word == "TRUE"
        if word == "(":
            result = self.either()
            self.take(")")
            return result
        if word in STATES:
            self.take("(")
            result = self.name() == word
            self.take(")")
            return result
        if word == "AT_LEAST":
            return self.at_least()
        raise RuleError(f"The rule has {word} where a function should be.")

    def at_least(self) -> bool:
        self.take("(")
        share = self.take()
        self.take(",")
        negated = self.tokens[:1] == ["NOT"]
        if negated:
            self.take()
        wanted = self.take()
        if wanted not in STATES or not re.fullmatch(r"[1-9]\d*%?", share):
            raise RuleError("AT_LEAST takes a number or a percentage, a state, and alarms in brackets.")
        self.take(",")
        self.take("(")
        states = [self.name()]
        while self.tokens[:1] == [","]:
            self.take()
            states.append(self.name())
        self.take(")")
        self.take(")")
        hits = sum((state == wanted) != negated for state in states)
        return hits * 100 >= int(share[:-1]) * len(states) if share.endswith("%") else hits >= int(share)

    def name(self) -> str:
        word = self.take()
        if word in "(),":
            raise RuleError(f"The rule has {word} where an alarm should be.")
        return self.state(word.strip('"').rpartition(":alarm:")[2])
