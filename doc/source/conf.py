"""Sphinx's configuration: https://www.sphinx-doc.org/en/master/usage/."""

project = 'glance-wsgi'
copyright = 'glance-wsgi developers'
author = 'glance-wsgi developers'

extensions = [
    # the theme; offline it builds like any other
    'openstackdocstheme',
    # the verbs and their flags, from the code that parses them
    'cliff.sphinxext',
    # the options, from the modules that declare them
    'oslo_config.sphinxext',
    # the release notes, from git's history of them
    'reno.sphinxext',
]

html_theme = 'openstackdocs'
openstackdocs_auto_name = False
# No bug tracker's link and no release's name: the theme would ask git.
openstackdocs_use_storyboard = False
html_theme_options = {'show_other_versions': False}

# A name in `backticks` is something of this documentation, or a mistake.
default_role = 'any'
nitpicky = True

autoprogram_cliff_application = 'glance-wsgi'
# What every program has.
autoprogram_cliff_ignored = ['--help']
