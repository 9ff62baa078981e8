"""Talks to PostgreSQL and Redis with their usual clients, by name and port."""

from __future__ import annotations

import json
import sys

import psycopg
import redis

told: dict[str, object] = {}
with psycopg.connect(sys.argv[1], connect_timeout=30) as connection:
    connection.execute("CREATE TEMPORARY TABLE things (number int, word text)")
    with connection.cursor().copy("COPY things FROM STDIN") as copy:
        for number in range(20_000):
            copy.write_row((number, f"word {number}"))
    question = "SELECT count(*), max(word) FROM things"
    told["rows"] = connection.execute(question).fetchone()
    told["tls"] = connection.pgconn.ssl_in_use

cache = redis.Redis.from_url(sys.argv[2], socket_timeout=30, decode_responses=True)
told["pong"] = cache.ping()
cache.set("key", "x" * 1_000_000)
told["length"] = len(cache.get("key"))
with cache.pubsub() as listener:
    listener.subscribe("news")
    listener.get_message(timeout=30)
    told["heard by"] = cache.publish("news", "told")
    told["news"] = listener.get_message(timeout=30)["data"]
print(json.dumps(told))
