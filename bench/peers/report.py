"""The measured part of a page of `docs/`, and its plots, from `results-*.jsonl`.

Processors with AVX-512 are reported in `performance.md`, others in `performance-avx2.md`.

The part lies between two comments; the prose around it is kept. Targets are ratios to a peer per
second of processor time, and shares of the processor's measured peak.
"""

import models
import plot

PAGES = {"avx512": "performance", "avx2": "performance-avx2"}
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

NAMES = {
    "gratis": "gratis",
    "gratis-bf16": "gratis, bf16",
    "hf-fp32": "transformers, f32",
    "hf-eager": "transformers, f32, eager attention",
    "hf-prefix": "transformers, f32, prompt cached",
    "hf-bf16": "transformers, bf16",
    "trl-fp32": "TRL, f32",
    "trl-bf16": "TRL, bf16 autocast",
    "llama": "llama.cpp, f32",
    "llama-q8_0": "llama.cpp, Q8_0",
    "llama-q4_0": "llama.cpp, Q4_0",
}

# (row, peer): least ratio
RATIOS = {}
for _model in ("S", "M"):
    for _set, _ratio in (("128-1", 1.6), ("128-16", 2.5), ("128-64", 3.0), ("512-16", 4.0)):
        RATIOS[f"score-{_model}-{_set}", "hf-fp32"] = _ratio
    for _task in ("ce", "dpo", "kto", "lora-ce"):
        RATIOS[f"train-{_model}-{_task}", "trl-fp32"] = 3.0
    RATIOS[f"sample-{_model}-64", "hf-fp32"] = 6.0
    RATIOS[f"sample-{_model}-64", "llama"] = 3.5
    RATIOS[f"sample-{_model}-1", "llama"] = 1.0
# row: least share of the peak
SHARES = {"score-M-128-16": 0.68, "score-M-8k": 0.58, "sample-M-64": 0.5}
THREADS = 1.9


def number(value):
    return f"{value:,.0f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


