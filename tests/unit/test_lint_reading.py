"""What a file is, and what its lines mean to the server that reads it."""

import contextlib
import os

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st
from lint_cases import Machine

from glance_wsgi import errors
from glance_wsgi import lint
from glance_wsgi.lint import documents
from glance_wsgi.lint import httpd
from glance_wsgi.lint import ini
from glance_wsgi.lint import reading
from glance_wsgi.lint import view
from glance_wsgi.lint.documents import Kind


@pytest.fixture
def read(tmp_path):
    """Reads a text as if it were in a file."""

    def read(text, name='file.conf'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return reading.read(path)

    return read


# --- which kind of file it is ---


@pytest.mark.parametrize(
    ('text', 'kind'),
    [
        ('; note\n[uwsgi]\nmaster = 1\n', Kind.UWSGI),
        ('[Unit]\nDescription=x\n', Kind.UNIT),
        ('[Service]\nTimeoutStopSec=1\n', Kind.UNIT),
        ('[DEFAULT]\nenabled_backends = a:file\n', Kind.GLANCE),
        ('[glance_store]\ndefault_backend = a\n', Kind.GLANCE),
        ('[DEFAULT]\ndebug = true\n', Kind.OSLO),
        ('<VirtualHost *:80>\n</VirtualHost>\n', Kind.APACHE),
        ('  ProxyPass / http://x/\n', Kind.APACHE),
        ('wsgichunkedrequest on\n', Kind.APACHE),
    ],
)
def test_a_file_is_told_by_its_content(read, text, kind):
    assert read(text).kind is kind


@pytest.mark.parametrize(
    ('content', 'saying'),
    [
        (b'', 'no configuration'),
        (b'Dear reader\n', 'no configuration'),
        (b'uwsgi:\n  master: true\n', 'no configuration'),
        (b'[pipeline:main]\npipeline = a b\n', 'no configuration'),
        (b'\x7fELF\x02\x01\0', 'no text'),
        (b'[uwsgi]\nname = \xff\xfe\n', 'no text'),
        (b'[DEFAULT]\nenabled_backends = x\nno equals sign\n', 'damaged'),
    ],
)
def test_what_can_not_be_checked_is_refused(tmp_path, content, saying):
    path = tmp_path / 'file'
    path.write_bytes(content)
    with pytest.raises(errors.FileNotChecked, match=saying) as caught:
        reading.read(path)
    assert str(path) in caught.value.cause


def test_an_ini_file_finds_what_it_includes_below_another_root(read, tmp_path):
    part = tmp_path / 'etc' / 'part.ini'
    part.parent.mkdir()
    part.write_text('[uwsgi]\nharakiri = 5\n')
    found = read('[uwsgi]\nini = /etc/part.ini\n', 'etc/whole.ini')
    assert str(found.last('harakiri').place) == f'{part}:2'
    assert found.unread == ()
    part.unlink()
    found = read('[uwsgi]\nini = /etc/part.ini\n', 'etc/whole.ini')
    assert [name for _, name in found.unread] == ['/etc/part.ini']


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(errors.FileNotChecked, match='No such file'):
        reading.read(tmp_path / 'none')


def test_a_directory_and_a_pipe_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path, tmp_path / 'pipe'):
        with pytest.raises(errors.FileNotChecked, match='not a file'):
            reading.read(path)


NAMES = [
    'ExecStart',
    'KillMode',
    'LimitRequestBody',
    'ProxyPass',
    'RequestReadTimeout',
    'SetHandler',
    'Timeout',
    'TimeoutStopSec',
    'WSGIDaemonProcess',
    'WSGIScriptAlias',
    'connection',
    'home',
    'http-socket',
    'ini',
    'key_repository',
    'listen',
    'node_staging_uri',
    'processes',
    'threads',
    'uid',
    'worker_self_reference_url',
]
HEADS = ['[uwsgi]', '[Service]', '<VirtualHost *>', '[DEFAULT]', '[database]']
VALUES = st.text('ab01/<>[]{}()"=$%@#;:!|,.* \t\\', max_size=12)


