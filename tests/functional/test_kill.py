"""Workers killed with SIGKILL while they receive an image.

Guards against what Glance alone is left with then: a file that no location
names, an image that is ``saving`` or ``uploading`` for ever, and half an
image that an import makes active. And against a cure that is worse: data
that is whole, or that somebody else receives, must stay.
"""

import contextlib
import os
import re
import shutil
import sqlite3
import uuid

import images
import kills
import pytest
from kills import BODY

pytestmark = pytest.mark.each_server

actions = pytest.mark.parametrize('action', ['file', 'stage'])


@pytest.mark.smoke
@actions
def test_a_killed_upload_leaves_a_queued_image_and_no_data(
    deployed, cloud, image, action
):
    kills.kill_half_sent(deployed, cloud, image, action)
    kills.assert_mended(deployed, cloud, image)


def test_a_killed_upload_in_chunks_leaves_no_more(deployed, cloud, image):
    kills.kill_half_sent(deployed, cloud, image, framing='chunked')
    kills.assert_mended(deployed, cloud, image)


def test_half_a_staged_image_is_never_imported(deployed, cloud, image):
    """Not even at once, by another worker."""
    kills.kill_half_sent(deployed, cloud, image, 'stage')
    response = cloud.image.post(
        f'/images/{image.id}/import',
        json={'method': {'name': 'glance-direct'}},
    )
    assert response.status_code == 409, response.text
    kills.assert_mended(deployed, cloud, image)


@actions
def test_a_killed_upload_can_be_sent_again_at_once(
    deployed, cloud, image, action
):
    kills.kill_half_sent(deployed, cloud, image, action)
    images.upload(cloud, image, BODY, action)
    (file,) = images.files_of(deployed, image)
    assert images.sha256(file.read_bytes()) == images.sha256(BODY)


def test_several_killed_uploads_are_mended_by_a_process_that_starts(
    deployed, cloud
):
    with contextlib.ExitStack() as stack:
        killed = [images.create(cloud) for _ in range(2)]
        for image in killed:
            stack.callback(cloud.image.delete_image, image)
        with kills.nobody_settles(deployed):
            for image in killed:
                kills.kill_half_sent(deployed, cloud, image)
            assert all(
                images.files_of(deployed, image)
                and cloud.image.get_image(image).status == 'saving'
                for image in killed
            )
        for image in killed:
            kills.assert_mended(deployed, cloud, image)


def test_several_processes_that_settle_at_once_do_it_once(
    deployed, cloud, image
):
    with kills.nobody_settles(deployed):
        kills.kill_half_sent(deployed, cloud, image)
        others = [kills.another_process(deployed) for _ in range(2)]
    logs = [kills.log_of(other) for other in others]
    assert not [log for log in logs if 'ERROR glance_wsgi' in log], logs
    kills.assert_mended(deployed, cloud, image)


def test_an_image_that_was_deleted_meanwhile_leaves_no_data(
    deployed, cloud, image
):
    with kills.nobody_settles(deployed):
        kills.kill_half_sent(deployed, cloud, image)
        cloud.image.delete_image(image.id)
        assert images.files_of(deployed, image)
    kills.settle(deployed, image)
    assert not images.files_of(deployed, image)
    assert not kills.entries(deployed, image)


@actions
def test_an_upload_is_not_touched_by_a_process_that_starts(
    deployed, cloud, image, action
):
    """Nor by one that is killed beside it, nor by a younger generation."""
    with kills.half_sent(deployed, cloud, image, action) as (client, rest):
        mine = kills.receiver(deployed, image)
        for worker in kills.workers(deployed):
            if worker != mine:
                kills.kill(worker)
        log = kills.log_of(kills.another_process(deployed))
        assert 'built Uploads' in log
        client.send(rest)
        assert client.getresponse().status == 204
    (file,) = images.files_of(deployed, image)
    assert images.sha256(file.read_bytes()) == images.sha256(BODY)


def test_a_second_upload_is_refused_and_changes_nothing_for_the_first(
    deployed, cloud, image
):
    with kills.half_sent(deployed, cloud, image):
        before = kills.entries(deployed, image)
        assert len(before) == 1
        response = cloud.image.put(
            f'/images/{image.id}/file',
            data=b'second',
            headers={'Content-Type': 'application/octet-stream'},
        )
        assert response.status_code == 409
        assert kills.entries(deployed, image) == before
        assert images.files_of(deployed, image)
        kills.kill(kills.receiver(deployed, image))
    kills.assert_mended(deployed, cloud, image)


def test_uploads_that_end_leave_no_entry(deployed, cloud, image):
    images.upload(cloud, image, BODY)
    assert not kills.entries(deployed, image)
    images.assert_holds(cloud, image, BODY)


# --- what an entry alone does not entitle to ---


def change(deployed, statement: str, *values) -> None:
    """Change Glance's record of an image, which no request could."""
    file = deployed.state_dir / 'data' / 'glance.sqlite'
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as database:
        database.execute(statement, values)
        database.commit()


