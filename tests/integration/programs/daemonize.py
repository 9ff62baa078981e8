"""Leaves three processes behind in the ways processes use to get away; writes their pids."""

import os
import time


def stay() -> None:
    with open("/tmp/daemons", "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(1000)
    os._exit(0)


if os.path.exists("/tmp/daemons"):
    os.unlink("/tmp/daemons")
if os.fork() == 0:
    stay()
if os.fork() == 0:
    os.setsid()
    stay()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        stay()
    os._exit(0)
os.waitpid(-1, 0)
while True:
    with open("/tmp/daemons", "a+") as file:
        file.seek(0)
        if len(file.readlines()) == 3:
            break
    time.sleep(0.02)
