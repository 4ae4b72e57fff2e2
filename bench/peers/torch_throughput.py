"""Tokens per second of a plain PyTorch decoder in eager fp32, for comparison with `examples/throughput.rs`.

`torch_throughput.py <small|tiny|large> <train|score> <n_threads> <seconds>`. It has the same shapes and uses
fused projections, `scaled_dot_product_attention`, fused RMSNorm and AdamW: the fastest eager version found.
"""

import sys
import time

import torch
import torch.nn.functional as F

# vocab, d, intermediate, layers, heads, sequences, prompt, response
WORKLOADS = {
    "small": (512, 256, 688, 6, 4, 16, 1, 255),
    "tiny": (69, 64, 160, 2, 4, 64, 18, 34),
    "large": (32000, 512, 1376, 8, 8, 4, 1, 255),
}


class Layer(torch.nn.Module):
    def __init__(self, d, intermediate, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = torch.nn.RMSNorm(d, 1e-5), torch.nn.RMSNorm(d, 1e-5)
        self.qkv = torch.nn.Linear(d, 3 * d, bias=False)
        self.output = torch.nn.Linear(d, d, bias=False)
        self.gate_up = torch.nn.Linear(d, 2 * intermediate, bias=False)
        self.down = torch.nn.Linear(intermediate, d, bias=False)

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, t, 3, self.n_heads, d // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(heads.transpose(1, 2).reshape(b, t, d))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Decoder(torch.nn.Module):
    def __init__(self, vocab, d, intermediate, n_layers, n_heads):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab, d)
        self.layers = torch.nn.ModuleList(
            Layer(d, intermediate, n_heads) for _ in range(n_layers)
        )
        self.norm = torch.nn.RMSNorm(d, 1e-5)
        self.head = torch.nn.Linear(d, vocab, bias=False)
        half = d // n_heads // 2
        angles = torch.arange(1024)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.cos, self.sin = angles.cos(), angles.sin()

    def forward(self, tokens, n_prompt):
        """Log-probabilities of the response tokens."""
        x = self.embedding(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin)
        logits = self.head(self.norm(x[:, n_prompt - 1 : -1])).flatten(0, 1)
        return -F.cross_entropy(logits, tokens[:, n_prompt:].flatten(), reduction="none")


def main():
    name, mode, n_threads, seconds = sys.argv[1:]
    torch.set_num_threads(int(n_threads))
    vocab, d, intermediate, n_layers, n_heads, n_sequences, n_prompt, n_response = WORKLOADS[name]
    torch.manual_seed(1)
    model = Decoder(vocab, d, intermediate, n_layers, n_heads)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    tokens = torch.randint(vocab, (n_sequences, n_prompt + n_response))

    def score():
        with torch.inference_mode():
            model(tokens, n_prompt)

    def train():
        optimizer.zero_grad(set_to_none=True)
        (-model(tokens, n_prompt).mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    run = score if mode == "score" else train
    run()
    start, rates = time.perf_counter(), []
    cpu_start = time.process_time()
    while time.perf_counter() - start < float(seconds) or len(rates) < 3:
        before = time.perf_counter()
        run()
        rates.append(tokens.numel() / (time.perf_counter() - before))
    cpu_rate = len(rates) * tokens.numel() / (time.process_time() - cpu_start)
    rates.sort()
    best, median = rates[-1], rates[len(rates) // 2]
    print(f"torch {name} {mode} {n_threads} {best:.0f} {median:.0f} {cpu_rate:.0f}")


main()
