"""What glance_wsgi.policies uses of oslo.policy without its promise.

Run with every supported Glance, each of which has another oslo.policy.
"""

import contracts
import pytest

pytestmark = pytest.mark.smoke

# In a process of its own, since oslo.policy is changed for good.
CODE = """
import inspect, json, os, pathlib, tempfile

from oslo_config import cfg
from oslo_policy import _checks, policy

from glance_wsgi import policies


class Told(_checks.Check):
    def __call__(self, target, creds, enforcer, current_rule=None):
        told.append(current_rule)
        return True


class Old(_checks.Check):
    def __call__(self, target, creds, enforcer):
        return target['answer']


def asked(name, **target):
    return enforcer.enforce(name, target, {'roles': ['member']})


def answers():
    return {
        'true': asked('true'),
        'false': asked('false'),
        'and': asked('and'),
        'or': asked('or'),
        'not': asked('not'),
        'rule': asked('rule'),
        'role': asked('role'),
        'old': [asked('old', answer=answer) for answer in (True, False)],
        'told': asked('told'),
        'unknown': asked('unknown'),
    }


told, facts = [], {}
policy.register('told', Told)
policy.register('old', Old)
with tempfile.TemporaryDirectory() as directory:
    file = pathlib.Path(directory, 'policy.yaml')
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[directory])
    enforcer = policy.Enforcer(conf, policy_file=str(file))
    enforcer.register_defaults([
        policy.RuleDefault(name, check)
        for name, check in {
            'true': '@',
            'false': '!',
            'and': 'rule:true and rule:false',
            'or': 'rule:true or rule:false',
            'not': 'not rule:false',
            'rule': 'rule:or',
            'role': 'role:member',
            'old': 'old:x',
            'told': 'told:x',
        }.items()
    ])
    facts['before'] = answers()
    names, told[:] = list(told), []
    looked, read = [], []
    find, signature = enforcer._get_policy_path, inspect.getfullargspec
    enforcer._get_policy_path = lambda path: looked.append(path) or find(path)
    inspect.getfullargspec = lambda what: read.append(what) or signature(what)
    answers()
    facts['looks before'], facts['signatures before'] = len(looked), len(read)

    facts['fresh'] = policies.FRESH
    # However slow this machine is.
    policies.FRESH = 1e9
    policies.remember(None)
    told.clear()
    facts['after'] = answers()
    facts['names'] = names == list(told) and bool(names)
    looked.clear()
    read.clear()
    answers()
    facts['looks'], facts['signatures'] = len(looked), len(read)

    policies.FRESH = 0
    file.write_text('"true": "!"')
    facts['changed'] = asked('true')
    policies.FRESH = 1e9
    file.write_text('"true": "@"')
    os.utime(file, (2**31, 2**31))
    facts['unseen'] = asked('true')
    enforcer.load_rules(force_reload=True)
    facts['forced'] = asked('true')
print(json.dumps(facts))
"""


@pytest.fixture(scope='module')
def facts():
    """What rules have answered, before and after."""
    return contracts.facts(CODE, timeout=60)


def test_each_rule_is_answered_as_before(facts):
    assert facts['after'] == facts['before']
    assert facts['before'] == {
        'true': True,
        'false': False,
        'and': False,
        'or': True,
        'not': True,
        'rule': True,
        'role': True,
        'old': [True, False],
        'told': True,
        'unknown': False,
    }


def test_a_check_is_told_the_rule_that_it_is_part_of(facts):
    assert facts['names']


def test_without_us_files_and_signatures_are_looked_for_with_each_rule(facts):
    """Or there is nothing left to be mended."""
    assert facts['looks before'] >= 10
    assert facts['signatures before'] >= 10


def test_they_are_not_with_us(facts):
    assert facts['looks'] == 0
    assert facts['signatures'] == 0


def test_files_are_fresh_for_a_second(facts):
    """The upgrade note says so."""
    assert facts['fresh'] == 1


def test_a_file_that_has_changed_is_read_when_it_is_time(facts):
    assert facts['changed'] is False
    assert facts['unseen'] is False


def test_who_asks_for_the_rules_of_now_has_them(facts):
    assert facts['forced'] is True
