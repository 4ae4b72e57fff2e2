"""Reads a score file with the lines of docs/reinforcement-learning.md and checks that they agree.

    gratis score --model runs/prm --tokens rollouts.jsonl -o scores.parquet
    python examples/rl/read_scores.py scores.parquet

Needs pyarrow and polars (checked with pyarrow 26.0.1 and polars 2.1.0).
"""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "reinforcement-learning.md"


def main(path):
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) == 2, "the page has a line for pyarrow and one for polars"
    names = {}
    for block in blocks:
        exec(block.replace('"scores.parquet"', repr(path)), names)
    rows, tokens = names["rows"], names["tokens"]
    flat = [
        (row["id"], row["candidate"], reward, token)
        for row in rows
        for reward, token in zip(row["tokens"] or [], row["token_ids"] or [])
    ]
    assert flat == [row for row in tokens.iter_rows() if row[2] is not None]
    for row in rows:
        if row["tokens"]:
            assert row["token_step_ends"][-1] == len(row["tokens"]) == len(row["token_ids"])
    print(f"{len(rows)} candidates, {len(flat)} token rewards; the sum is {sum(r[2] for r in flat):.6f}")
    print(tokens.schema)


if __name__ == "__main__":
    main(sys.argv[1])
