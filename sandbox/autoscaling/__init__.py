"""Application Auto Scaling for ECS services: the API (api), target tracking that acts (scaler, evaluator, metrics),
its alarms in CloudWatch (alarms), and repairs to moto's metric queries (cloudwatch)."""

from moto.applicationautoscaling import urls

from ..core import Sandbox
from . import cloudwatch
from .api import AutoScalingResponse
from .scaler import Scaler
from .state import State


def install(sandbox: Sandbox) -> None:
    """Answer application-autoscaling instead of moto, and evaluate the policies once per AWS minute."""
    states: dict[str, State] = {}
    scaler = Scaler(sandbox, states)
    AutoScalingResponse.sandbox, AutoScalingResponse.states, AutoScalingResponse.scaler = sandbox, states, scaler
    urls.url_paths["{0}/$"] = AutoScalingResponse.dispatch
    cloudwatch.install()
    sandbox.every(sandbox.minutes(1), scaler.tick)
    sandbox.on_reset(states.clear)
