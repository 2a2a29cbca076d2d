"""The order of what ``up`` does."""

from glance_wsgi import steps
from glance_wsgi.deployment import Deployment


def names(tmp_path, **options):
    return [
        step.name
        for step in steps.Up(Deployment(tmp_path, None, options)).steps()
    ]


def test_each_step_finds_what_it_needs_done_before(tmp_path):
    order = names(tmp_path)
    for earlier, later in [
        ('state directory', 'secrets'),
        ('secrets', 'configuration'),
        ('configuration', 'db sync'),
        ('db sync', 'metadefs'),
        ('configuration', 'keystone keys'),
        ('keystone keys', 'keystone database'),
        ('keystone database', 'keystone bootstrap'),
        ('keystone bootstrap', 'start'),
        ('metadefs', 'start'),
        ('start', 'service and endpoints'),
        ('service and endpoints', 'ready'),
    ]:
        assert order.index(earlier) < order.index(later)
    assert order[0] == 'state directory'
    assert order[-1] == 'ready'


def test_no_two_steps_have_the_same_name(tmp_path):
    order = names(tmp_path)
    assert len(set(order)) == len(order)


def test_a_keystone_elsewhere_is_not_set_up(tmp_path):
    own = names(tmp_path)
    other = names(tmp_path, keystone='https://keystone.example.org/v3')
    left_out = [name for name in own if name not in other]
    assert left_out == [
        'keystone keys',
        'keystone database',
        'keystone bootstrap',
    ]


def test_every_step_says_what_it_does(tmp_path):
    for step in steps.Up(Deployment(tmp_path)).steps():
        assert step.work.__doc__


def test_looking_at_the_steps_changes_nothing(tmp_path):
    names(tmp_path)
    assert list(tmp_path.iterdir()) == []
