"""What oslo.policy does again for each rule that it asks, done once.

Glance asks a rule for each image in a list. Each time, oslo.policy looks for
its files in every directory that has configuration, and asks Python for the
signature of each check. Both take a third of a list's time. So each enforcer
looks for the files once in a second, and a signature is read once for each
class.

One of the names is private; tests/functional/test_policies_contract.py pins it
on every supported Glance. https://docs.openstack.org/oslo.policy/latest/
"""

import functools
import inspect
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

FRESH = 1.0
"""Seconds after which a policy file that was changed is read again."""

Application = Callable[..., Iterable[bytes]]


def remember(application: Application) -> Application:
    """Have rules be asked without that, from now on.

    :returns: `application`, as it is
    """
    # Imported late: it is Glance's, and belongs to servers.
    from oslo_policy import _checks
    from oslo_policy import policy

    if _checks._check is not _check:
        _checks._check = _check
        policy.Enforcer.load_rules = _seldom(policy.Enforcer.load_rules)
    return application


def _seldom(load: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(load)
    def load_seldom(enforcer: Any, force_reload: bool = False) -> None:
        now = time.monotonic()
        loaded = getattr(enforcer, '_loaded_at', -math.inf)
        if force_reload or now - loaded >= FRESH:
            load(enforcer, force_reload)
            enforcer._loaded_at = now

    return load_seldom


def _check(
    rule: Any, target: Any, creds: Any, enforcer: Any, current_rule: str | None
) -> bool:
    """Ask a check, as the function of this name in ``oslo_policy._checks``."""
    if _wants_its_name(rule.__class__):
        return rule(target, creds, enforcer, current_rule)
    return rule(target, creds, enforcer)


@functools.cache
def _wants_its_name(kind: type) -> bool:
    """Whether checks of this class are told the rule that they are part of.

    Older ones are not: those that somebody has written for himself.
    """
    return len(inspect.getfullargspec(kind.__call__).args) > 4
