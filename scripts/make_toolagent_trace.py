#!/usr/bin/env python3
"""Writes examples/traces/generated_toolagent_trace.jsonl.gz.

Mooncake's tool-and-agent trace is not part of this repository. This is a generated stand-in in the same format: many
short conversations behind a few long system prompts, whose prompts grow by what the tools answer. Its lengths and hit
rates are invented; only its shape (shared prefixes, short responses) is meant to resemble the real one.

The same bytes on every machine: the generator below is all the randomness there is.
"""

import gzip
import io
import json
from pathlib import Path

REQUESTS = 6000
BLOCK = 512
SPAN_MS = 900_000


class Numbers:
    """A linear congruential generator (Knuth's MMIX constants)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit


def main():
    numbers = Numbers(20250101)
    next_hash = 0

    def fresh(count):
        nonlocal next_hash
        next_hash += count
        return list(range(next_hash - count, next_hash))

    prompts = [fresh(4 + numbers.below(12)) for _ in range(12)]
    # [hashes of whole blocks, tokens]
    conversations = []
    rows = []
    for number in range(REQUESTS):
        if conversations and numbers.below(100) < 60:
            place = numbers.below(len(conversations))
            hashes, tokens = conversations[place]
        else:
            place = len(conversations)
            hashes = list(prompts[numbers.below(len(prompts))])
            tokens = len(hashes) * BLOCK
            conversations.append((hashes, tokens))
        tokens += 200 + numbers.below(1600) + (numbers.below(12_000) if numbers.below(10) == 0 else 0)
        whole = tokens // BLOCK
        hashes = hashes + fresh(whole - len(hashes))
        output = 20 + numbers.below(120) + (numbers.below(700) if numbers.below(8) == 0 else 0)
        rows.append(
            {
                "timestamp": number * SPAN_MS // REQUESTS // 1000 * 1000,
                "input_length": tokens,
                "output_length": output,
                "hash_ids": hashes + (fresh(1) if tokens % BLOCK else []),
            }
        )
        if tokens > 60_000 or numbers.below(8) == 0:
            conversations.pop(place)
        else:
            conversations[place] = (hashes, tokens)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=9) as file:
        file.write(text.encode())
    place = Path(__file__).resolve().parent.parent / "examples/traces/generated_toolagent_trace.jsonl.gz"
    place.write_bytes(packed.getvalue())


if __name__ == "__main__":
    main()
