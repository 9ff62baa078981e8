"""Asks a language model for a stream, and prints each event as it comes: `llm_client.py URL`."""

import json
import sys
import urllib.request

body = json.dumps({"model": "m", "stream": True, "messages": []}).encode()
request = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
with urllib.request.urlopen(request) as response:
    print("left", response.headers["X-Tokens-Left"], flush=True)
    for line in response:
        if line.strip():
            print(line.decode().strip(), flush=True)