class Report:
    def __init__(self, results):
        self.by = {(r["row"], r["engine"]): r for r in results}
        self.rows = list(dict.fromkeys(r["row"] for r in results))
        self.met, self.missed = [], []

    def ours(self, row):
        names = ("gratis", "gratis-q8_0", "gratis-q4_0")
        return next((self.by[row, n] for n in names if (row, n) in self.by), None)

    def judge(self, what, value, target, text):
        """`text` with a mark where the target is missed."""
        if value >= target:
            self.met.append(f"{what}: {text} (target {target:g})")
            return text
        self.missed.append(f"{what}: {text} (target {target:g})")
        return f"**{text}**"

    def compare(self, prefix, difference):
        """A line for every peer of the rows that begin with `prefix`."""
        lines = []
        for row in self.rows:
            ours = self.ours(row)
            if not row.startswith(prefix) or ours is None:
                continue
            for (of, engine), peer in self.by.items():
                if of != row or peer is ours or engine == "gratis-bf16":
                    continue
                ratio = ours["per_cpu_s"] / peer["per_cpu_s"]
                text, target = f"{ratio:.2f}", RATIOS.get((row, engine))
                if target:
                    text = self.judge(f"{row} against {NAMES[engine]}", ratio, target, text)
                line = [row, NAMES[engine], number(ours["per_cpu_s"]), number(peer["per_cpu_s"])]
                line += [text, f"{target:g}" if target else ""]
                line += [f"{number(ours['peak_mb'])} / {number(peer['peak_mb'])}"]
                if difference:
                    line.append(f"{peer.get('difference', 0.0):.1e}")
                lines.append(line)
                rounded = self.by.get((row, "gratis-bf16"))
                if engine == "hf-bf16" and rounded:
                    ratio = rounded["per_cpu_s"] / peer["per_cpu_s"]
                    line = [row, "transformers, bf16, against gratis in bf16"]
                    line += [number(rounded["per_cpu_s"]), number(peer["per_cpu_s"])]
                    line += [f"{ratio:.2f}", ""]
                    line += [f"{number(rounded['peak_mb'])} / {number(peer['peak_mb'])}"]
                    lines.append([*line, f"{rounded.get('difference', 0.0):.1e} (gratis)"])
        header = ["row", "peer", "gratis, tokens / CPU s", "peer", "ratio", "target"]
        header += ["peak memory, MB"] + (["largest difference"] if difference else [])
        return table(header, lines) if lines else ["Not measured yet."]

    def limits(self):
        peak = self.by.get(("peak", "gratis"))
        if not peak:
            return ["Not measured yet."]
        flops = peak["flops_t1"]
        lines = [
            f"Multiply-adds on registers reach {flops / 1e9:.0f} GFLOP/s with one thread and "
            f"{peak['flops_t2'] / 1e9:.0f} with two; torch's matrix product alone (MKL, the shapes of "
            f"the feed-forward layer of S and M, 2048 rows) {peak['mkl_s'] / 1e9:.0f} and "
            f"{peak['mkl_m'] / 1e9:.0f}. Operations are counted from the shapes, as computed: with the "
            "prompt once. For sampling the operations of attention are left out. For training they are three "
            "times those of scoring the same responses, and two times with LoRA: at least that many.",
            "",
        ]
        rows = []
        for row in self.rows:
            ours = self.by.get((row, "gratis"))
            if ours is None or "operations_per_token" not in ours:
                continue
            rate = ours["per_cpu_s"] * ours["operations_per_token"]
            share, text = rate / flops, f"{100 * rate / flops:.0f} %"
            if row in SHARES:
                text = self.judge(f"{row}, share of the peak", share, SHARES[row], text)
            target = f"{100 * SHARES[row]:.0f} %" if row in SHARES else ""
            rows.append([row, f"{rate / 1e9:.0f}", text, target])
        lines += table(["row", "GFLOP / CPU s", "share of the peak", "target"], rows)
        rows = []
        for row in self.rows:
            ratio, bound = self.threads(row)
            if ratio:
                name = row.removeprefix("threads-")
                text = self.judge(f"{name}, two threads over one", ratio, THREADS, f"{ratio:.2f}")
                rows.append([name, text, f"{bound:.2f}", f"{THREADS:g}"])
        if rows:
            lines += ["", "Tokens per wall second of two threads over one, and of two processes of one "]
            lines[-1] += "thread each, which is what the machine gives:"
            lines += ["", *table(["row", "two threads", "two processes", "target"], rows)]
        return lines

    def threads(self, row):
        """Two threads over one by the clock, and two processes over one."""
        engines = ("gratis-alone", "gratis", "gratis-pair")
        known = [self.by.get((row, engine)) for engine in engines]
        if not row.startswith("threads-") or None in known:
            return None, None
        one, two, pair = (result["per_wall_s"] for result in known)
        return two / one, pair / one

    def memory(self):
        lines = []
        ours = self.by.get(("score-L-128-16", "gratis"))
        if ours:
            vocabulary, d, *_ = models.SHAPES["L"]
            weights = 4 * (models.n_body_parameters("L") + 2 * vocabulary * d) / 1e6
            ratio = ours["peak_mb"] / weights
            what = f"L: {number(ours['peak_mb'])} MB for {number(weights)} MB of weights"
            if ratio <= 1.2:
                self.met.append(f"{what}, {ratio:.2f} times (target 1.2)")
            else:
                self.missed.append(f"{what}, {ratio:.2f} times (target 1.2)")
        for row in self.rows:
            ours, peer = self.by.get((row, "gratis")), self.by.get((row, "trl-fp32"))
            if ours and peer:
                share = ours["peak_mb"] / peer["peak_mb"]
                text = f"{row}, memory over TRL's: {share:.2f} (target 0.25 at most)"
                (self.met if share <= 0.25 else self.missed).append(text)
        return lines

    def plots(self, folder, page):
        folder.mkdir(exist_ok=True)
        rate = lambda row, engine: self.by.get((row, engine), {}).get("per_cpu_s")
        both = ["gratis", "hf-fp32"]
        curves = [
            (
                "candidates",
                "Scoring S, 128-token prompt",
                "candidates per prompt",
                [(n, f"score-S-128-{n}") for n in (1, 4, 16, 64)],
                [*both, "hf-prefix", "gratis-bf16", "hf-bf16"],
            ),
            (
                "candidates-m",
                "Scoring M, 128-token prompt",
                "candidates per prompt",
                [(n, f"score-M-128-{n}") for n in (1, 4, 16, 64)],
                [*both, "hf-prefix", "gratis-bf16", "hf-bf16"],
            ),
            (
                "context",
                "Scoring S, one response",
                "tokens of prompt and response",
                [(512, "curve-context-512"), (2048, "curve-context-2048"), (8192, "score-S-8k")],
                both,
            ),
            (
                "vocabulary",
                "Scoring the body of S, 16 candidates",
                "vocabulary",
                [(models.SHAPES[m][0], f"curve-vocabulary-{m}") for m in ("S", "S8k", "S32k", "S128k")],
                both,
            ),
            (
                "batch",
                "Scoring S, 64 candidates",
                "tokens per batch",
                [(n, f"curve-batch-{n}") for n in (512, 1024, 2048, 4096, 8192)],
                both,
            ),
        ]
        lines = []
        for name, title, x_label, points, engines in curves:
            series = []
            for engine in engines:
                known = [(x, rate(row, engine)) for x, row in points if rate(row, engine)]
                if len(known) > 1:
                    series.append((NAMES[engine], known))
            if not series:
                continue
            text = plot.line_plot(title, x_label, "tokens per CPU second", series)
            (folder / f"{page}-{name}.svg").write_text(text)
            lines += [f"![{title}](images/{page}-{name}.svg)", ""]
        series = []
        for row in self.rows:
            ratio, _ = self.threads(row)
            if ratio and "score" in row:
                series.append((row.removeprefix("threads-"), [(1, 1.0), (2, ratio)]))
        if series:
            title = "Two threads over one"
            text = plot.line_plot(title, "threads", "tokens per wall second, relative", series)
            (folder / f"{page}-threads.svg").write_text(text)
            lines += [f"![{title}](images/{page}-threads.svg)", ""]
        return lines


def write(results, docs, processors):
    """Writes the page of the processors `avx512` or `avx2`, and returns its path."""
    page = docs / f"{PAGES[processors]}.md"
    report = Report(results)
    peak = report.by.get(("peak", "gratis"), {})
    vectors = peak.get("flags", ["vector instructions that were not recorded"])
    scoring, sampling = report.compare("score-", True), report.compare("sample-", False)
    training, limits = report.compare("train-", False), report.limits()
    memory, plots = report.memory(), report.plots(docs / "images", page.stem)
    lines = [BEGIN, ""]
    lines += [f"Processor: {peak.get('processor', 'not recorded')} with {', '.join(vectors)}.", ""]
    lines += ["## Scoring", "", *scoring, "", "## Training", "", *training, ""]
    lines += ["## Sampling", "", *sampling, "", "## The machine's limit", "", *limits, *memory, ""]
    lines += ["## Curves", "", *plots]
    lines += ["## Targets", "", "Missed:", ""]
    lines += [f"- {line}" for line in report.missed] or ["- none"]
    lines += ["", "Met:", ""]
    lines += [f"- {line}" for line in report.met] or ["- none"]
    lines += ["", END]
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(before + "\n".join(lines) + after)
    return page
