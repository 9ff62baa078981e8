"""Tries to get out in every way and prints, as JSON, what the kernel said to each."""

import json
import socket


def connect(family, kind, address):
    with socket.socket(family, kind) as trial:
        trial.settimeout(20)
        trial.connect(address)
        if kind == socket.SOCK_DGRAM:
            trial.send(b"anybody?")
        # Somebody takes every TCP connection, to see whether a policy lets it out.
        if not trial.recv(1):
            raise ConnectionResetError


def attempt(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return type(error).__name__
    return "it worked"


TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
HOSTS = [
    "1.1.1.1",
    "10.0.0.1",
    "10.0.0.5",
    "127.0.0.1",
    "169.254.169.254",
    "192.168.0.1",
    "198.18.0.1",
]
found = {}
for host in HOSTS:
    # The resolver is asked below, by those who know how.
    resolver = host == "10.0.0.1"
    for port in (54 if resolver else 53, 80, 443, 7300):
        found[f"tcp {host}:{port}"] = attempt(connect, socket.AF_INET, TCP, (host, port))
    found[f"udp {host}:53"] = attempt(connect, socket.AF_INET, UDP, (host, 54 if resolver else 53))
    found[f"udp {host}:443"] = attempt(connect, socket.AF_INET, UDP, (host, 443))
for name in ("example.com", "localhost.example.com", "metadata.google.internal"):
    found[f"name {name}"] = attempt(socket.getaddrinfo, name, 443)
found["tcp6"] = attempt(connect, socket.AF_INET6, TCP, ("2606:4700::1111", 443))
print(json.dumps(found))
