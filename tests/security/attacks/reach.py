"""Runs inside a sandbox: tries to reach every address given as JSON in the first argument.

Prints one JSON object: target → "answered", "held" (connected and neither answered nor ended),
"closed", "silent" or the name of the errno. Somebody takes every TCP connection, to see whether a
policy lets it out, so that one is taken says nothing yet.
Targets: "tcp 192.0.2.1 80", "udp 192.0.2.1 53", "ping 192.0.2.1", "raw 192.0.2.1".
"""

import concurrent.futures
import errno
import json
import os
import socket
import struct
import sys

WAIT = 1.5


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address: str, port: str) -> str:
    with socket.socket(family(address), socket.SOCK_STREAM) as dialler:
        dialler.settimeout(WAIT)
        dialler.connect((address, int(port)))
        try:
            dialler.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return "answered" if dialler.recv(1) else "closed"
        except TimeoutError:
            return "held"


def udp(address: str, port: str) -> str:
    with socket.socket(family(address), socket.SOCK_DGRAM) as sender:
        sender.settimeout(WAIT)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        # A DNS question, which a resolver would answer.
        question = b"\x00\x07\x01\x00\x00\x01" + b"\0" * 6 + b"\x07example\x03com\0\0\x01\0\x01"
        sender.sendto(question, (address, int(port)))
        sender.recv(512)
    return "answered"


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(address: str) -> str:
    """By the unprivileged ping socket, else by a raw one."""
    six = ":" in address
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            link = socket.socket(family(address), kind, protocol)
        except OSError as error:
            last = error
            continue
        with link:
            link.settimeout(WAIT)
            echo = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 1, 1)
            if not six:
                echo = struct.pack("!BBHHH", 8, 0, checksum(echo), 1, 1)
            link.sendto(echo, (address, 0))
            while True:
                answer = link.recv(2048)
                body = answer if kind == socket.SOCK_DGRAM or six else answer[20:]
                if body[0] in (0, 129):
                    return "answered"
                if body[0] == 3:
                    return "unreachable"
    raise last


def raw(address: str) -> str:
    """A whole IP packet of our own making, with a false sender."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as link:
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            0,
            28,
            1,
            0,
            64,
            17,
            0,
            socket.inet_aton("192.0.2.77"),
            socket.inet_aton(address),
        )
        link.sendto(header + struct.pack("!HHHH", 9, 9, 8, 0), (address, 0))
    return "sent"


def attempt(target: str) -> str:
    kind, *rest = target.split()
    try:
        return {"tcp": tcp, "udp": udp, "ping": ping, "raw": raw}[kind](*rest)
    except TimeoutError:
        return "silent"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, os.strerror(error.errno or 0))


if __name__ == "__main__":
    targets = json.loads(sys.argv[1])
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        print(json.dumps(dict(zip(targets, pool.map(attempt, targets), strict=True))))
