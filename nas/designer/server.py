"""Serves the page to this machine's browsers, and to nobody who was not asked for."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EADDRINUSE
from ipaddress import ip_address
from urllib.parse import urlsplit

import dash
from flask import abort, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from budget.errors import UserError

MOST_REQUEST = 4 << 20
"""Bytes of the largest request that is read: a file that is opened is far smaller."""

EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that stand for all addresses of this machine."""

_LOCAL = ("127.0.0.1", "localhost", "::1")


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of each request."""


@contextmanager
def served(app: dash.Dash, host: str, port: int) -> Iterator[BaseWSGIServer]:
    """A server of the page on `host`, an address or a name of this machine; it answers once `serve_forever` is called.

    A `port` of 0 takes a free one; `server.port` says which. Requests whose Host header names neither `host` nor this
    machine are refused, so that no page elsewhere can have its own name point here and read this one; a `host` that
    stands for all addresses (0.0.0.0, ::) allows any address, which no name elsewhere is. Raises `UserError` for a host
    or port that cannot be had.
    """
    names = {*_LOCAL, host, *((socket.gethostname(), socket.getfqdn()) if host not in _LOCAL else ())}

    @app.server.before_request
    def refuse_other_names() -> None:
        try:
            asked = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        except ValueError:  # brackets that hold no address
            abort(400)
        if asked not in names and not (host in EVERYWHERE and _is_address(asked)):
            abort(400)

    app.server.config["MAX_CONTENT_LENGTH"] = MOST_REQUEST
    with _listening(host, port) as listener:
        server = make_server(host, port, app.server, threaded=True, request_handler=_Quiet, fd=listener.fileno())
        try:
            yield server
        finally:
            server.server_close()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OverflowError as error:
        raise UserError(f"{host}, port {port}, cannot be listened on: {error}; take another --port.") from None
    except OSError as error:
        option = "--port" if error.errno in (EADDRINUSE, EACCES) else "--host"
        # Numbers below 0 are of names that cannot be looked up.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise UserError(f"{host}, port {port}, cannot be listened on: {reason}; take another {option}.") from None
    with listener:
        yield listener


def address_of(server: BaseWSGIServer) -> str:
    """What to open in a browser, on this machine."""
    host = socket.gethostname() if server.host in EVERYWHERE else server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
