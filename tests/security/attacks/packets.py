"""Runs inside a sandbox: sends the packets named in the first argument (JSON), each with the bytes
of the second, and prints for each "answered", "sent" or the errno that refused it.
"""

import errno
import json
import os
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

LEAK = sys.argv[2].encode()
QUESTION = b"\0\7\1\0\0\1\0\0\0\0\0\0\4leak\7example\0\0\1\0\1"
UDPLITE, DCCP, SCTP = 136, 33, 132


def datagram(kind, address, port, protocol=0):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind, protocol) as link:
        link.settimeout(0.5)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        link.sendto(QUESTION + LEAK, (address, int(port)))
        link.recv(512)
    return "answered"


def stream(kind, address, port, protocol=0):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind, protocol) as link:
        link.settimeout(1)
        link.connect((address, int(port)))
        link.sendall(LEAK)
        return "answered" if link.recv(1) else "sent"


def icmp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
        link.settimeout(0.5)
        body = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + LEAK + b"\0" * (len(LEAK) % 2)
        total = sum(struct.unpack(f"!{len(body) // 2}H", body))
        total = (total & 0xFFFF) + (total >> 16)
        sent = body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
        link.sendto(sent, (address, 0))
        while True:
            if link.recv(2048)[20] == 0:
                return "answered"


def header(address, protocol, length, options=b"", fragment=0):
    words = 5 + len(options) // 4
    begin = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + length, 7, fragment, 64, protocol, 0,
        socket.inet_aton("10.0.0.2"), socket.inet_aton(address),
    )  # fmt: skip
    return begin + options


def raw(address, protocol="17", options=b"", fragments=False):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as link:
        body = struct.pack("!HHHH", 9, 53, 8 + len(LEAK), 0) + LEAK
        if not fragments:
            link.sendto(header(address, int(protocol), len(body), options) + body, (address, 0))
            return "sent"
        body += b"\0" * (-len(body) % 8)
        link.sendto(header(address, 17, 8, fragment=0x2000) + body[:8], (address, 0))
        link.sendto(header(address, 17, len(body) - 8, fragment=1) + body[8:], (address, 0))
    return "sent"


def options(address, kind):
    """Loose (131) and strict (137) source routes by way of a neighbour."""
    route = bytes([int(kind), 7, 4]) + socket.inet_aton("192.0.2.1") + b"\0"
    return raw(address, options=route)


def raw6(address):
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, 59) as link:
        link.sendto(LEAK, (address, 0))
    return "sent"


def frame(address):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind(("eth0", 0x0800))
        body = struct.pack("!HHHH", 9, 53, 8 + len(LEAK), 0) + LEAK
        link.send(b"\xff" * 6 + b"\2" * 6 + b"\x08\0" + header(address, 17, len(body)) + body)
    return "sent"


def fastopen(address, port):
    """Data in the first packet, before anybody has accepted."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as link:
        link.settimeout(1)
        link.sendto(LEAK, 0x20000000, (address, int(port)))
        return "answered" if link.recv(1) else "sent"


def attempt(way):
    kind, *rest = way.split()
    ways = {
        "udp": lambda: datagram(socket.SOCK_DGRAM, *rest),
        "udp6": lambda: datagram(socket.SOCK_DGRAM, *rest),
        "udplite": lambda: datagram(socket.SOCK_DGRAM, *rest, UDPLITE),
        "sctp": lambda: stream(socket.SOCK_STREAM, *rest, SCTP),
        "dccp": lambda: stream(6, *rest, DCCP),
        "tcp6": lambda: stream(socket.SOCK_STREAM, *rest),
        "icmp": lambda: icmp(*rest),
        "raw": lambda: raw(*rest),
        "raw6": lambda: raw6(*rest),
        "options": lambda: options(*rest),
        "fragments": lambda: raw(*rest, fragments=True),
        "frame": lambda: frame(*rest),
        "fastopen": lambda: fastopen(*rest),
    }
    try:
        return ways[kind]()
    except TimeoutError:
        return "sent"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, os.strerror(error.errno or 0))


if __name__ == "__main__":
    ways = json.loads(sys.argv[1])
    with ThreadPoolExecutor(32) as pool:
        print(json.dumps(dict(zip(ways, pool.map(attempt, ways), strict=True))))
