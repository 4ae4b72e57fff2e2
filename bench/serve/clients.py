#!/usr/bin/env python3
"""The trainers' own client code against `gratis serve`: clients.py OPENRLHF VERL.

OPENRLHF and VERL are checkouts of OpenRLHF (openrlhf/utils/agent.py) and verl
(verl/experimental/reward_loop/reward_loop.py). The script loads these files as they are, with
stand-ins for the packages that they import and that have no part in a reward (ray, torch, verl's
own), lets them ask a service, and compares every reward with that of `/score`. Needs aiohttp, jinja2,
numpy and the command `gratis`.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import types
import urllib.request
from pathlib import Path

import jinja2

# A stop token of the model that is not the one that ends texts in training, as in many chat models.
EOS = "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROBLEMS = [f"How much are {i % 7 + 1} and {i // 7 + 2}?" for i in range(12)]
RESPONSES = [f"{i} and 2.\n\nAnswer: {i + 2}" if i % 3 else "\n 7, by the way: \u221a49 " for i in range(12)]


class Anything(types.ModuleType):
    """A module whose attributes are decorators that leave what they decorate as it is."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda thing=None, *_, **__: thing


class Tokenizer:
    """Characters as ids, and the end of turn as one id; what the trainers ask of a tokenizer."""

    eos_token, bos_token, eos_id = EOS, None, 0

    def encode(self, text):
        parts = [[ord(char) for char in part] + [self.eos_id] for part in text.split(EOS)]
        return [token for part in parts for token in part][:-1]

    def __call__(self, text=None, **_):
        ids = types.SimpleNamespace(tolist=lambda: self.encode(text))
        return {"input_ids": [ids]}

    def decode(self, ids, **_):
        return "".join(EOS if int(token) == self.eos_id else chr(int(token)) for token in ids)

    def apply_chat_template(self, messages, add_generation_prompt=False, **_):
        return jinja2.Template(CHAT_TEMPLATE, keep_trailing_newline=True).render(
            messages=messages, add_generation_prompt=add_generation_prompt
        )


def load(path, stand_ins):
    for name in stand_ins:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:end]), Anything(".".join(parts[:end])))
    package = "client_" + path.stem
    sys.modules[package] = Anything(package)
    spec = importlib.util.spec_from_file_location(f"{package}.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def service(folder):
    command = ["gratis", "serve", "--model", "model", "--reference", "reference", "--port", "0"]
    flags = ["--template", "chat", "--aggregation", "sum"]
    child = subprocess.Popen([*command, *flags], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        for line in child.stderr:
            if "listening on http://" in line:
                yield line.split("listening on http://")[1].split()[0].rstrip(",")
                break
        else:
            raise SystemExit("the service did not start")
    finally:
        child.terminate()
        child.wait()


def models(folder):
    rows = [{"prompt": problem, "completions": [text]} for problem, text in zip(PROBLEMS, RESPONSES)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    init = ["gratis", "-q", "init", "--preset", "nano", "--vocab", "300", "--context-length", "256"]
    subprocess.run([*init, "model", "--train-tokenizer", "rows.jsonl"], cwd=folder, check=True)
    subprocess.run([*init, "reference", "--tokenizer", "model", "--seed", "3"], cwd=folder, check=True)
    for name in ("model", "reference"):
        path = folder / name / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": CHAT_TEMPLATE}))
        add_stop_token(folder / name)


def add_stop_token(model):
    """Names the last token of the vocabulary the end of turn, beside the model's own."""
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    text, number = max(vocabulary.items(), key=lambda entry: entry[1])
    tokenizer["model"]["merges"] = [
        pair for pair in tokenizer["model"]["merges"] if ("".join(pair) if isinstance(pair, list) else pair.replace(" ", "")) != text
    ]
    del vocabulary[text]
    vocabulary[EOS] = number
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"].append({"id": number, "content": EOS, **flags})
    path.write_text(json.dumps(tokenizer))
    own = json.loads((model / "config.json").read_text())["eos_token_id"]
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [own, number]}))


