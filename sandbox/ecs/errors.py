"""Errors as Amazon ECS answers them (API reference, "Common Errors" and each action's "Errors")."""

from moto.core.exceptions import ServiceException


class EcsError(ServiceException):
    """moto looks up the error's shape by the module of its class, so that cannot be moto.core's own class."""


def client(message: str) -> EcsError:
    return EcsError("ClientException", message)


def invalid(message: str) -> EcsError:
    return EcsError("InvalidParameterException", message)


def error(code: str, message: str) -> EcsError:
    return EcsError(code, message)


class StartFailure(Exception):
    """Why a task cannot start; becomes its stoppedReason. `container` names the container at fault, if one is."""

    def __init__(self, reason: str, container: str | None = None):
        super().__init__(reason)
        self.container = container
