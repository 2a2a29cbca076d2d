"""Keystone's private name that the entry module of the embedded one uses."""

from keystone.common.rbac_enforcer import policy
from oslo_policy import policy as oslo_policy


def test_keystones_policies_can_be_made_before_they_are_needed():
    made = type(policy._ENFORCER)._enforcer
    assert isinstance(made, property)
    assert callable(oslo_policy.Enforcer.load_rules)
