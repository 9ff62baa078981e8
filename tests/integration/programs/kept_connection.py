"""Asks for `/` of a host each time a line comes, over one connection for as long as it lives.

Prints for each `<local port> <status> <body>`.
"""

import http.client
import sys

connection = http.client.HTTPSConnection(sys.argv[1], timeout=20)
print("ready", flush=True)
for _ in sys.stdin:
    connection.request("GET", "/")
    answer = connection.getresponse()
    body = answer.read().decode().replace("\n", " ")
    port = connection.sock.getsockname()[1] if connection.sock else None
    print(port, answer.status, body, flush=True)
