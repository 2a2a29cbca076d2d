"""Web servers on loopback that serve for a block of a test."""

import http.server
import ssl
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers without a word on stderr."""

    def log_message(self, *words):
        """Nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A web server, from the beginning of a block to its end.

    :param pair: a certificate and its key; with them it speaks HTTPS
    :ivar url: where, by address; its certificate has to name that
    """

    def __init__(self, handler, pair=None) -> None:
        super().__init__(('127.0.0.1', 0), handler)
        if pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        scheme = 'https' if pair else 'http'
        self.url = f'{scheme}://127.0.0.1:{self.server_port}'

    def __enter__(self) -> 'Server':
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
