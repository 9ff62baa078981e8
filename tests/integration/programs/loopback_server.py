"""A web server for tests that listens on one address alone: `loopback_server.py ADDRESS PORT`."""

import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS, PORT = sys.argv[1], int(sys.argv[2])


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"at {ADDRESS}".encode())

    def log_message(self, *arguments):
        pass


Server((ADDRESS, PORT), Handler).serve_forever()
