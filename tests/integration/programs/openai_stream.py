"""A model's answer, word by word, with OpenAI's own client; its key is in the environment."""

from __future__ import annotations

import json
import os

from openai import OpenAI

client = OpenAI()
stream = client.chat.completions.create(
    model="a-model", messages=[{"role": "user", "content": "count"}], stream=True
)
words = [next(stream).choices[0].delta.content]
# The rest is said only once this has been asked, so nobody may wait for the end.
models = [each.id for each in client.models.list()]
words += [chunk.choices[0].delta.content for chunk in stream]
print(json.dumps({"words": words, "models": models, "key": os.environ["OPENAI_API_KEY"]}))
