"""What is refused by its look alone."""

import pathlib

import pytest

from glance_wsgi import deployment
from glance_wsgi import errors
from glance_wsgi import preflight


def made(state_dir, **options):
    return deployment.Deployment(state_dir, None, options)


@pytest.mark.parametrize('name', ['with blank', 'percent%d', 'hash#x', "it's"])
def test_a_state_directory_that_no_ini_file_can_name_is_refused(
    tmp_path, name
):
    with pytest.raises(errors.StateNotWritable) as caught:
        preflight.check_paths(made(tmp_path / name))
    assert name in caught.value.cause


def test_a_virtualenv_that_paste_can_not_name_is_refused(
    tmp_path, monkeypatch
):
    python = pathlib.Path('/opt/my venv/bin/python')
    monkeypatch.setattr(deployment.Deployment, 'python', python)
    with pytest.raises(errors.PythonNotReadable) as caught:
        preflight.check_paths(made(tmp_path))
    assert '/opt/my venv' in caught.value.cause


def test_usual_paths_are_accepted(tmp_path):
    preflight.check_paths(made(tmp_path / 'Größe_1.0+b-2'))


@pytest.mark.parametrize(
    'name', ['DEFAULT', 'database', 'wsgi', 'keystone_authtoken', 'staging']
)
def test_a_store_with_the_name_of_something_else_is_refused(tmp_path, name):
    deployed = made(tmp_path, stores=f'{name}:file')
    with pytest.raises(errors.StoreUnknown) as caught:
        preflight.check_stores(deployed)
    assert f'"{name}"' in caught.value.cause


def test_stores_of_other_names_are_accepted(tmp_path):
    preflight.check_stores(made(tmp_path, stores='a_1:file,web:http'))
