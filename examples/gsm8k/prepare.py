#!/usr/bin/env python3
"""Converts GSM8K and its 16 published candidates per problem into gratis' files.

usage: prepare.py DATA OUT

DATA contains `gsm8k/train.jsonl` (question, answer) and `bon_gsm8k/gsm8k_bon16.jsonl` (question,
gold, candidates with their labels). The script writes to OUT:

  corpus.jsonl      the 7,473 training solutions, one completion per problem, to train the base model
  train.jsonl       half of the candidate problems with outcome labels
  validation.jsonl  a tenth of that half, held out for validation
  test.jsonl        the other half, scored at the end

The split is by problem and seeded. Only the standard library is used.
"""

import json
import random
import sys
from pathlib import Path

SEED = 0


def prompt(question):
    return f"Question: {question.strip()}\nAnswer:\n"


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def solution(row):
    return {
        "prompt": prompt(row["question"]),
        "reference": row["answer"].rsplit("####", 1)[1].strip(),
        "dataset": "gsm8k",
        "completions": [row["answer"].strip()],
        "correctness": [True],
    }


def rollout(row):
    # The generators' names are kept: style is a confounder worth measuring.
    return {
        "id": row["id"],
        "prompt": prompt(row["question"]),
        "reference": row["gold"],
        "dataset": "gsm8k",
        "completions": [candidate["text"].strip() for candidate in row["candidates"]],
        "correctness": [candidate["is_correct"] for candidate in row["candidates"]],
        "generators": [candidate["generator"] for candidate in row["candidates"]],
    }


def main():
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    write(out / "corpus.jsonl", map(solution, read(data / "gsm8k/train.jsonl")))
    rows = [rollout(row) for row in read(data / "bon_gsm8k/gsm8k_bon16.jsonl")]
    random.Random(SEED).shuffle(rows)
    half = len(rows) // 2
    n_validation = half // 10
    write(out / "validation.jsonl", rows[:n_validation])
    write(out / "train.jsonl", rows[n_validation:half])
    write(out / "test.jsonl", rows[half:])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
