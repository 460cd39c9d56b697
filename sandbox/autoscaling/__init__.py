"""Application Auto Scaling for ECS services: the API (api), policies and schedules that act (scaler, evaluator,
metrics, schedules), the alarms of target tracking policies (alarms) and those that people put (alarm_api, watcher,
rules), with dashboards beside them, and repairs to moto's metric queries (cloudwatch) and tags (tagging)."""

from moto.applicationautoscaling import urls

from ..core import Sandbox
from . import alarm_api, cloudwatch, tagging
from .api import AutoScalingResponse
from .scaler import Scaler
from .state import State
from .watcher import Watcher


def install(sandbox: Sandbox) -> None:
    """Answer application-autoscaling instead of moto, and evaluate alarms and policies once per AWS minute."""
    states: dict[str, State] = {}
    scaler = Scaler(sandbox, states)
    watcher = Watcher(sandbox, states, scaler)
    AutoScalingResponse.sandbox, AutoScalingResponse.states, AutoScalingResponse.scaler = sandbox, states, scaler
    urls.url_paths["{0}/$"] = AutoScalingResponse.dispatch
    cloudwatch.install()
    alarm_api.install()
    tagging.install(states)
    sandbox.every(sandbox.minutes(1), scaler.tick)
    sandbox.every(sandbox.minutes(1), watcher.tick)
    sandbox.on_reset(states.clear)
