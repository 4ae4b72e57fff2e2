"""Prints pairs of gold answers and complete model outputs from the public data sets: every eighth
candidate of bon_gsm8k and the eight samples of each of 100 MATH problems.

    python bench/peers/grading_pairs.py DATA > pairs.jsonl

`expected` is the label from the data set. Some of these labels are wrong: see
`docs/grading.md`.
"""

import json
import sys
from pathlib import Path


def lines(path: Path):
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def main() -> None:
    data = Path(sys.argv[1])
    pairs = []
    n_candidates = 0
    for problem in lines(data / "bon_gsm8k" / "gsm8k_bon16.jsonl"):
        for candidate in problem["candidates"]:
            if n_candidates % 8 == 0:
                pairs.append(("bon_gsm8k", problem["gold"], candidate["text"], candidate["is_correct"]))
            n_candidates += 1
    for problem in lines(data / "qwen_bon8_rm_scores" / "math_cot_100.jsonl"):
        for sample, label in zip(problem["code"], problem["score"]):
            pairs.append(("math", problem["gt"], sample, label))
    for idx, (kind, gold, pred, label) in enumerate(pairs):
        case = {"id": f"p{idx}", "kind": kind, "gold": gold, "pred": pred, "expected": int(label)}
        print(json.dumps(case, ensure_ascii=False))


if __name__ == "__main__":
    main()
