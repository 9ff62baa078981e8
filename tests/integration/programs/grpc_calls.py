"""Calls of every shape with gRPC's own client, which is told nothing but a name and a port."""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Iterator

import grpc

channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials())
once = channel.unary_unary("/test.Echo/Once")
many = channel.unary_stream("/test.Echo/Many")
both = channel.stream_stream("/test.Echo/Both")

answer, call = once.with_call(b"hello", timeout=30, metadata=[("x-mine", "1")])
told = {"once": answer.decode(), "once trailers": dict(call.trailing_metadata())}

stream = many(b"3", timeout=30)
told["many"] = [each.decode() for each in stream]
told["many trailers"] = dict(stream.trailing_metadata())
told["many code"] = stream.code().name

# Each message is sent only once the answer to the one before has come.
waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()


def messages() -> Iterator[bytes]:
    while (message := waiting.get()) is not None:
        yield message


waiting.put(b"a")
talk = both(messages(), timeout=30)
heard = []
for each in talk:
    heard.append(each.decode())
    waiting.put(b"b" if len(heard) == 1 else None)
told["both"] = heard

large = once(b"x" * 3_000_000, timeout=60)
told["large"] = len(large)

for name, asked in (("at once", b"fail"), ("late", b"-1")):
    try:
        answers = [once(asked, timeout=30)] if name == "at once" else list(many(asked, timeout=30))
        told[name] = repr(answers)
    except grpc.RpcError as error:
        told[name] = [error.code().name, error.details(), dict(error.trailing_metadata())]
print(json.dumps(told))
