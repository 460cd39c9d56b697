"""IAM enforcement: who calls, what the call needs, and whether policies allow it.

calls.py reads requests, actions.py says what each needs, checks.py adds resources and condition keys, principals.py
finds the caller's policies, evaluate.py decides, enforcer.py answers.
"""

from .enforcer import Enforcer

__all__ = ["Enforcer"]