@given(
    heads=st.lists(st.sampled_from(HEADS), min_size=1, max_size=2),
    lines=st.lists(
        st.builds('{0}{1}{2}'.format, st.sampled_from(NAMES), *[VALUES] * 2)
        | VALUES,
        max_size=6,
    ),
)
@example(heads=['[uwsgi]'], lines=['ini = '])
@example(heads=['<VirtualHost *>'], lines=['</', '</If>', 'ProxyPass'])
@example(
    heads=['<VirtualHost *>'],
    lines=[
        'WSGIDaemonProcess a threads=x',
        'WSGIProcessGroup a',
        'WSGIScriptAlias / /x',
        'Include /',
    ],
)
@example(heads=['[uwsgi]'], lines=['ini = /dev/zero', *['include = '] * 5])
def test_no_text_makes_a_rule_or_a_reader_fail(tmp_path_factory, heads, lines):
    path = tmp_path_factory.mktemp('any') / 'file'
    path.write_text('\n'.join((*heads, *lines)))
    with contextlib.suppress(errors.FileNotChecked):
        lint.lint([path], Machine())


# --- uWSGI ---


def test_uwsgis_options_may_be_repeated_and_the_last_one_counts(read):
    ini = read('[uwsgi]\nenv = A=1\nenv = B=2\nthreads = 1\nthreads = 2\n')
    assert [entry.value for entry in ini.all('env')] == ['A=1', 'B=2']
    assert ini.number('threads') == 2
    assert ini.last('threads').place.line == 5


def test_only_uwsgis_own_section_counts(read):
    ini = read('[other]\nthreads = 1\n[uwsgi]\nmaster = 1\n[x]\nmaster = 0\n')
    assert ini.last('threads') is None
    assert ini.on('master')


def test_uwsgi_takes_a_comment_behind_a_value_for_a_part_of_it(read):
    ini = read('[uwsgi]\n; threads = 1\n# threads = 2\nname = a ; b\n')
    assert ini.last('threads') is None
    assert ini.text('name') == 'a ; b'


@pytest.mark.parametrize(
    ('line', 'on'),
    [
        ('master = true', True),
        ('master = 1', True),
        ('master', True),
        ('M', True),
        ('master = false', False),
        ('master = off', False),
        ('master = 0', False),
        ('other = 1', False),
    ],
)
def test_a_switch_of_uwsgi_is_on_unless_it_says_no(read, line, on):
    assert read(f'[uwsgi]\n{line}\n').on('master') is on


def test_placeholders_and_variables_are_filled(read, monkeypatch, tmp_path):
    monkeypatch.setenv('WHERE', '/srv')
    ini = read(
        '[uwsgi]\nbase = $(WHERE)/x\nhome = %(base)/venv\n'
        'pidfile = %d%n.pid\nprocesses = %k\nother = %(none) 100%%\n',
        'glance.ini',
    )
    assert ini.text('home') == '/srv/x/venv'
    assert ini.text('pidfile') == f'{tmp_path}/glance.pid'
    assert ini.number('processes') == os.cpu_count()
    assert ini.text('other') == '%(none) 100%'


def test_what_uwsgi_includes_takes_the_place_of_the_line(read, tmp_path):
    (tmp_path / 'more.ini').write_text('[uwsgi]\nthreads = 8\n[b]\nlisten = 9')
    ini = read(
        '[uwsgi]\nthreads = 4\nini = more.ini\ninclude = more.ini:b\n'
        'ini = none.ini\n'
    )
    assert ini.number('threads') == 8
    assert ini.number('listen') == 9
    assert ini.last('threads').place.file == tmp_path / 'more.ini'
    assert [name for _, name in ini.unread] == ['none.ini']


def test_a_file_that_includes_itself_ends(read):
    ini = read('[uwsgi]\nini = self.ini\nthreads = 2\n', 'self.ini')
    assert ini.number('threads') == 2


def test_an_emperor_has_no_application(read):
    assert not view.is_application(read('[uwsgi]\nemperor = /x\n'))
    assert view.is_application(read('[uwsgi]\nmodule = x\n'))


