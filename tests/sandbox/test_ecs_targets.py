"""Target health as the ECS scheduler sees it, with a load balancer whose answers come when the test wants."""

import threading
from types import SimpleNamespace

from sandbox.ecs.targets import ADDRESS, Targets


def test_an_answer_that_comes_late_does_not_overwrite_a_later_one():
    asked, answer = threading.Event(), threading.Event()
    states = iter(["healthy", "draining"])

    def describe_target_health(**_):
        state = next(states)
        if state == "healthy":
            asked.set()
            answer.wait(20)
        return {"TargetHealthDescriptions": [{"Target": {"Id": ADDRESS, "Port": 1}, "TargetHealth": {"State": state}}]}

    client = SimpleNamespace(describe_target_health=describe_target_health)
    targets = Targets(SimpleNamespace(client=lambda *_: client), None)
    polls = [threading.Thread(target=targets.poll, args=({("group", "us-east-1")},)) for _ in range(2)]
    polls[0].start()
    assert asked.wait(20)
    polls[1].start()
    polls[1].join(0.3)  # time for a second answer to overtake, where that is possible
    answer.set()
    for poll in polls:
        poll.join(20)
    assert targets.health(SimpleNamespace(registered=[("group", 1)])) == ("draining", "")
