"""Runs inside a sandbox: holds the conversations given as JSON on standard input, all at once.

A conversation is `{to, port, tls?, send, gap, wait, enough, end, udp}`: connect (by name or
address), start TLS if asked, send each piece (latin-1) with a pause of `gap` seconds between, and
read until the other side ends it, says nothing for `wait` seconds, or has said `enough`. `tls` is
`{name, alpn, highest}`.
Prints for each `{stage, error, received, end, issuer, alpn}`; `end` is closed, reset or silent.
"""

import concurrent.futures
import json
import socket
import ssl
import sys
import time

VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.2": ssl.TLSVersion.TLSv1_2, None: None}


def secured(stream, wanted):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if wanted.get("alpn"):
        context.set_alpn_protocols(wanted["alpn"])
    highest = VERSIONS[wanted.get("highest")]
    if highest is not None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = highest
    return context.wrap_socket(stream, server_hostname=wanted.get("name"))


def converse(talk):
    told = {"stage": "connect", "error": None, "received": "", "end": None}
    received = bytearray()
    kind = socket.SOCK_DGRAM if talk.get("udp") else socket.SOCK_STREAM
    stream = None
    try:
        *_, address = socket.getaddrinfo(talk["to"], talk["port"], type=kind)[0]
        stream = socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET, kind)
        stream.settimeout(talk.get("wait", 5))
        stream.connect(address)
        if talk.get("tls") is not None:
            told["stage"] = "tls"
            stream = secured(stream, talk["tls"])
            told["issuer"] = stream.getpeercert(binary_form=True).hex()
            told["alpn"] = stream.selected_alpn_protocol()
        told["stage"] = "talk"
        for piece in talk.get("send", []):
            stream.send(piece.encode("latin-1")) if talk.get("udp") else stream.sendall(
                piece.encode("latin-1")
            )
            time.sleep(talk.get("gap", 0))
        if talk.get("end"):
            stream.shutdown(socket.SHUT_WR)
        if talk.get("udp"):
            received += stream.recv(65536)
        else:
            enough = talk.get("enough", "").encode("latin-1")
            while piece := stream.recv(65536):
                received += piece
                if enough and enough in received:
                    break
        told["end"] = "closed"
    except TimeoutError:
        told["end"] = "silent"
    except ssl.SSLError as error:
        told["end"], told["error"] = "closed", error.reason or str(error)
    except OSError as error:
        told["end"], told["error"] = "reset", type(error).__name__
    finally:
        if stream is not None:
            stream.close()
    told["received"] = received.decode("latin-1")
    return told


if __name__ == "__main__":
    talks = json.load(sys.stdin)
    with concurrent.futures.ThreadPoolExecutor(max(1, min(256, len(talks)))) as pool:
        print(json.dumps(list(pool.map(converse, talks))))
