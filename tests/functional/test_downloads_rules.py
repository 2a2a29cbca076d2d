"""Downloads where an operator's rules say who may have which data, and how.

Each answer is compared with that of a second server on the same Glance, which
sends nothing by itself. Guards against data that is handed off to whom Glance
would refuse it, against a cache whose hits are not counted or not handed off,
and against a switch that does nothing.
"""

import contextlib

import answers
import beside
import images
import openstack
import pytest
import slow
import toolkit
from images import MIB

pytestmark = pytest.mark.each_server

RULES = """
download_image: >-
    role:admin or (role:member and not 'yes':%(restricted)s)
"""

PROTECTIONS = """
[^secret$]
create = admin
read = admin
update = admin
delete = admin

[.*]
create = admin,member
read = admin,member
update = admin,member
delete = admin,member
"""

SETTINGS = """
[DEFAULT]
property_protection_file = {directory}/protections.conf
property_protection_rule_format = roles
[oslo_policy]
policy_file = {directory}/rules.yaml
"""

CACHE = """
[DEFAULT]
image_cache_dir = {directory}
[paste_deploy]
flavor = keystone+cachemanagement
"""


@pytest.fixture(scope='module')
def ruled(workspace):
    """A deployment with rules of its operator's."""
    directory = workspace / 'rules'
    directory.mkdir()
    (directory / 'rules.yaml').write_text(RULES)
    (directory / 'protections.conf').write_text(PROTECTIONS)
    with toolkit.serving(
        workspace / 'ruled',
        settings=toolkit.LOCAL_SETTINGS + SETTINGS.format(directory=directory),
    ) as deployment:
        yield deployment


@pytest.fixture(scope='module')
def cloud(ruled):
    with ruled.connect() as connection:
        yield connection


@pytest.fixture(scope='module')
def own(ruled, tmp_path_factory):
    """openstacksdk on the same Glance, which sends everything itself."""
    log = tmp_path_factory.mktemp('own') / 'log'
    with beside.served(ruled, beside.GUNICORN, log) as connection:
        yield connection


@pytest.fixture(scope='module')
def member(ruled, cloud):
    """openstacksdk as somebody in a project of their own."""
    identity = cloud.identity
    with contextlib.ExitStack() as stack:
        project = identity.create_project(name='elsewhere')
        stack.callback(identity.delete_project, project)
        user = identity.create_user(name='somebody', password='a-password')
        stack.callback(identity.delete_user, user)
        role = identity.find_role('member')
        identity.assign_project_role_to_user(project, user, role)
        account = {
            **ruled.account(),
            'auth': {
                **ruled.account()['auth'],
                'username': user.name,
                'password': 'a-password',
                'project_name': project.name,
            },
        }
        yield stack.enter_context(
            openstack.connect(load_envvars=False, **account)
        )


@pytest.fixture(scope='module')
def data():
    return images.random_bytes(2 * MIB + 1)


@pytest.fixture
def make(cloud, data):
    """Makes images with data; they are removed behind the test."""
    with contextlib.ExitStack() as stack:

        def one(**properties):
            image = images.create(cloud, **properties)
            stack.callback(cloud.image.delete_image, image)
            images.upload(cloud, image, data)
            return image

        yield one


@pytest.fixture
def alike(cloud, own):
    """Asks both for a download by a person; what both answer."""

    def ask(person, image, headers=()) -> answers.Answer:
        given = {'X-Auth-Token': person.auth_token, **dict(headers)}
        expected = answers.download(own, image, given)
        assert answers.download(cloud, image, given) == expected
        return expected

    return ask


def test_a_policy_keeps_data_from_whom_it_names(
    alike, make, cloud, member, data
):
    part = {'Range': 'bytes=1-2'}
    for restricted, whole, partial in (('yes', 403, 403), ('no', 200, 206)):
        image = make(visibility='public', restricted=restricted)
        assert alike(member, image).status == whole
        assert alike(member, image, part).status == partial
        assert alike(cloud, image).digest == images.sha256(data)


def test_an_image_with_a_property_that_is_hidden_is_answered_as_glance_does(
    alike, make, cloud, member, data
):
    image = make(visibility='public', secret='a')
    assert 'secret' in cloud.image.get(f'/images/{image.id}').json()
    assert 'secret' not in member.image.get(f'/images/{image.id}').json()
    assert alike(member, image).digest == images.sha256(data)


def test_only_members_get_the_data_of_a_shared_image(
    alike, make, cloud, member, data
):
    image = make(visibility='shared')
    assert alike(member, image).status == 404
    project = member.current_project_id
    cloud.image.add_member(image, member_id=project)
    assert alike(member, image).digest == images.sha256(data)
    cloud.image.remove_member(project, image)
    assert alike(member, image).status == 404


def test_only_administrators_get_the_data_of_a_deactivated_image(
    alike, make, cloud, member, data
):
    image = make(visibility='public')
    cloud.image.deactivate_image(image)
    assert alike(member, image).status == 403
    assert alike(cloud, image).digest == images.sha256(data)


@pytest.fixture(scope='module')
def cache(workspace):
    """The directory of a cache, which is the service user's."""
    return toolkit.directory(workspace / 'cache')


@pytest.fixture(scope='module')
def cached(workspace, cache):
    """A deployment that keeps what was downloaded once."""
    with toolkit.serving(
        workspace / 'cached',
        settings=toolkit.LOCAL_SETTINGS + CACHE.format(directory=cache),
    ) as deployment:
        yield deployment


def hits(cloud, image) -> int | None:
    """How often the cache had the image; None where it has none of it."""
    cached = cloud.image.get('/cache').json()['cached_images']
    return next(
        (each['hits'] for each in cached if each['image_id'] == image.id), None
    )


RANGES = ({}, {'Range': 'bytes=7-'}, {'Range': 'bytes=3-9'})


def test_a_hit_of_the_cache_is_handed_off_and_counted(cached, cache, tmp_path):
    data = images.random_bytes(slow.LARGE)
    with cached.connect() as cloud:
        image = images.create(cloud)
        images.upload(cloud, image, data)
        first = answers.download(cloud, image)
        assert first.digest == images.sha256(data)
        toolkit.until(lambda: hits(cloud, image) == 0, 'it is in the cache')
        answered = [answers.download(cloud, image, each) for each in RANGES]
        # Counted behind the last byte; a part comes from the store.
        toolkit.until(lambda: hits(cloud, image) == 1, 'a hit')
        with beside.served(cached, beside.GUNICORN, tmp_path / 'log') as own:
            assert answered == [
                answers.download(own, image, each) for each in RANGES
            ]
            toolkit.until(lambda: hits(cloud, image) == 2, 'as many of Glance')
        assert slow.is_handed_off(cached, cloud, image, cache / image.id)
        cloud.image.delete_image(image)


def test_what_is_switched_off_is_sent_by_glance_itself(
    ruled, make, cloud, own, data
):
    large = images.create(cloud)
    try:
        images.upload(cloud, large, images.random_bytes(slow.LARGE))

        (file,) = images.files_of(ruled, large)

        def is_handed_off() -> bool:
            image = make()
            whole = answers.download(cloud, image)
            assert whole == answers.download(own, image)
            return slow.is_handed_off(ruled, cloud, large, file)

        assert is_handed_off()
        ruled.up('--hand-off-downloads=false')
        assert not is_handed_off()
        ruled.up('--hand-off-downloads=true')
        assert is_handed_off()
    finally:
        cloud.image.delete_image(large)
