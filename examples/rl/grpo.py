#!/usr/bin/env python3
"""TRL's GRPOTrainer with rewards of gratis, on a tiny model, without a GPU: grpo.py [--steps N].

Needs the wheel of gratis (`just wheel`), trl and torch. It makes a model of 0.1 million parameters that adds
two numbers, trains an implicit process reward model on graded solutions, and then trains the policy
with two rewards: the reward model's, and the graded final answer. The policy is so small that its
rewards show only that everything fits together.
"""

import argparse
import json
import random
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

import gratis
from gratis.adapters import trl_grade, trl_reward

CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"


def gratis_command(folder, *arguments):
    subprocess.run(["gratis", "-q", *arguments], cwd=folder, check=True)


def make_models(folder):
    """`policy` knows the form of a solution; `runs/prm` was trained on right and wrong ones."""
    generator = random.Random(0)
    rows = []
    for _ in range(300):
        a, b = generator.randrange(1, 10), generator.randrange(1, 10)
        sums = [a + b, a + b + generator.choice([-1, 1])]
        texts = [f"{a} and {b} are {c}.\n\nAnswer: {c}" for c in sums]
        prompt = f"How much are {a} and {b}? "
        rows.append({"prompt": prompt, "reference": str(a + b), "completions": texts, "correctness": [True, False]})
    (folder / "graded.jsonl").write_text("\n".join(map(json.dumps, rows)))
    init = ["init", "start", "--preset", "nano", "--vocab", "300", "--context-length", "96"]
    gratis_command(folder, *init, "--train-tokenizer", "graded.jsonl")
    pretrain = ["pretrain", "--model", "start", "--data", "graded.jsonl", "--run", "runs/policy"]
    gratis_command(folder, *pretrain, "--epochs", "60", "--learning-rate", "3e-3")
    train = ["train", "--model", "runs/policy/model", "--data", "graded.jsonl", "--run", "runs/prm"]
    gratis_command(folder, *train, "--epochs", "10")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--conversational", action="store_true", help="prompts and completions as messages")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        train(Path(name), arguments)


def train(folder, arguments):
    rows = make_models(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder / "runs/policy/model")
    policy = AutoModelForCausalLM.from_pretrained(folder / "runs/policy/model", dtype=torch.float32)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token

    def prompt(row):
        if not arguments.conversational:
            return row["prompt"]
        return [{"role": "user", "content": row["prompt"]}]

    if arguments.conversational:
        tokenizer.chat_template = CHAT_TEMPLATE
    data = Dataset.from_list([{"prompt": prompt(row), "reference": row["reference"]} for row in rows])
    reward_model = gratis.RewardModel(folder / "runs/prm", on_overlong="skip")
    trainer = GRPOTrainer(
        model=policy,
        processing_class=tokenizer,
        reward_funcs=[
            trl_reward(reward_model, "sum", eos_token_id=tokenizer.eos_token_id, name="process"),
            trl_grade("reference"),
        ],
        train_dataset=data,
        args=GRPOConfig(
            output_dir=str(folder / "grpo"),
            max_steps=arguments.steps,
            per_device_train_batch_size=8,
            num_generations=8,
            max_completion_length=24,
            learning_rate=2e-5,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
    )
    trainer.train()
    history = [line for line in trainer.state.log_history if "reward" in line]
    assert len(history) == arguments.steps, f"{len(history)} of {arguments.steps} steps"
    names = ("rewards/process/mean", "rewards/correctness/mean", "loss", "grad_norm")
    for step, line in enumerate(history, 1):
        values = [float(line[name]) for name in names]
        assert all(torch.isfinite(torch.tensor(values))), line
        print(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in zip(names, values)))
    packages = ("gratis", "trl", "transformers", "torch")
    print("OK:", len(history), "steps,", ", ".join(f"{name} {version(name)}" for name in packages))


if __name__ == "__main__":
    main()
