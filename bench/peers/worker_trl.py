"""Training with TRL: `worker_trl.py <data.json> <folder> <n_threads> <ce|dpo|kto> <fp32|bf16> <rank> <steps>`.

DPO and KTO are TRL's trainers with the reference's log-probabilities computed before; cross-entropy on
outcome labels, which TRL lacks, is a plain loop on TRL's padding. One optimizer step is 64 sequences
in micro-batches of 8. The measurement starts after the first micro-batch and ends with the last step.
A rank above 0 trains an adapter.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from worker import peak_megabytes

data_path, folder, n_threads, objective, precision, rank, n_steps = sys.argv[1:]
n_steps, rank = int(n_steps), int(rank)
torch.set_num_threads(int(n_threads))
torch.manual_seed(1)
with open(data_path) as file:
    problems = json.load(file)["train"]
BATCH, MICRO = 64, 8
# As in gratis: the factor of the log-ratio.
BETA = 0.05

model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
lora = None
if rank:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", lora_dropout=0.0)


class Clock(TrainerCallback):
    """From the end of the first micro-batch to the end of the last step."""

    def __init__(self):
        self.start = None
        self.end = None

    def tick(self):
        now = (time.perf_counter(), time.process_time())
        if self.start is None:
            self.start = now
        self.end = now

    def on_substep_end(self, *arguments, **keywords):
        if self.start is None:
            self.tick()

    def on_step_end(self, *arguments, **keywords):
        self.tick()


clock = Clock()
# Real tokens of each micro-batch, in order.
counts = []


def report(counts):
    wall, cpu = (end - start for start, end in zip(clock.start, clock.end))
    n_tokens = sum(counts[1 : n_steps * BATCH // MICRO])
    answer = {"wall_s": wall, "cpu_s": cpu, "tokens": n_tokens, "peak_mb": peak_megabytes()}
    print(json.dumps(answer), flush=True)


def text(tokens):
    return " ".join(f"t{token}" for token in tokens)


def with_label(problem, wanted):
    return [r for r, label in zip(problem["responses"], problem["labels"]) if label == wanted]


def train_with_trl():
    from datasets import Dataset

    tokenizer = AutoTokenizer.from_pretrained(folder)
    common = {
        "output_dir": "trl-output",
        "max_steps": n_steps,
        "gradient_accumulation_steps": BATCH // MICRO,
        "per_device_train_batch_size": MICRO,
        "learning_rate": 1e-5,
        "gradient_checkpointing": False,
        "bf16": precision == "bf16",
        "fp16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "precompute_ref_log_probs": True,
        "max_length": None,
        "beta": BETA,
        "dataloader_pin_memory": False,
    }
    rows = []
    if objective == "dpo":
        from trl import DPOConfig as Config, DPOTrainer as Trainer

        # A pair is two sequences.
        common["per_device_train_batch_size"] = MICRO // 2
        for problem in problems:
            for chosen, rejected in zip(with_label(problem, 1), with_label(problem, 0)):
                row = {"prompt": text(problem["prompt"])}
                row |= {"chosen": " " + text(chosen), "rejected": " " + text(rejected)}
                rows.append(row)
        rows = rows[: n_steps * BATCH // 2]
    else:
        from trl import KTOConfig as Config, KTOTrainer as Trainer

        for problem in problems:
            for response, label in zip(problem["responses"], problem["labels"]):
                row = {"prompt": text(problem["prompt"]), "completion": " " + text(response)}
                rows.append(row | {"label": bool(label)})
        # TRL pairs neighbours for its estimate of the divergence: they should be of other problems.
        rows = [row for first in range(8) for row in rows[first::8]]
        rows = rows[: n_steps * BATCH]
    trainer = Trainer(
        model=model,
        args=Config(**common),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[clock],
        peft_config=lora,
    )
    collate = trainer.data_collator

    def counted(examples):
        batch = collate(examples)
        counts.append(int(batch["attention_mask"].sum()))
        return batch

    trainer.data_collator = counted
    counts.clear()
    trainer.train()
    report(counts)


def train_ce():
    global model
    if lora:
        model = get_peft_model(model, lora)
    rows = [
        (problem["prompt"], response, label)
        for problem in problems
        for response, label in zip(problem["responses"], problem["labels"])
    ][: n_steps * BATCH]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    def sums(batch):
        """`sum_t log pi(y_t | y_<t)` of each row: `[n]`."""
        width = max(len(prompt) + len(response) for prompt, response, _ in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask, counts_in_loss = torch.zeros_like(ids), torch.zeros_like(ids)
        for i, (prompt, response, _) in enumerate(batch):
            n = len(prompt) + len(response)
            ids[i, :n], mask[i, :n] = torch.tensor(prompt + response), 1
            counts_in_loss[i, len(prompt) : n] = 1
        first = min(len(prompt) for prompt, _, _ in batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                use_cache=False,
                logits_to_keep=width - first + 1,
            ).logits[:, :-1]
        labels = ids[:, first:]
        flat = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
        return -(flat.view_as(labels) * counts_in_loss[:, first:]).sum(1), int(mask.sum())

    steps = []
    for step in range(n_steps):
        # Sorted by length within the optimizer batch, so that there is little padding.
        whole = sorted(rows[step * BATCH : (step + 1) * BATCH], key=lambda row: len(row[1]))
        steps.append([whole[i : i + MICRO] for i in range(0, BATCH, MICRO)])
    with torch.no_grad():
        reference = [[sums(batch)[0] for batch in step] for step in steps]
    for step, of_reference in zip(steps, reference):
        for batch, before in zip(step, of_reference):
            now, n_tokens = sums(batch)
            counts.append(n_tokens)
            labels = torch.tensor([float(label) for _, _, label in batch])
            logits = BETA * (now - before)
            loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / BATCH
            loss.backward()
            clock.on_substep_end()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.on_step_end()
    report(counts)


if objective == "ce":
    train_ce()
else:
    train_with_trl()
