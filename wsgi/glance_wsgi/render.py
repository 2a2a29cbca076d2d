"""The one renderer: templates of httpd/ in, configuration files out."""

import dataclasses
import importlib.metadata
import pathlib
import re
import traceback
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jinja2

from glance_wsgi import errors
from glance_wsgi import state

_PACKAGE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class File:
    """A file to be rendered.

    :param template: the name of a template in httpd/
    :param owner: who owns the file
    :param mode: its rights; one with secrets needs 0600
    """

    path: pathlib.Path
    template: str
    variables: Mapping[str, Any]
    owner: state.Owner
    mode: int = 0o644

    def text(self) -> str:
        """What has to be in it.

        :raises errors.TemplateIncomplete: see `render`
        """
        return render(self.template, self.variables)

    def is_right(self) -> bool:
        """Whether it is there just as `write` would leave it."""
        return state.is_right(self.path, self.text(), self.owner, self.mode)

    def write(self) -> bool:
        """Write it if it is missing or was another one; True if so.

        :raises errors.TemplateIncomplete: see `render`
        """
        return state.write_file(self.path, self.text(), self.owner, self.mode)


def template_directory() -> pathlib.Path:
    """Where the templates are.

    In a checkout (an editable install) they are its httpd/; a wheel puts them
    into share/glance-wsgi/httpd of the environment that it is installed to.

    :raises errors.TemplateIncomplete: they were not installed
    """
    checkout = _PACKAGE.parent.parent / 'httpd'
    if checkout.is_dir() and (checkout.parent / 'setup.cfg').is_file():
        return checkout
    for file in importlib.metadata.files('glance-wsgi') or ():
        place = pathlib.Path(str(file.locate())).resolve()
        if file.parts[-3:-1] == ('glance-wsgi', 'httpd') and place.is_file():
            return place.parent
    raise errors.TemplateIncomplete(
        'The templates of glance-wsgi are not installed.',
        'Install glance-wsgi again from its wheel.',
    )


def environment() -> jinja2.Environment:
    """The Jinja2 environment that all templates are rendered in."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_directory()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # Configuration files are no markup: nothing has to be escaped.
        autoescape=False,  # noqa: S701
    )
    # oslo.config takes $name for a reference to another option. Not "$$":
    # behind a backslash that would be something else.
    made.filters['oslo'] = lambda value: str(value).replace('$', r'\$')
    made.filters['python'] = lambda value: repr(str(value))
    # uWSGI takes %c for one of its magic variables.
    made.filters['uwsgi'] = lambda value: str(value).replace('%', '%%')
    # ConfigParser takes %(name)s for a reference, and Paste what follows
    # "config:" for a URL.
    made.filters['paste'] = lambda value: str(value).replace('%', '%%')
    made.filters['paste_url'] = lambda value: urllib.parse.quote(
        str(value)
    ).replace('%', '%%')
    # systemd takes % for one of its specifiers.
    made.filters['systemd'] = lambda value: str(value).replace('%', '%%')
    return made


def sections(template: str) -> set[str]:
    """The names of the sections that an ini template of httpd/ writes."""
    text = (template_directory() / template).read_text()
    return set(re.findall(r'^\[(\w+)\]', text, re.MULTILINE))


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Fill a template of httpd/.

    :raises errors.TemplateIncomplete: it needs a variable that is missing, or
        is no template; or one that it includes
    """
    try:
        return environment().get_template(template).render(variables)
    except jinja2.TemplateError as error:
        why = (error.message or str(error)).rstrip('.')
        raise errors.TemplateIncomplete(
            f"The template {_place(template, error)} can't be filled: {why}.",
            'Put it back as it was, or install glance-wsgi again.',
        ) from error


def _place(template: str, error: jinja2.TemplateError) -> str:
    """The file in which a mistake is, maybe an included one, and its line."""
    if isinstance(error, jinja2.TemplateSyntaxError) and error.filename:
        return f'{error.filename}, line {error.lineno},'
    directory = template_directory()
    # Jinja2 has its tracebacks lead to the templates. The last one is where
    # the mistake is; the others include it.
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if pathlib.Path(frame.filename).parent == directory:
            return f'{frame.filename}, line {frame.lineno},'
    return str(directory / template)
