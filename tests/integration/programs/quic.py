"""Begins a QUIC connection as a browser would, and says what it was told; nothing is waited for."""

from __future__ import annotations

import os
import socket
import sys

kind = socket.AF_INET, socket.SOCK_DGRAM
address = socket.getaddrinfo(sys.argv[1], 443, *kind)[0][4]
with socket.socket(*kind) as connection:
    connection.settimeout(30)
    connection.connect(address)
    # A long header of version 1 (RFC 9000), as large as a first packet must be.
    connection.send(b"\xc0\x00\x00\x00\x01" + os.urandom(1195))
    try:
        print(len(connection.recv(2048)))
    except OSError as error:
        print(type(error).__name__)
