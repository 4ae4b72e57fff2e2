#!/usr/bin/env python3
"""Processor seconds by stage of the demo and of the quick reproduction, for one or more binaries.

Usage: `bench/stages.py [--write] NAME=BINARY [NAME=BINARY ...]`, or `NAME=CACHE` for the cache folder
of a reproduction that has been run. Each binary runs with two threads in an empty folder. `--write` puts the
table into docs/performance.md, or into docs/performance-avx2.md on a processor without AVX-512.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

# Folders of a cache, each with the processor seconds that making it took.
STAGES = {
    "base": "reproduction: base model",
    "generator": "reproduction: generators",
    "samples": "reproduction: samples",
    "labels": "reproduction: step labels",
    "reward": "reproduction: implicit reward models",
    "baseline": "reproduction: baselines",
}
THREADS = "2"
DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- stages: begin -->", "<!-- stages: end -->"


def of_cache(cache):
    total = defaultdict(float)
    for record in Path(cache).glob("*/record.json"):
        stage = record.parent.name.rsplit("-", 1)[0]
        total[STAGES.get(stage, stage)] += json.loads(record.read_text()).get("cpu_seconds") or 0.0
    return total


def run(command, log):
    """Processor seconds of a command."""
    process = subprocess.Popen(command, stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}; see {log.name}")
    return usage.ru_utime + usage.ru_stime


def of_binary(binary):
    folder = Path(tempfile.mkdtemp(prefix="gratis-stages-"))
    with open(folder / "log", "w") as log:
        demo = run([binary, "demo", "--threads", THREADS, "-o", str(folder / "demo")], log)
        command = [binary, "reproduce", "all", "--scale", "quick", "--threads", THREADS]
        command += ["--cache", str(folder / "cache"), "-o", str(folder / "report")]
        whole = run(command, log)
    total = {"demo": demo, **of_cache(folder / "cache")}
    total["reproduction: scoring and the rest"] = whole - (sum(total.values()) - demo)
    total["reproduction: all"] = whole
    return total


def page():
    is_wide = "avx512f" in Path("/proc/cpuinfo").read_text()
    return DOCS / ("performance.md" if is_wide else "performance-avx2.md")


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--write"]
    if not arguments:
        sys.exit(__doc__)
    columns = {}
    for argument in arguments:
        name, place = argument.split("=", 1)
        columns[name] = of_cache(place) if os.path.isdir(place) else of_binary(place)
    lines = ["| stage | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for stage in dict.fromkeys(stage for column in columns.values() for stage in column):
        numbers = " | ".join(f"{column.get(stage, 0.0):.1f}" for column in columns.values())
        lines.append(f"| {stage} | {numbers} |")
    print("\n".join(lines))
    if "--write" in sys.argv:
        before, rest = page().read_text().split(BEGIN)
        after = rest.split(END)[1]
        page().write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after)


main()