def expected(address):
    rewards = []
    for problem, text in zip(PROBLEMS, RESPONSES):
        body = json.dumps({"prompt": problem, "completions": [text]}).encode()
        with urllib.request.urlopen(f"http://{address}/score", body) as answer:
            rewards.append(json.load(answer)["problems"][0]["rewards"][0])
    return rewards


async def openrlhf(source, address):
    """What the rollout worker of `--reward.remote_url` does for one prompt."""
    module = load(source / "openrlhf/utils/agent.py", ["openrlhf.utils.logging_utils"])
    log = types.SimpleNamespace(info=print, warning=print)
    module.logger = log
    executor = module.SingleTurnAgentExecutor([f"http://{address}/get_reward"])
    tokenizer = Tokenizer()

    class Engine:
        def __init__(self, text):
            self.text = text

        async def generate(self, *_, **__):
            ids = tokenizer.encode(self.text + EOS)
            output = types.SimpleNamespace(token_ids=ids, finish_reason="stop", logprobs=None)
            return types.SimpleNamespace(outputs=[output])

    rewards = []
    for problem, text in zip(PROBLEMS, RESPONSES):
        messages = [{"role": "user", "content": problem}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        sampling = types.SimpleNamespace(max_tokens=64, logprobs=None)
        output = await executor.execute(prompt, "7", sampling, 4096, tokenizer, Engine(text))
        # One prompt gives a list of one reward, as the trainer makes a tensor of it.
        rewards += output["reward"]
        assert output["scores"] == output["reward"] and output["extra_logs"]["n_steps"]
    return rewards


class Row(list):
    """A row of verl's data: a tensor of ids and its attention mask."""

    @property
    def shape(self):
        return (len(self),)

    def __getitem__(self, at):
        found = list.__getitem__(self, at)
        return Row(found) if isinstance(at, slice) else found

    def sum(self):
        return sum(self)


async def verl(source, address, engine):
    """What the reward loop does for one response with a reward model behind an inference server."""
    stand_ins = ["ray", "torch", "omegaconf", "tensordict", "verl.protocol", "verl.utils.fs"]
    stand_ins += ["verl.single_controller.ray.base", "verl.trainer.ppo.reward", "verl.utils"]
    stand_ins += ["client_reward_loop.reward_manager", "client_reward_loop.reward_model"]
    module = load(source / "verl/experimental/reward_loop/reward_loop.py", stand_ins)
    worker = object.__new__(module.RewardLoopWorker)
    worker.reward_router_address = address
    worker.input_tokenizer = worker.reward_model_tokenizer = Tokenizer()
    space = types.SimpleNamespace
    model = space(rollout=space(name=engine), model=space(path="model"), enable=True)
    worker.config = space(reward_model=model, custom_reward_function=space(path=None))
    rewards = []
    for problem, text in zip(PROBLEMS, RESPONSES):
        ids = worker.input_tokenizer.encode(text + EOS)
        padding = [1] * 5
        batch = {"responses": Row(ids + padding), "attention_mask": Row([1] * len(ids) + [0] * 5)}
        prompt = [{"role": "user", "content": problem}]
        item = space(non_tensor_batch={"raw_prompt": prompt}, batch=batch)
        rewards.append((await worker.compute_score([item]))["reward_score"])
    return rewards


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openrlhf", type=Path)
    parser.add_argument("verl", type=Path)
    arguments = parser.parse_args()
    is_right = True
    with tempfile.TemporaryDirectory() as name:
        models(Path(name))
        with service(Path(name)) as address:
            known = expected(address)
            clients = {
                "OpenRLHF /get_reward": openrlhf(arguments.openrlhf, address),
                "verl /classify": verl(arguments.verl, address, "vllm"),
                "verl /v1/embeddings": verl(arguments.verl, address, "sglang"),
            }
            for client, rewards in clients.items():
                rewards = asyncio.run(rewards)
                differing = [idx for idx in range(len(known)) if rewards[idx] != known[idx]]
                print(f"{client}: {len(known) - len(differing)} of {len(known)} rewards equal those of /score")
                for idx in differing[:3]:
                    print(f"  {RESPONSES[idx]!r}: {rewards[idx]} for {known[idx]}")
                is_right &= not differing and len(rewards) == len(known)
    raise SystemExit(0 if is_right else 1)


if __name__ == "__main__":
    main()
