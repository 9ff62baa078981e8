"""Looks for words in everything a sandbox holds: memory, environment, arguments, files.

search_everything.py FIRST-HALF:SECOND-HALF... as root. A word is given in halves, so that nothing
but this process holds it whole. Prints one JSON object: word number -> places.
"""

import json
import os
import sys
from contextlib import suppress

CHUNK = 1 << 20
WORDS = [text.replace(":", "").encode() for text in sys.argv[1:]]
LONGEST = max(map(len, WORDS))
OWN = str(os.getpid())
found = {str(number): [] for number in range(len(WORDS))}
counts = {"processes": 0, "bytes_of_memory": 0, "files": 0, "bytes_of_files": 0}


def look(data, place):
    for number, word in enumerate(WORDS):
        if word in data and place not in found[str(number)]:
            found[str(number)].append(place)


def memory(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            if "r" not in mode:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            tail = b""
            while start < end:
                try:
                    mem.seek(start)
                    data = mem.read(min(CHUNK, end - start))
                except (OSError, ValueError, OverflowError):
                    break
                if not data:
                    break
                counts["bytes_of_memory"] += len(data)
                look(tail + data, f"memory of {pid}")
                tail = data[-LONGEST:]
                start += len(data)


def file(path, place):
    tail = b""
    with open(path, "rb", 0) as opened:
        while data := opened.read(CHUNK):
            counts["bytes_of_files"] += len(data)
            look(tail + data, place)
            tail = data[-LONGEST:]


for pid in filter(str.isdigit, os.listdir("/proc")):
    if pid == OWN:
        continue
    try:
        memory(pid)
        counts["processes"] += 1
    except OSError:
        # PID 1 shows its memory to nobody.
        pass
    for name in ("environ", "cmdline", "stat", "status", "maps"):
        with suppress(OSError):
            file(f"/proc/{pid}/{name}", f"{name} of {pid}")

for top, folders, names in os.walk("/"):
    folders[:] = [
        each
        for each in folders
        if os.path.join(top, each) not in ("/proc", "/sys") and not os.path.islink(each)
    ]
    for name in names:
        path = os.path.join(top, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        try:
            file(path, path)
            counts["files"] += 1
        except OSError:
            pass

print(json.dumps({"found": found, **counts}))
