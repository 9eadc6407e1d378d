"""Refuse every connection beyond this machine, and remember the attempt."""

from __future__ import annotations

import socket

refused: list[str] = []
_connect, _connect_ex, _getaddrinfo = (socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo)


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    names = (None, "", "localhost", "0.0.0.0", "::", "::1", socket.gethostname())
    return host in names or (isinstance(host, str) and host.startswith("127."))


def _check(host: object) -> None:
    if not _is_local(host):
        refused.append(str(host))
        raise ConnectionRefusedError(f"tests run without a network: {host} was refused")


def _guarded(connect):
    def call(self, address):
        if isinstance(address, tuple):  # else the path of a Unix socket
            _check(address[0])
        return connect(self, address)

    return call


def _lookup(host, *args, **kwargs):
    _check(host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _guarded(_connect)
socket.socket.connect_ex = _guarded(_connect_ex)
socket.getaddrinfo = _lookup
