#!/usr/bin/python
"""Registers Glance in Keystone: its user; with a URL its endpoints, too.

An Ansible module. It runs under the Python of Glance's virtualenv, which has
openstacksdk. What is right already is left alone.
https://docs.openstack.org/api-ref/identity/v3/
"""

import openstack
from ansible.module_utils.basic import AnsibleModule
from keystoneauth1 import exceptions
from keystoneauth1 import session
from keystoneauth1.identity import v3
from openstack import exceptions as sdk_exceptions

DOMAIN = 'default'
PROJECT = 'service'
ROLES = ('service', 'member')
INTERFACES = ('public', 'internal')


class Registration:
    """What is to be in Keystone.

    :param module: has the parameters
    """

    def __init__(self, module):
        self.wanted = module.params
        self.dry = module.check_mode
        self.changes = []
        self.verify = self.wanted['cacert'] or True
        cloud = openstack.connect(
            load_envvars=False,
            load_yaml_config=False,
            auth=self.wanted['auth'],
            verify=self.verify,
        )
        cloud.authorize()
        self.identity = cloud.identity

    def make(self):
        """Make what is missing, correct what is wrong."""
        project = self.found_or_made(
            'project',
            self.identity.find_project(PROJECT, domain_id=DOMAIN),
            lambda: self.identity.create_project(
                name=PROJECT, domain_id=DOMAIN
            ),
        )
        self.user(project)
        if self.wanted['url']:
            self.catalogue()

    def catalogue(self):
        """The region, the service and its endpoints."""
        self.found_or_made(
            'region',
            self.identity.find_region(self.wanted['region']),
            lambda: self.identity.create_region(id=self.wanted['region']),
        )
        service = self.found_or_made(
            'service',
            next(iter(self.identity.services(type='image')), None),
            lambda: self.identity.create_service(
                name='glance', type='image', description='OpenStack Images'
            ),
        )
        for interface in INTERFACES:
            self.endpoint(service, interface)

    def found_or_made(self, what, found, make):
        """What was found; or what `make` makes."""
        if found is not None:
            return found
        return self.change(what, make)

    def change(self, what, make):
        """Note a change, and make it where this is no dry run."""
        self.changes.append(what)
        return None if self.dry else make()

    def user(self, project):
        """Glance's user, its password and its roles."""
        name, password = self.wanted['user'], self.wanted['password']
        user = self.identity.find_user(name, domain_id=DOMAIN)
        if user is None:
            user = self.change(
                'user',
                lambda: self.identity.create_user(
                    name=name, domain_id=DOMAIN, password=password
                ),
            )
        elif not self.logs_in(name, password):
            self.change(
                'password',
                lambda: self.identity.update_user(user, password=password),
            )
        for name in ROLES:
            self.role(name, project, user)

    def logs_in(self, name, password):
        """Whether the user's password is that one."""
        auth = v3.Password(
            auth_url=self.wanted['auth']['auth_url'],
            username=name,
            password=password,
            user_domain_id=DOMAIN,
            unscoped=True,
        )
        try:
            auth.get_token(session.Session(timeout=20, verify=self.verify))
        except exceptions.Unauthorized:
            return False
        return True

    def role(self, name, project, user):
        """The role, and that the user has it in the project."""
        role = self.found_or_made(
            f'role {name}',
            self.identity.find_role(name),
            lambda: self.identity.create_role(name=name),
        )
        known = None not in (project, user, role)
        if not known or not self.identity.validate_user_has_project_role(
            project, user, role
        ):
            self.change(
                f'assignment {name}',
                lambda: self.identity.assign_project_role_to_user(
                    project, user, role
                ),
            )

    def endpoint(self, service, interface):
        """The endpoint of the region, with our URL."""
        place = {
            'interface': interface,
            'region_id': self.wanted['region'],
        }
        url = self.wanted['url']
        found = service and next(
            iter(self.identity.endpoints(service_id=service.id, **place)), None
        )
        if not found:
            self.change(
                f'{interface} endpoint',
                lambda: self.identity.create_endpoint(
                    service_id=service.id, url=url, **place
                ),
            )
        elif found.url != url:
            self.change(
                f'{interface} endpoint',
                lambda: self.identity.update_endpoint(found, url=url),
            )


def main():
    """Read the parameters, do it, say what has changed."""
    module = AnsibleModule(
        argument_spec={
            'auth': {'type': 'dict', 'required': True, 'no_log': True},
            'cacert': {'type': 'path'},
            'user': {'type': 'str', 'required': True},
            'password': {'type': 'str', 'required': True, 'no_log': True},
            'region': {'type': 'str', 'required': True},
            'url': {'type': 'str'},
        },
        supports_check_mode=True,
    )
    try:
        registration = Registration(module)
        registration.make()
    except (exceptions.ClientException, sdk_exceptions.SDKException) as error:
        module.fail_json(
            msg=f'Keystone does not let us register Glance: {error}. Correct '
            'glance_wsgi_keystone_url or glance_wsgi_keystone_admin.'
        )
    module.exit_json(
        changed=bool(registration.changes), changes=registration.changes
    )


if __name__ == '__main__':
    main()