# --- oslo.config ---


def test_an_option_of_oslo_config_knows_its_line(read):
    ini = read(
        '[DEFAULT]\n# a\nenabled_backends = a:file,\n  b:file\n\nx = 1\n'
    )
    assert ini.text('enabled_backends') == 'a:file,\nb:file'
    assert ini.last('enabled_backends').place.line == 3
    assert ini.last('x').place.line == 6


def test_references_of_oslo_config_are_followed_and_escapes_taken_off(read):
    ini = read(
        '[DEFAULT]\nhost = h\nenabled_backends = $none\n[wsgi]\np = /p\n'
        '[database]\nconnection = a://u:p$$\\$@$host/${wsgi.p}\n'
    )
    assert ini.text('connection', 'database') == 'a://u:p$$@h//p'
    assert ini.text('enabled_backends', 'DEFAULT') == '$none'


# --- systemd ---


def test_a_units_lines_are_joined_and_its_drop_ins_win(read, tmp_path):
    drop_in = tmp_path / 'x.service.d' / 'more.conf'
    drop_in.parent.mkdir()
    drop_in.write_text('[Service]\nTimeoutStopSec=2h\n')
    unit = read(
        '[Service]\nExecStart=-/bin/uwsgi \\\n  --ini x\nTimeoutStopSec=1\n',
        'x.service',
    )
    assert view.commands(unit) == ['/bin/uwsgi', '--ini', 'x']
    assert view.runs(unit, 'uwsgi') and not view.runs(unit, 'apache2')
    assert unit.text('TimeoutStopSec') == '2h'
    assert unit.last('TimeoutStopSec').place.file == drop_in


def test_a_units_drop_ins_count_as_systemd_has_them(
    read, tmp_path, monkeypatch
):
    """By their names; of one name, the one in /etc."""
    places = [tmp_path / name for name in ('lib', 'etc')]
    monkeypatch.setattr(ini, 'UNIT_DIRECTORIES', tuple(places))
    for place, name, seconds in (
        (places[0], 'b.conf', 1),
        (places[1], 'b.conf', 2),
        (places[1], 'a.conf', 3),
    ):
        drop_in = place / 'x.service.d' / name
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(f'[Service]\nTimeoutStopSec={seconds}\n')
    unit = read('[Service]\nExecStart=/bin/x\n', 'lib/x.service')
    found = [entry.value for entry in unit.all('TimeoutStopSec')]
    assert found == ['3', '2']


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [
        ('90', 90),
        ('1min 30s', 90),
        ('2h', 7200),
        ('1h 5min', 3900),
        ('500ms', 0.5),
        ('3 minutes', 180),
        ('infinity', float('inf')),
        ('', None),
        ('soon', None),
        ('5 parsecs', None),
    ],
)
def test_time_spans_are_read_as_systemd_reads_them(text, seconds):
    assert documents.seconds(text) == seconds


# --- Apache ---


def test_a_file_that_another_one_includes_is_checked_as_a_part_of_it(tmp_path):
    part, whole = tmp_path / 'part.conf', tmp_path / 'whole.conf'
    part.write_text('ProxyPass /image/ http://glance/\n')
    whole.write_text(
        'LimitRequestBody 0\nRequestReadTimeout body=0\n'
        'Proxy100Continue Off\nSetEnv proxy-sendchunked 1\n'
        f'<VirtualHost *>\nInclude {part}\n</VirtualHost>\n'
    )
    assert lint.lint([part, whole], Machine()) == []
    assert lint.lint([part], Machine()) != []


def names(document):
    return [str(one) for one in httpd.walk(document.directives)]


def test_apaches_lines_are_continued_and_words_are_quoted(read):
    found = read('Alias "/a b" \\\n   \'/c d\' "e \\"f\\""\n')
    (directive,) = found.directives
    assert directive.name == 'alias'
    assert directive.arguments == ('/a b', '/c d', 'e "f"')
    assert directive.place.line == 1