def test_an_active_image_stays_as_it_is(deployed, cloud, image):
    images.upload(cloud, image, BODY)
    kills.leave_entry(deployed, image)
    kills.settle(deployed, image)
    assert not kills.entries(deployed, image)
    images.assert_holds(cloud, image, BODY)


def test_data_that_a_location_names_stays(deployed, cloud, image):
    images.upload(cloud, image, BODY)
    change(
        deployed, "UPDATE images SET status = 'saving' WHERE id = ?", image.id
    )
    kills.leave_entry(deployed, image)
    kills.settle(deployed, image)
    assert images.files_of(deployed, image)
    change(
        deployed, "UPDATE images SET status = 'active' WHERE id = ?", image.id
    )
    images.assert_holds(cloud, image, BODY)


def test_an_image_that_was_staged_to_the_end_can_be_imported(
    deployed, cloud, image
):
    images.upload(cloud, image, BODY, 'stage')
    kills.leave_entry(deployed, image)
    kills.settle(deployed, image)
    cloud.image.import_image(
        images.wait_for(cloud, image, 'uploading'), method='glance-direct'
    )
    images.wait_for(cloud, image, 'active')
    images.assert_holds(cloud, image, BODY)


def test_an_image_whose_import_has_begun_keeps_what_it_imports(
    deployed, cloud, image
):
    images.upload(cloud, image, BODY, 'stage')
    change(
        deployed,
        "UPDATE image_properties SET name = 'os_glance_import_task' "
        "WHERE image_id = ? AND name = 'os_glance_stage_host'",
        image.id,
    )
    kills.leave_entry(deployed, image)
    kills.settle(deployed, image)
    assert images.files_of(deployed, image)
    assert cloud.image.get_image(image.id).status == 'uploading'


def test_an_upload_that_was_refused_takes_nothing_from_another_machines(
    deployed, cloud, image
):
    """Its entry is younger than the status that the other one has set."""
    change(
        deployed,
        "UPDATE images SET status = 'saving', "
        "updated_at = datetime('now', '-1 minute') WHERE id = ?",
        image.id,
    )
    file = kills.write_like_glance(
        deployed.state_dir / 'data' / 'fast' / image.id, BODY
    )
    kills.leave_entry(deployed, image)
    kills.settle(deployed, image)
    assert file.read_bytes() == BODY
    assert cloud.image.get_image(image.id).status == 'saving'
    file.unlink()


def half_written(deployed, image):
    """What a kill leaves, without one: where its data would be."""
    change(
        deployed,
        "UPDATE images SET status = 'saving', "
        "updated_at = datetime('now', '+1 minute') WHERE id = ?",
        image.id,
    )
    kills.leave_entry(deployed, image)
    return deployed.state_dir / 'data' / 'fast' / image.id


def test_a_link_is_neither_followed_nor_removed(
    deployed, cloud, image, workspace
):
    target = workspace / f'precious-{uuid.uuid4()}'
    target.write_bytes(BODY)
    link = half_written(deployed, image)
    link.symlink_to(target)
    try:
        kills.settle(deployed, image)
        assert link.is_symlink()
        assert target.read_bytes() == BODY
    finally:
        link.unlink()
        target.unlink()


@pytest.fixture
def configured(deployed, workspace):
    """Copies the configuration with something replaced; where it is."""
    place = workspace / f'config-{uuid.uuid4()}'
    original = deployed.state_dir / 'etc' / 'glance'

    def copy(pattern: str, replacement: str):
        shutil.copytree(original, place)
        file = place / 'glance-api.conf'
        text, found = re.subn(
            pattern, replacement, file.read_text(), flags=re.MULTILINE
        )
        assert found == 1
        file.write_text(text)
        owner = (original / file.name).stat()
        os.chown(file, owner.st_uid, owner.st_gid)
        return place

    yield copy
    shutil.rmtree(place)


def test_a_database_that_does_not_answer_leaves_it_for_the_next_time(
    deployed, cloud, image, configured
):
    config = configured(
        '^connection = .*', 'connection = sqlite:////nowhere/glance'
    )
    data = kills.write_like_glance(half_written(deployed, image), BODY)
    log = kills.log_of(kills.another_process(deployed, config))
    assert f'{image.id} has left stays there for now' in log
    assert kills.entries(deployed, image)
    assert data.exists()
    kills.settle(deployed, image)
    kills.assert_mended(deployed, cloud, image)


# --- no journal ---


def test_an_upload_without_a_journal_is_served(deployed, cloud, image):
    place = kills.journal(deployed)
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        images.upload(cloud, image, BODY)
    finally:
        place.chmod(mode)
    images.assert_holds(cloud, image, BODY)
    log = deployed.log.read_text()
    assert f'The upload to {image.id} is not journaled' in log


def test_a_configuration_without_a_lock_path_has_no_journal(
    deployed, configured
):
    config = configured('^lock_path = .*', '')
    log = kills.log_of(kills.another_process(deployed, config))
    assert 'built Uploads' not in log
    assert 'lock_path is not set' in log
