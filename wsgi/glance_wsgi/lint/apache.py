"""What Apache configurations get wrong, whatever hosts Glance behind them."""

import re
from collections.abc import Callable, Iterator

from glance_wsgi.lint import view
from glance_wsgi.lint.documents import Kind
from glance_wsgi.lint.findings import Check
from glance_wsgi.lint.findings import Hit
from glance_wsgi.lint.findings import Rule
from glance_wsgi.lint.findings import Severity
from glance_wsgi.lint.httpd import Directive
from glance_wsgi.lint.httpd import Httpd
from glance_wsgi.lint.view import Site
from glance_wsgi.lint.view import View

_MANUAL = 'https://httpd.apache.org/docs/2.4/mod/'


def each(check: Callable[[Site], Iterator[Hit]]) -> Check:
    """Looks at each site that serves Glance."""

    def checked(document: Httpd, seen: View) -> Iterator[Hit]:
        for site in view.sites(document):
            yield from check(site)

    return checked


def rule(id: str, severity: Severity, check: Check, *texts: str) -> Rule:
    """A rule for Apache configurations."""
    what, why, action = texts
    return Rule(id, severity, (Kind.APACHE,), check, what, why, action)


def placed(site: Site, name: str) -> Hit:
    """Where a directive is that counts, or else the site."""
    found = site.last(name)
    return (found.place if found else site.place), {}


def _body_limit(site: Site) -> Iterator[Hit]:
    value = site.first_argument('limitrequestbody')
    if value != '0':
        said = f'is {value} bytes' if value else 'is not set'
        yield placed(site, 'limitrequestbody')[0], {'said': said}


def _read_timeout(site: Site) -> Iterator[Hit]:
    modules = site.document.modules
    if modules and 'reqtimeout' not in modules:
        return
    found = site.last('requestreadtimeout')
    words = found.arguments if found else ()
    if not any(word.lower() == 'body=0' for word in words):
        said = ' '.join(words) if found else 'its default'
        yield placed(site, 'requestreadtimeout')[0], {'said': said}


def target(proxy: Directive) -> str:
    """The URL that something is passed to, without its unix socket."""
    words = [proxy.first.removeprefix('proxy:')]
    words = words if proxy.name == 'sethandler' else [*proxy.arguments[1:2]]
    return words[0].rpartition('|')[2] if words else ''


def _slashes(site: Site) -> Iterator[Hit]:
    for proxy in site.all('proxypass'):
        path, url = proxy.first, target(proxy)
        if re.match(r'\w+://', url) and (
            path.endswith('/') != url.endswith('/')
        ):
            yield proxy.place, {'path': path, 'url': url}


def over_http(site: Site) -> list[Directive]:
    """What is passed on as HTTP."""
    return [
        proxy
        for proxy in site.proxies()
        if re.match(r'https?://', target(proxy))
    ]


def _over_uwsgi(site: Site) -> Iterator[Hit]:
    for proxy in site.proxies():
        if target(proxy).startswith('uwsgi:'):
            yield proxy.place, {'url': target(proxy)}


def _variables(site: Site) -> dict[str, Directive]:
    found = {}
    for one in (*site.outside, *site.inside):
        if one.name in ('setenv', 'setenvif', 'setenvifnocase'):
            for word in one.arguments:
                found[word.partition('=')[0]] = one
    return found


def _spooled(site: Site) -> Iterator[Hit]:
    found = _variables(site).get('proxy-sendcl')
    if found and over_http(site):
        yield found.place, {}


def _not_streamed(site: Site) -> Iterator[Hit]:
    known = _variables(site)
    if over_http(site) and not known.keys() & {
        'proxy-sendchunked',
        'proxy-sendcl',
    }:
        yield site.place, {}


def _expectation(document: Httpd, seen: View) -> Iterator[Hit]:
    # Right for the server that says so itself and has our entry module.
    ours = all(map(view.answers_expectations, seen.uwsgis()))
    right = ('off', 'on') if ours else ('off',)
    for site in view.sites(document):
        said = site.first_argument('proxy100continue').lower()
        if said not in right:
            for proxy in over_http(site):
                yield proxy.place, {}


def _logged_token(site: Site) -> Iterator[Hit]:
    for one in (*site.outside, *site.inside):
        if one.name in ('customlog', 'logformat', 'errorlogformat'):
            text = str(one).lower()
            if re.search(r'%\S*\{(x-auth-token|authorization)\}i', text):
                yield one.place, {}


def _unread(document: Httpd, seen: View) -> Iterator[Hit]:
    for place, name in document.unread:
        yield place, {'name': name}


RULES = (
    rule(
        'limit-request-body',
        Severity.ERROR,
        each(_body_limit),
        'LimitRequestBody {said}.',
        'A larger image is refused with 413; since Apache 2.4.53 the default '
        f'is 1 GiB ({_MANUAL}core.html#limitrequestbody).',
        'Write LimitRequestBody 0.',
    ),
    rule(
        'request-read-timeout',
        Severity.WARNING,
        each(_read_timeout),
        'RequestReadTimeout for the body is {said}.',
        'mod_reqtimeout cuts uploads that are slow or that stall '
        f'({_MANUAL}mod_reqtimeout.html).',
        'Write RequestReadTimeout header=20-40,MinRate=500 body=0.',
    ),
    rule(
        'proxy-slash',
        Severity.ERROR,
        each(_slashes),
        'ProxyPass {path} and {url} do not end alike.',
        'A slash at one end only is lost, or doubled, in every request that '
        f'is passed on ({_MANUAL}mod_proxy.html#proxypass).',
        'Let both end in a slash, or neither of them.',
    ),
    rule(
        'proxy-uwsgi',
        Severity.ERROR,
        each(_over_uwsgi),
        '{url} is passed on by mod_proxy_uwsgi.',
        'It answers 411 to chunked uploads, which most clients send '
        '(https://github.com/unbit/uwsgi/issues/1540).',
        'Let uWSGI listen with http-socket, and write http:// here.',
    ),
    rule(
        'proxy-sendcl',
        Severity.WARNING,
        each(_spooled),
        'proxy-sendcl is set.',
        'Apache then keeps each chunked upload on its own disk before Glance '
        f'gets the first byte ({_MANUAL}mod_proxy_http.html).',
        'Write SetEnv proxy-sendchunked 1 instead.',
    ),
    rule(
        'proxy-sendchunked',
        Severity.INFO,
        each(_not_streamed),
        'proxy-sendchunked is not set.',
        'Apache may buffer the beginning of an upload before it decides how '
        f'to pass it on ({_MANUAL}mod_proxy_http.html).',
        'Write SetEnv proxy-sendchunked 1.',
    ),
    rule(
        'proxy-100-continue',
        Severity.ERROR,
        _expectation,
        'The expectation "100-continue" is passed on.',
        "uWSGI's http-socket never answers it, only glance_wsgi.api in it "
        'does; so uploads by curl end with 500 after a timeout '
        f'({_MANUAL}mod_proxy.html#proxy100continue).',
        'Write Proxy100Continue Off.',
    ),
    rule(
        'logged-token-apache',
        Severity.ERROR,
        each(_logged_token),
        'The log has the token of each request.',
        'Whoever reads the log can act as its user '
        f'({_MANUAL}mod_log_config.html).',
        'Remove that header from the format.',
    ),
    rule(
        'include-apache',
        Severity.INFO,
        _unread,
        "{name}, which it includes, can't be read.",
        f'What is in it was not checked ({_MANUAL}core.html#include).',
        'Check it where the file is there and readable.',
    ),
)