def test_sections_are_nested_and_names_are_in_any_letters(read):
    found = read(
        '<VIRTUALHOST *:80>\n# note\n<Location /x>\nproxypass http://y\n'
        '</Location>\n</virtualHost>\nTIMEOUT 5\n'
    )
    assert names(found) == [
        'virtualhost *:80',
        'location /x',
        'proxypass /x http://y',
        'timeout 5',
    ]


def test_definitions_are_filled_in_and_unknown_ones_stay(read):
    found = read('Define port 80\nListen ${port}\nServerName ${none}\n')
    assert names(found)[1:] == ['listen 80', 'servername ${none}']


def test_conditions_hold_by_what_is_loaded_and_defined(read):
    found = read(
        'LoadModule ssl_module x\nDefine here\n'
        '<IfModule mod_ssl.c>\nListen 1\n</IfModule>\n'
        '<IfModule !ssl_module>\nListen 2\n</IfModule>\n'
        '<IfModule mod_wsgi.c>\nListen 3\n</IfModule>\n'
        '<IfDefine here>\nListen 4\n</IfDefine>\n'
        '<IfDefine !here>\nListen 5\n</IfDefine>\n'
        '<IfVersion >= 2.4>\nListen 6\n</IfVersion>\n'
    )
    listened = [name for name in names(found) if name.startswith('listen')]
    assert listened == ['listen 1', 'listen 4', 'listen 6']


def test_a_part_of_a_configuration_is_meant_for_its_modules(read):
    text = '<IfModule mod_x.c>\nListen 1\n</IfModule>\n'
    text += '<IfModule !mod_x.c>\nListen 2\n</IfModule>\n'
    assert names(read(text)) == ['listen 1']


def test_included_files_are_read_in_their_place(read, tmp_path):
    for name in ('b', 'a'):
        (tmp_path / 'sites').mkdir(exist_ok=True)
        (tmp_path / 'sites' / f'{name}.conf').write_text(f'Timeout {name}\n')
    found = read(
        f'ServerRoot {tmp_path}\nInclude sites/*.conf\n'
        'IncludeOptional none/*\nInclude none.conf\nListen 1\n',
        'elsewhere/apache2.conf',
    )
    assert names(found)[1:] == ['timeout a', 'timeout b', 'listen 1']
    assert [name for _, name in found.unread] == ['none.conf']


def test_an_apache_file_that_includes_itself_ends(read):
    assert read('Include self.conf\nListen 1\n', 'self.conf').directives


def test_a_site_inherits_and_its_own_directive_wins(read):
    found = read(
        'Timeout 5\nLimitRequestBody 7\n<VirtualHost *>\nTimeout 6\n'
        'ProxyPass / http://x/\n</VirtualHost>\n'
    )
    (site,) = view.sites(found)
    assert site.first_argument('timeout') == '6'
    assert site.first_argument('limitrequestbody') == '7'


def test_sites_beside_glances_are_left_alone(read):
    found = read(
        '<VirtualHost *:80>\nProxyPass / http://horizon/\n</VirtualHost>\n'
        '<VirtualHost *:81>\nDocumentRoot /var/www\n</VirtualHost>\n'
        '<VirtualHost *:82>\nProxyPass / http://glance/\n</VirtualHost>\n'
    )
    assert [site.place.line for site in view.sites(found)] == [7]


@pytest.mark.parametrize(
    ('server', 'option', 'user'),
    [
        ('User ${APACHE_RUN_USER}', '', 'www-data'),
        ('', '', 'www-data'),
        ('User web', '', 'web'),
        ('User web', 'user=glance', 'glance'),
        ('User web', 'user=#123', '123'),
    ],
)
def test_daemons_of_mod_wsgi_run_as_whom_the_nearest_line_names(
    read, server, option, user
):
    found = read(
        f'{server}\nTimeout 5\n<VirtualHost *>\nWSGIDaemonProcess g {option}\n'
        'WSGIScriptAlias / /x process-group=g\n</VirtualHost>\n'
    )
    asked = []
    machine = Machine()
    machine.identity = asked.append
    view.View((found,), machine).service()
    assert asked == [user]
