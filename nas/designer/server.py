"""Serves the page to this machine's browsers, and to nobody who was not asked for."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import dash
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from budget.errors import UserError

MOST_REQUEST = 4 << 20
"""Bytes of the largest request that is read: a file that is opened is far smaller."""

_LOCAL = ("127.0.0.1", "localhost", "::1")


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of each request."""


@contextmanager
def served(app: dash.Dash, host: str, port: int) -> Iterator[BaseWSGIServer]:
    """A server of the page on `host`, an address or a name of this machine; it answers once `serve_forever` is called.

    A `port` of 0 takes a free one; `server.port` says which. Requests whose Host header names neither `host` nor this
    machine are refused, so that no page elsewhere can have its own name point here and read this one. Raises
    `UserError` for a host or port that cannot be had.
    """
    names = {*_LOCAL, host, *((socket.gethostname(), socket.getfqdn()) if host not in _LOCAL else ())}
    app.server.config["TRUSTED_HOSTS"] = sorted(names)
    app.server.config["MAX_CONTENT_LENGTH"] = MOST_REQUEST
    try:
        server = make_server(host, port, app.server, threaded=True, request_handler=_Quiet)
    except (OSError, SystemExit, OverflowError) as error:
        raise UserError(f"{host}, port {port}, cannot be listened on ({error}); take another --port.") from None
    try:
        yield server
    finally:
        server.server_close()
