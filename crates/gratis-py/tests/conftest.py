"""Tiny models, made by the command `gratis` that the wheel installs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("gratis")


def run_in(folder, *arguments):
    subprocess.run([COMMAND, "-q", "--threads", "1", *arguments], cwd=folder, check=True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """`model` and `reference`, `candidates.jsonl` with its `scores.jsonl`, and the run `runs/prm`."""
    folder = tmp_path_factory.mktemp("models")
    rows = []
    for i in range(40):
        a, b = i % 7 + 1, i // 7 + 2
        texts = [f"{a} and {b} are {c}.\n\nAnswer: {c}" for c in (a + b, a + b + 1)]
        prompt = f"How much are {a} and {b}? "
        rows.append({"prompt": prompt, "reference": str(a + b), "completions": texts})
    (folder / "candidates.jsonl").write_text("\n".join(map(json.dumps, rows)))
    labelled = [json.dumps({**row, "correctness": [True, False]}) for row in rows]
    (folder / "graded.jsonl").write_text("\n".join(labelled))
    init = ["init", "--preset", "nano", "--vocab", "280", "--context-length", "128"]
    run_in(folder, *init, "model", "--train-tokenizer", "candidates.jsonl")
    run_in(folder, *init, "reference", "--tokenizer", "model", "--seed", "3")
    score = ["score", "--model", "model", "--reference", "reference", "--tokens"]
    run_in(folder, *score, "candidates.jsonl", "-o", "scores.jsonl")
    train = ["train", "--model", "model", "--data", "graded.jsonl", "--run", "runs/prm"]
    run_in(folder, *train, "--max-steps", "2", "--batch-size", "8")
    return folder
