"""Hugging Face transformers: `worker_hf.py <data.json> <folder> <n_threads> <dtype> <attention> <batch tokens>`."""

import copy
import json
import sys

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache

from worker import measure, serve

data_path, folder, n_threads, dtype, attention, budget = sys.argv[1:]
torch.set_num_threads(int(n_threads))
torch.set_grad_enabled(False)
with open(data_path) as file:
    data = json.load(file)
model = AutoModelForCausalLM.from_pretrained(
    folder, dtype=getattr(torch, dtype), attn_implementation=attention
).eval()


def batches(rows, n_tokens, budget):
    """Rows sorted by length, cut so that a padded batch has at most `budget` tokens."""
    batch = []
    for row in sorted(rows, key=n_tokens):
        if batch and (len(batch) + 1) * n_tokens(row) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pad(rows):
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def log_probs(logits, labels):
    """`[n, t]` of `logits` `[n, t, vocabulary]`."""
    flat = -F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(labels)


def score_padded(problems, budget):
    """Every response with its prompt, in sorted padded batches; logits of responses only."""
    rows = [(p["prompt"], r) for p in problems for r in p["responses"]]
    found = [None] * len(rows)
    numbered = list(enumerate(rows))
    for batch in batches(numbered, lambda row: len(row[1][0]) + len(row[1][1]), budget):
        ids, mask = pad([prompt + response for _, (prompt, response) in batch])
        first = min(len(prompt) for _, (prompt, _) in batch)
        kept = ids.shape[1] - first + 1
        logits = model(
            input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=kept
        ).logits
        values = log_probs(logits[:, :-1], ids[:, first:])
        for row, (number, (prompt, response)) in enumerate(batch):
            start = len(prompt) - first
            found[number] = values[row, start : start + len(response)].tolist()
    return found


def score_prefix(problems, budget):
    """The prompt once; its keys and values are copied for each batch of responses."""
    found = []
    for problem in problems:
        prompt = torch.tensor([problem["prompt"]])
        cache = DynamicCache(config=model.config)
        out = model(input_ids=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
        first = out.logits[0, -1].float().log_softmax(-1)
        rows = [None] * len(problem["responses"])
        numbered = list(enumerate(problem["responses"]))
        for batch in batches(numbered, lambda row: len(row[1]), budget):
            ids, mask = pad([response for _, response in batch])
            own = copy.deepcopy(cache)
            own.batch_repeat_interleave(len(batch))
            whole = torch.cat([torch.ones(len(batch), prompt.shape[1], dtype=torch.long), mask], 1)
            logits = model(
                input_ids=ids[:, :-1],
                attention_mask=whole[:, :-1],
                past_key_values=own,
                use_cache=True,
            ).logits
            values = log_probs(logits, ids[:, 1:])
            for row, (number, response) in enumerate(batch):
                rest = values[row, : len(response) - 1].tolist()
                rows[number] = [first[response[0]].item(), *rest]
        found.extend(rows)
    return found


def score(set, seconds, variant="padded", batch_tokens=None, dump=None):
    run = {"padded": score_padded, "prefix": score_prefix}[variant]
    found = []

    def one_pass():
        found[:] = run(data[set], batch_tokens or int(budget))

    answer = measure(seconds, one_pass)
    if dump:
        with open(dump, "w") as file:
            json.dump(found, file)
    return answer


def sample(set, seconds, n_samples, n_new_tokens):
    def one_pass():
        for problem in data[set]:
            model.generate(
                input_ids=torch.tensor([problem["prompt"]]),
                attention_mask=torch.ones(1, len(problem["prompt"]), dtype=torch.long),
                do_sample=True,
                top_k=0,
                num_return_sequences=n_samples,
                max_new_tokens=n_new_tokens,
                min_new_tokens=n_new_tokens,
            )

    return measure(seconds, one_pass)


def gemm(seconds, rows, n, k):
    """Products of `[rows, k]` and `[k, n]` alone."""
    a, b = torch.randn(rows, k), torch.randn(k, n)
    answer = measure(seconds, lambda: [torch.mm(a, b) for _ in range(10)])
    return answer | {"operations": 20 * rows * n * k * answer["passes"]}


serve({"score": score, "sample": sample, "gemm": gemm})
