"""What the Python peers have in common: requests on standard input, one JSON object per line."""

import json
import sys
import time


def peak_megabytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1000
    return 0.0


def measure(seconds, run):
    """Repeats `run` for at least `seconds`; the counterpart of `clock.rs`."""
    start, cpu_start, n_passes = time.perf_counter(), time.process_time(), 0
    while n_passes == 0 or time.perf_counter() - start < seconds:
        run()
        n_passes += 1
    return {
        "passes": n_passes,
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu_start,
        "peak_mb": peak_megabytes(),
    }


def serve(operations):
    """Answers requests until the input ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = operations[request.pop("op")](**request)
        print(json.dumps(answer), flush=True)
