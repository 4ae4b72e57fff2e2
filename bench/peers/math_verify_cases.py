"""Runs Math-Verify on a case file and prints agreement and processor time. The counterpart is the
example `grade_cases` of gratis-grading; `grading.sh` runs both.

    pip install math-verify==0.9.0
    python bench/peers/math_verify_cases.py cases.jsonl [repetitions]
"""

import json
import logging
import sys
import time

from math_verify import parse, verify

logging.disable(logging.CRITICAL)


def is_correct(gold: str, pred: str) -> bool:
    """Whether Math-Verify accepts `pred` for `gold`; bare golds get dollar signs, as its README asks."""
    gold_parsed = parse(gold) or parse(f"${gold}$")
    pred_parsed = parse(pred) or parse(f"${pred}$")
    return bool(verify(gold_parsed, pred_parsed))


def main() -> None:
    path = sys.argv[1]
    n_repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    cases = []
    for line in open(path, encoding="utf-8"):
        case = json.loads(line)
        gold, pred, expected = case.get("gold"), case.get("pred"), case.get("expected")
        is_metric = case.get("kind", "").startswith("metric")
        if isinstance(gold, str) and isinstance(pred, str) and expected in (0, 1) and not is_metric:
            cases.append((case.get("id"), case["kind"], gold, pred, expected == 1))
    is_correct("1", "$1$")  # imports and caches
    start = time.process_time()
    for _ in range(n_repetitions):
        verdicts = [is_correct(gold, pred) for _, _, gold, pred, _ in cases]
    seconds = (time.process_time() - start) / n_repetitions / len(cases)
    agreed = accepted = refused = 0
    kinds: dict[str, list[int]] = {}
    for (name, kind, _, _, expected), verdict in zip(cases, verdicts):
        agreed += verdict == expected
        accepted += verdict and not expected
        refused += expected and not verdict
        counts = kinds.setdefault(kind, [0, 0, 0, 0])
        counts[0 if expected else 2] += verdict == expected
        counts[1 if expected else 3] += 1
    for kind, (right, n_true, rejected, n_false) in sorted(kinds.items()):
        print(f"{kind}: true {right}/{n_true}, false {rejected}/{n_false}")
    print(
        f"math-verify: {agreed}/{len(cases)} agree, {accepted} wrongly accepted, "
        f"{refused} wrongly refused, {seconds * 1e6:.1f} us of processor time a case"
    )


if __name__ == "__main__":
    main()
