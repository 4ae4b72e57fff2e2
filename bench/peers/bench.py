"""gratis and its peers in one run: `bench/peers/run.sh` starts this with the environment it made.

Engines are processes that wait for requests. The rows of a model and number of threads are measured
in rounds; in each round every engine takes its turn on every row, so that other programs on the
machine disturb all of them alike. Of the rounds, an engine's best rate per second of processor time counts. A training
run is a process of its own. Results are lines of JSON in `results-avx512.jsonl` or, of processors without
it, `results-avx2.jsonl`; what is there is kept unless `--fresh` is given.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import models
import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

HF = {
    "hf-fp32": ("float32", "sdpa"),
    "hf-eager": ("float32", "eager"),
    "hf-bf16": ("bfloat16", "sdpa"),
}


def scoring_rows():
    """id, model, set, threads, engines, least seconds, rounds"""
    rows = []
    both = ["gratis", "gratis-bf16", "hf-fp32", "hf-bf16"]
    all_of_them = ["gratis", "gratis-bf16", "hf-fp32", "hf-prefix", "hf-bf16"]
    for model, seconds in (("S", 0.8), ("M", 0.5)):
        heavy = 2 if model == "M" else 3
        for n in (1, 4, 16, 64):
            engines = list(both if n == 1 else all_of_them)
            if n == 16:
                engines.append("hf-eager")
            rounds = 3
            if model == "M" and n != 16:
                rounds = 1 if n == 64 else 2
            rows.append((f"score-{model}-128-{n}", model, f"p128n{n}", 1, engines, seconds, rounds))
        rows.append((f"score-{model}-512-16", model, "p512n16", 1, all_of_them, seconds, heavy))
    for model in ("S", "M"):
        for n in (1, 16):
            engines = ["gratis", "hf-fp32"]
            rows.append((f"score-{model}-128-{n}-t2", model, f"p128n{n}", 2, engines, 0.8, 3))
    for model in ("S", "M"):
        engines = ["gratis", "hf-fp32"]
        rows.append((f"score-{model}-8k", model, "context8192", 1, engines, 0.2, 2))
    for n in (1, 16):
        engines = both if n == 1 else all_of_them
        rows.append((f"score-L-128-{n}", "L", f"short-n{n}", 1, engines, 0.2, 2 if n == 1 else 1))
    # Curves: context, vocabulary, tokens per batch.
    for n in (512, 2048):
        rows.append((f"curve-context-{n}", "S", f"context{n}", 1, ["gratis", "hf-fp32"], 0.5, 2))
    for model in ("S8k", "S32k", "S128k"):
        name = f"curve-vocabulary-{model}"
        rows.append((name, model, "short-n16", 1, ["gratis", "hf-fp32"], 0.3, 2))
    rows.append(("curve-vocabulary-S", "S", "short-n16", 1, ["gratis", "hf-fp32"], 0.5, 2))
    for tokens in (512, 1024, 2048, 4096, 8192):
        row = (f"curve-batch-{tokens}", "S", "p128n64", 1, ["gratis", "hf-fp32"], 0.5, 2)
        rows.append((*row, tokens))
    return rows


def sampling_rows():
    """id, model, engines, set, samples, new tokens"""
    rows = []
    three = ["gratis", "hf-fp32", "llama"]
    rows.append(("sample-S-64", "S", three, "prompt", 64, 64, 1))
    rows.append(("sample-S-1", "S", three, "prompt", 1, 128, 1))
    rows.append(("sample-M-64", "M", three, "prompt", 64, 64, 1))
    rows.append(("sample-M-1", "M", three, "prompt", 1, 64, 1))
    rows.append(("sample-M-64-t2", "M", ["gratis", "llama"], "prompt", 64, 64, 2))
    rows.append(("sample-M-1-t2", "M", ["gratis", "llama"], "prompt", 1, 64, 2))
    for kind in ("q8_0", "q4_0"):
        engines = [f"gratis-{kind}", f"llama-{kind}"]
        rows.append((f"sample-M-{kind}-1", "M", engines, "prompt", 1, 64, 1))
        rows.append((f"sample-M-{kind}-64", "M", engines, "prompt", 64, 32, 1))
    return rows


def training_rows():
    """id, model, objective, rank, threads, engines, rounds"""
    rows = []
    for objective in ("ce", "dpo", "kto"):
        engines = ["gratis", "trl-fp32", "trl-bf16"]
        rows.append((f"train-S-{objective}", "S", objective, 0, 1, engines, 2))
    rows.append(("train-S-lora-ce", "S", "ce", 8, 1, ["gratis", "trl-fp32"], 2))
    rows.append(("train-S-ce-t2", "S", "ce", 0, 2, ["gratis", "trl-fp32"], 2))
    engines = ["gratis", "trl-fp32", "trl-bf16"]
    rows.append(("train-M-ce", "M", "ce", 0, 1, engines, 1))
    rows.append(("train-M-dpo", "M", "dpo", 0, 1, ["gratis", "trl-fp32"], 1))
    rows.append(("train-M-kto", "M", "kto", 0, 1, ["gratis", "trl-fp32"], 1))
    rows.append(("train-M-lora-ce", "M", "ce", 8, 1, ["gratis", "trl-fp32"], 1))
    return rows


def thread_rows():
    """id, model, request"""
    rows = []
    for model in ("S", "M"):
        for name, set_name in (("1", "p128n1"), ("16", "p128n16"), ("16x8", "p128n16x8")):
            request = {"op": "score", "set": set_name, "seconds": 1.0}
            rows.append((f"threads-score-{model}-128-{name}", model, request))
    for n in (64, 1):
        request = {"op": "sample", "set": "prompt", "seconds": 1.0}
        request |= {"n_samples": n, "n_new_tokens": 64}
        rows.append((f"threads-sample-M-{n}", "M", request))
    return rows


class Bench:
    def __init__(self, options):
        self.options = options
        self.work = Path(options.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.driver = Path(options.driver)
        self.data = {}
        self.results = {}
        self.file = HERE / f"results-{options.processors}.jsonl"
        if self.file.exists() and not options.fresh:
            for line in self.file.read_text().splitlines():
                result = json.loads(line)
                self.results[result["row"], result["engine"]] = result
        self.failed, self.processes = [], []
        self.started = time.time()

    @contextmanager
    def attempt(self, what):
        """What fails is reported and left out."""
        self.processes, self._pending = [], []
        try:
            yield
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            self.failed.append(f"{what}: {error}")
            print(f"FAILED {what}: {error}", file=sys.stderr, flush=True)
        finally:
            for process in self.processes:
                process.kill()
                process.wait()

    def wanted(self, row):
        return not self.options.only or any(row.startswith(p) for p in self.options.only)

    def missing(self, row, engines):
        engines = [e for e in engines if self.exists(e)]
        # Ratios are of one run: a row is measured whole or not at all.
        return engines if any((row, e) not in self.results for e in engines) else []

    def may_begin(self, what):
        """Whether the time for new rows has not passed; otherwise they are reported."""
        minutes = self.options.minutes
        is_late = minutes and time.time() - self.started > 60 * minutes
        if is_late:
            self.failed.append(f"{what}: not begun, {minutes:g} minutes have passed")
        return not is_late

    def exists(self, engine):
        return not (engine.endswith("bf16") and not self.options.bf16)

    def model(self, name):
        folder = self.work / name
        models.write_model(folder, name, gguf=name in ("S", "M"))
        data = self.work / f"data-{name}.json"
        if name not in self.data:
            models.write_data(data, name)
            self.data[name] = json.loads(data.read_text())
        return folder, data

    def command(self, engine, model, threads):
        folder, data = self.model(model)
        python = [sys.executable]
        if engine.startswith("gratis"):
            place, precision = folder, "f32"
            if engine == "gratis-bf16":
                precision = "bf16"
            elif engine != "gratis":
                place = models.quantised(folder, model, engine.removeprefix("gratis-"))
            return [str(self.driver), str(data), str(place), str(threads), precision]
        if engine.startswith("llama"):
            kind = engine.removeprefix("llama").removeprefix("-")
            file = models.quantised(folder, model, kind) if kind else folder / "model.gguf"
            return [*python, str(HERE / "worker_llama.py"), str(data), str(file), str(threads)]
        dtype, attention = HF["hf-fp32" if engine == "hf-prefix" else engine]
        # Logits of a large vocabulary are the larger part of the memory.
        budget = "2048" if model in ("L", "S128k") else "4096"
        worker = [str(HERE / "worker_hf.py"), str(data), str(folder), str(threads)]
        return [*python, *worker, dtype, attention, budget]

    def start(self, engine, model, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        process = subprocess.Popen(
            self.command(engine, model, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=env,
            cwd=self.work,
        )
        self.processes.append(process)
        if not process.stdout.readline():
            raise RuntimeError(f"{engine} on {model} did not start; see {self.log.name}")
        return process

    @property
    def log(self):
        if not hasattr(self, "_log"):
            self._log = open(self.work / "log.txt", "w")
        return self._log

    def ask(self, process, request):
        self.tell(process, request)
        return self.hear(process, request)

    def tell(self, process, request):
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()

    def hear(self, process, request):
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"no answer to {request}; see {self.log.name}")
        return json.loads(answer)

    def record(self, row, engine, rounds, **more):
        """Keeps the best round per second of processor time."""
        best = max(rounds, key=lambda r: r["tokens"] / max(r["cpu_s"], 1e-9))
        result = {
            "row": row,
            "engine": engine,
            "per_cpu_s": best["tokens"] / max(best["cpu_s"], 1e-9),
            "per_wall_s": max(r["tokens"] / r["wall_s"] for r in rounds),
            "peak_mb": max(r["peak_mb"] for r in rounds),
            "rounds": [round(r["tokens"] / max(r["cpu_s"], 1e-9), 1) for r in rounds],
            **more,
        }
        if "anonymous_mb" in best:
            result["anonymous_mb"] = max(r["anonymous_mb"] for r in rounds)
        self.results[row, engine] = result
        self.save()
        print(
            f"{time.time() - self.started:6.0f} s  {row:24} {engine:12} "
            f"{result['per_cpu_s']:10.0f} tokens/CPU s {result['peak_mb']:7.0f} MB",
            flush=True,
        )

    def save(self):
        lines = [json.dumps(result) for result in self.results.values()]
        self.file.write_text("\n".join(lines) + "\n")

    def score(self):
        groups = {}
        for row in scoring_rows():
            if self.wanted(row[0]) and self.missing(row[0], row[4]):
                groups.setdefault((row[1], row[3]), []).append(row)
        for (model, threads), rows in groups.items():
            if self.may_begin(f"scoring {model}"):
                with self.attempt(f"scoring {model}"):
                    self.score_group(model, threads, rows)

    def score_group(self, model, threads, rows):
        self.model(model)
        names = {engine for row in rows for engine in self.missing(row[0], row[4])}
        # The prefix-cached variant is a process of its own, for its peak of memory.
        processes = {engine: self.start(engine, model, threads) for engine in sorted(names)}
        measured, differences = {}, {}
        for number in range(1 if self.options.quick else 3):
            for row, _, set_name, _, engines, seconds, n_rounds, *tokens in rows:
                if number >= n_rounds:
                    continue
                for engine in self.missing(row, engines):
                    request = {"op": "score", "set": set_name, "seconds": seconds}
                    if engine == "hf-prefix":
                        request["variant"] = "prefix"
                    if tokens:
                        request["batch_tokens"] = tokens[0]
                    if number == 0:
                        dump = self.work / f"dump-{engine}.json"
                        request["dump"] = str(dump)
                    answer = self.ask(processes[engine], request)
                    problems = self.data[model][set_name]
                    answer["tokens"] = models.n_real_tokens(problems) * answer["passes"]
                    measured.setdefault((row, engine), []).append(answer)
                    if number == 0:
                        values = json.loads(dump.read_text())
                        if engine == "gratis":
                            ours = values
                        differences[row, engine] = difference(ours, values)
        for process in processes.values():
            process.stdin.close()
            process.wait()
        for row, _, set_name, _, engines, *_ in rows:
            problems = self.data[model][set_name]
            for engine in self.missing(row, engines):
                is_shared = engine in ("gratis", "gratis-bf16", "hf-prefix")
                per_token = models.operations(model, problems, is_shared)
                per_token /= models.n_real_tokens(problems)
                more = {"difference": differences[row, engine]}
                more["operations_per_token"] = per_token
                answers = measured[row, engine]
                self.pending(row, engine, answers, model=model, threads=threads, **more)
        self.flush()

    def pending(self, *arguments, **keywords):
        self._pending.append((arguments, keywords))

    def flush(self):
        for (row, engine, answers), more in self._pending:
            self.record(row, engine, answers, **more)
        self._pending = []

    def sample(self):
        for row, *spec in sampling_rows():
            if self.wanted(row) and self.missing(row, spec[1]) and self.may_begin(row):
                with self.attempt(row):
                    self.sample_row(row, *spec)

    def sample_row(self, row, model, engines, set_name, n_samples, n_new, threads):
        engines = self.missing(row, engines)
        self.model(model)
        processes = {engine: self.start(engine, model, threads) for engine in engines}
        measured = {}
        # Sixty-four samples of M take ten seconds and more with some peers.
        n_rounds = 2 if model == "M" and n_samples > 1 else 3
        for _ in range(1 if self.options.quick else n_rounds):
            for engine, process in processes.items():
                request = {"op": "sample", "set": set_name, "seconds": 0.4}
                request |= {"n_samples": n_samples, "n_new_tokens": n_new}
                answer = self.ask(process, request)
                n_prompts = len(self.data[model][set_name])
                answer["tokens"] = n_prompts * n_samples * n_new * answer["passes"]
                measured.setdefault(engine, []).append(answer)
        for process in processes.values():
            process.stdin.close()
            process.wait()
        # Two operations per parameter and token; what attention adds is left out.
        vocabulary, d, *_ = models.SHAPES[model]
        per_token = 2 * (models.n_body_parameters(model) + vocabulary * d)
        for engine in engines:
            more = {"model": model, "threads": threads, "operations_per_token": per_token}
            self.pending(row, engine, measured[engine], **more)
        self.flush()

    def threads(self):
        for row, model, request in thread_rows():
            engines = ["gratis-alone", "gratis", "gratis-pair"]
            if self.wanted(row) and self.missing(row, engines) and self.may_begin(row):
                with self.attempt(row):
                    self.thread_row(row, model, request)

    def thread_row(self, row, model, request):
        """One process of one thread, one of two threads, and two of one thread each, in turn."""
        self.model(model)
        groups = {
            "gratis-alone": [self.start("gratis", model, 1)],
            "gratis": [self.start("gratis", model, 2)],
            "gratis-pair": [self.start("gratis", model, 1) for _ in range(2)],
        }
        problems = self.data[model][request["set"]]
        n_tokens = models.n_real_tokens(problems)
        if request["op"] == "sample":
            n_tokens = len(problems) * request["n_samples"] * request["n_new_tokens"]
        measured = {}
        for _ in range(1 if self.options.quick else 5):
            for name, processes in groups.items():
                for process in processes:
                    self.tell(process, request)
                answers = [self.hear(process, request) for process in processes]
                answer = dict(answers[0])
                answer["tokens"] = n_tokens * sum(a["passes"] for a in answers)
                # The rates of both add up, though one may end before the other.
                rate = sum(n_tokens * a["passes"] / a["wall_s"] for a in answers)
                answer["wall_s"] = answer["tokens"] / rate
                answer["cpu_s"] = sum(a["cpu_s"] for a in answers)
                measured.setdefault(name, []).append(answer)
        for process in [process for group in groups.values() for process in group]:
            process.stdin.close()
            process.wait()
        for name, answers in measured.items():
            self.pending(row, name, answers, model=model)
        self.flush()

    def train(self):
        for row, *spec in training_rows():
            if self.wanted(row) and self.missing(row, spec[4]) and self.may_begin(row):
                with self.attempt(row):
                    self.train_row(row, *spec)

    def train_row(self, row, model, objective, rank, threads, engines, n_rounds):
        engines = self.missing(row, engines)
        folder, data = self.model(model)
        n_tokens = models.n_real_tokens(self.data[model]["train"])
        measured = {}
        for _ in range(1 if self.options.quick else n_rounds):
            for engine in engines:
                if engine == "gratis":
                    process = self.start(engine, model, threads)
                    # An epoch is two steps of 64 responses, or of 32 pairs.
                    request = {"op": "train", "set": "train", "objective": {"name": objective}}
                    request |= {"batch_size": 32 if objective == "dpo" else 64, "n_steps": 2}
                    request |= {"n_warm_up": 2 if model == "S" else 0}
                    if rank:
                        request["lora_rank"] = rank
                    answer = self.ask(process, request)
                    answer["tokens"] = n_tokens * answer["passes"]
                    process.stdin.close()
                    process.wait()
                else:
                    worker = [sys.executable, str(HERE / "worker_trl.py"), str(data)]
                    worker += [str(folder), str(threads), objective]
                    worker += [engine.removeprefix("trl-"), str(rank)]
                    worker += ["2" if model == "S" else "1"]
                    env = dict(os.environ, HF_HUB_OFFLINE="1", HF_HOME=str(self.work / "hf"))
                    env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
                    out = subprocess.run(
                        worker, stdout=subprocess.PIPE, stderr=self.log, text=True,
                        env=env, cwd=self.work,
                    )
                    if out.returncode:
                        raise RuntimeError(f"{row} {engine} failed; see {self.log.name}")
                    answer = json.loads(out.stdout.strip().splitlines()[-1])
                measured.setdefault(engine, []).append(answer)
        # The backward pass takes twice the operations of the forward pass; a frozen matrix needs no
        # gradient. With every prompt once it is the least: what an order of the data computes again, and
        # the mismatched responses of KTO, are not counted.
        least = models.operations(model, self.data[model]["train"], shared=True)
        per_token = (2 if rank else 3) * least / n_tokens
        for engine in engines:
            more = {"model": model, "threads": threads, "operations_per_token": per_token}
            self.pending(row, engine, measured[engine], **more)
        self.flush()

    def peak(self):
        """The machine's limit: registers alone, and torch's matrix product."""
        if ("peak", "gratis") in self.results or not self.wanted("peak"):
            return
        result = {"row": "peak", "engine": "gratis", "processor": processor()}
        vectors = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        result["flags"] = [flag for flag in vectors if flag in flags()]
        for threads in (1, 2):
            process = self.start("gratis", "S", threads)
            result[f"flops_t{threads}"] = max(
                self.ask(process, {"op": "peak", "seconds": 1.0})["flops"] for _ in range(3)
            )
            process.stdin.close()
            process.wait()
        process = self.start("hf-fp32", "S", 1)
        for name, (rows, n, k) in {"s": (2048, 688, 256), "m": (2048, 1376, 512)}.items():
            request = {"op": "gemm", "seconds": 0.5, "rows": rows, "n": n, "k": k}
            answers = [self.ask(process, request) for _ in range(3)]
            result[f"mkl_{name}"] = max(a["operations"] / a["cpu_s"] for a in answers)
        process.stdin.close()
        process.wait()
        self.results["peak", "gratis"] = result
        self.save()
        print(f"peak of one thread: {result['flops_t1'] / 1e9:.0f} GFLOP/s", flush=True)


def difference(ours, theirs):
    """The largest difference of two log-probabilities of a token."""
    pairs = zip(ours, theirs, strict=True)
    return max(abs(a - b) for x, y in pairs for a, b in zip(x, y, strict=True))


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def flags():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of models S and M's key rows")
    parser.add_argument("--fresh", action="store_true", help="forget the results so far")
    parser.add_argument("--only", action="append", help="rows whose names begin so; repeatable")
    parser.add_argument("--report", action="store_true", help="only write the page in docs/ anew")
    parser.add_argument("--minutes", type=float, help="begin no row after this time")
    parser.add_argument("--work", default=os.environ.get("PEERS_WORK", "/tmp/gratis-peers"))
    parser.add_argument("--driver", default=str(ROOT / "target/release/gratis-bench-peers"))
    options = parser.parse_args()
    options.processors = "avx512" if "avx512f" in flags() else "avx2"
    options.bf16 = bool(flags() & {"avx512_bf16", "amx_bf16"})
    if options.quick and not options.only:
        options.only = ["peak", "score-S-128", "score-M-128-16", "train-S-ce", "sample-S"]
    bench = Bench(options)
    if not options.report:
        with bench.attempt("peak"):
            bench.peak()
        for part in (bench.score, bench.sample, bench.threads, bench.train):
            part()
    page = report.write(list(bench.results.values()), ROOT / "docs", options.processors)
    print(f"{page.relative_to(ROOT)} written after {time.time() - bench.started:.0f} s")
    if bench.failed:
        sys.exit("\n".join(["not measured:", *bench.failed]))


if __name__ == "__main__":
    main()
