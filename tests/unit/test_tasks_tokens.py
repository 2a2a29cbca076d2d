"""Whether a store is used with the user's token."""

import contextlib

import glance_store
import pytest
from oslo_config import cfg
from oslo_config import types

from glance_wsgi.tasks import tokens

CINDER = {
    f'cinder_store_{name}': 'x'
    for name in ('user_name', 'password', 'project_name', 'auth_address')
}


@pytest.fixture
def many():
    """Makes the configuration of a Glance with stores that have names."""

    def make(kinds, default='', **options):
        conf = cfg.ConfigOpts()
        conf.register_opt(
            cfg.Opt('enabled_backends', type=types.Dict(types.String()))
        )
        conf.set_override('enabled_backends', kinds)
        conf([], default_config_files=[], default_config_dirs=[])
        glance_store.register_store_opts(conf)
        conf.set_override('default_backend', default, 'glance_store')
        for name, values in options.items():
            for option, value in values.items():
                # cinder's are registered where os-brick is installed.
                with contextlib.suppress(cfg.DuplicateOptError):
                    conf.register_opt(cfg.Opt(option), name)
                conf.set_override(option, value, name)
        return conf

    return make


@pytest.fixture
def single():
    """Makes the configuration of a Glance with one store that has no name."""

    def make(scheme, **options):
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.Opt('enabled_backends'))
        conf([], default_config_files=[], default_config_dirs=[])
        glance_store.register_opts(conf)
        conf.set_override('default_store', scheme, 'glance_store')
        for option, value in options.items():
            conf.set_override(option, value, 'glance_store')
        return conf

    return make


def test_another_store_that_needs_one_does_not_count(many):
    conf = many({'fast': 'file', 'volumes': 'cinder'})
    assert not tokens.used(conf, ['fast'])
    assert tokens.used(conf, ['volumes'])
    assert tokens.used(conf, ['fast', 'volumes'])


def test_a_task_without_stores_goes_to_the_default_one(many):
    kinds = {'fast': 'file', 'volumes': 'cinder'}
    assert tokens.used(many(kinds, default='volumes'), [None])
    assert not tokens.used(many(kinds, default='fast'), [None])


def test_every_store_is_all_of_them(many, single):
    assert tokens.every_store(many({'a': 'file', 'b': 'rbd'})) == ['a', 'b']
    assert tokens.every_store(single('file')) == [None]


def test_cinder_with_credentials_of_its_own_needs_none(many):
    assert not tokens.used(many({'v': 'cinder'}, v=CINDER), ['v'])
    lacking = CINDER | {'cinder_store_password': None}
    assert tokens.used(many({'v': 'cinder'}, v=lacking), ['v'])


@pytest.mark.parametrize('tenants', [False, True])
def test_swift_needs_one_where_every_project_has_its_account(many, tenants):
    options = {'swift_store_multi_tenant': tenants}
    assert tokens.used(many({'s': 'swift'}, s=options), ['s']) is tenants


@pytest.mark.parametrize('tenants', [False, True])
def test_a_store_without_a_name_is_looked_at_too(single, tenants):
    for scheme in ('swift', 'swift+https'):
        conf = single(scheme, swift_store_multi_tenant=tenants)
        assert tokens.used(conf, [None]) is tenants


@pytest.mark.parametrize('scheme', ['file', 'filesystem', 'rbd', 'vsphere'])
def test_stores_that_never_need_one(single, scheme):
    assert not tokens.used(single(scheme), [None])


def test_a_driver_of_somebody_else_may_need_one(many):
    assert tokens.used(many({'x': 'theirs'}), ['x'])
