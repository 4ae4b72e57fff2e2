"""Random models and token ids for `bench/peers/bench.py`: the same files for every engine.

A model is a Hugging Face folder of class `LlamaForCausalLM` with a tokenizer of one word per token, and
optionally a GGUF file in f32. Token ids are in one JSON file per model, in named sets of problems.
"""

import json
import random

import numpy as np
from safetensors.numpy import load_file, save_file

# vocabulary, hidden size, size of the feed-forward layer, layers
SHAPES = {
    "S": (512, 256, 688, 6),
    "M": (32_000, 512, 1376, 8),
    "L": (128_256, 1024, 2816, 16),
    # The body of S with larger vocabularies.
    "S8k": (8_192, 256, 688, 6),
    "S32k": (32_000, 256, 688, 6),
    "S128k": (128_256, 256, 688, 6),
}
HEAD = 64
CONTEXT = 8192


def n_body_parameters(name):
    """Parameters of the matrices of all layers: two operations per token each."""
    _, d, feed_forward, layers = SHAPES[name]
    return layers * (4 * d * d + 3 * d * feed_forward)


def operations(name, problems, shared):
    """Floating-point operations of scoring `problems`; `shared` computes a prompt once."""
    vocabulary, d, _, layers = SHAPES[name]
    total = 0
    for problem in problems:
        prompt = len(problem["prompt"])
        lengths = [len(response) for response in problem["responses"]]
        tokens = (prompt if shared else prompt * len(lengths)) + sum(lengths)
        triangle = prompt * (prompt + 1) // 2
        pairs = (triangle if shared else triangle * len(lengths)) + sum(
            n * prompt + n * (n + 1) // 2 for n in lengths
        )
        total += 2 * n_body_parameters(name) * tokens + 4 * d * layers * pairs
        total += 2 * d * vocabulary * sum(lengths)
    return total


def write_model(folder, name, gguf):
    """The folder, and `model.gguf` in it if `gguf`. What is there already is kept."""
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary, d, feed_forward, layers = SHAPES[name]
        rng = np.random.default_rng(1)

        def matrix(rows, columns):
            return rng.standard_normal((rows, columns), np.float32) / np.float32(columns**0.5)

        ones = np.ones(d, np.float32)
        tensors = {
            "model.embed_tokens.weight": matrix(vocabulary, d) * np.float32(d**0.5),
            "model.norm.weight": ones,
            "lm_head.weight": matrix(vocabulary, d),
        }
        for layer in range(layers):
            prefix = f"model.layers.{layer}."
            for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
                tensors[f"{prefix}self_attn.{projection}.weight"] = matrix(d, d)
            tensors[f"{prefix}mlp.gate_proj.weight"] = matrix(feed_forward, d)
            tensors[f"{prefix}mlp.up_proj.weight"] = matrix(feed_forward, d)
            tensors[f"{prefix}mlp.down_proj.weight"] = matrix(d, feed_forward)
            tensors[f"{prefix}input_layernorm.weight"] = ones
            tensors[f"{prefix}post_attention_layernorm.weight"] = ones
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        config = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": vocabulary,
            "hidden_size": d,
            "intermediate_size": feed_forward,
            "num_hidden_layers": layers,
            "num_attention_heads": d // HEAD,
            "num_key_value_heads": d // HEAD,
            "head_dim": HEAD,
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
            "bos_token_id": None,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
            "dtype": "float32",
            "torch_dtype": "float32",
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        write_tokenizer(folder, vocabulary)
        (folder / "done").write_text("")
        if gguf:
            write_gguf(folder / "model.gguf", name, tensors)


def write_tokenizer(folder, vocabulary):
    """Token `i` is the word `t<i>`, so that a text has exactly the ids it was made of."""
    words = {f"t{i}": i for i in range(vocabulary)}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "t0"}
    end = f"t{vocabulary - 1}"
    special = {"id": vocabulary - 1, "content": end, "single_word": False, "lstrip": True}
    special |= {"rstrip": False, "normalized": False, "special": True}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [special]}
    tokenizer |= {"normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}}
    tokenizer |= {"post_processor": None, "decoder": None, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "pad_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_gguf(path, name, tensors, kind=None):
    """`kind`: `q8_0` or `q4_0` for every matrix, f32 if left out."""
    import gguf

    vocabulary, d, feed_forward, layers = SHAPES[name]
    n_heads = d // HEAD
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(d)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(n_heads)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    file_types = {None: "ALL_F32", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}
    writer.add_file_type(gguf.LlamaFileType[file_types[kind]])
    writer.add_tokenizer_model("no_vocab")

    def interleaved(weight):
        """GGUF rotates neighbouring pairs, Hugging Face the halves of a head."""
        halves = weight.reshape(n_heads, 2, HEAD // 2, d)
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(d, d)

    def add(name, weight):
        if kind and weight.ndim == 2:
            stored = gguf.GGMLQuantizationType[kind.upper()]
            writer.add_tensor(name, gguf.quants.quantize(weight, stored), raw_dtype=stored)
        else:
            writer.add_tensor(name, weight)

    add("token_embd.weight", tensors["model.embed_tokens.weight"])
    add("output_norm.weight", tensors["model.norm.weight"])
    add("output.weight", tensors["lm_head.weight"])
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for layer in range(layers):
        for theirs, ours in names.items():
            weight = tensors[f"model.layers.{layer}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):
                weight = interleaved(weight)
            add(f"blk.{layer}.{ours}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantised(folder, name, kind):
    """The GGUF file of the same weights as `q8_0` or `q4_0`."""
    path = folder / f"model-{kind}.gguf"
    if not path.exists():
        write_gguf(path, name, load_file(folder / "model.safetensors"), kind)
    return path


# problems, responses per problem, prompt tokens, least and most tokens of a response
SETS = {
    "p128n1": (16, 1, 128, 128, 256),
    "p128n4": (4, 4, 128, 128, 256),
    "p128n16": (1, 16, 128, 128, 256),
    "p128n64": (1, 64, 128, 128, 256),
    "p128n16x8": (8, 16, 128, 128, 256),
    "p512n16": (1, 16, 512, 128, 256),
    "short-n1": (4, 1, 128, 32, 96),
    "short-n16": (1, 16, 128, 32, 96),
    "context512": (8, 1, 384, 128, 128),
    "context2048": (2, 1, 1920, 128, 128),
    "context8192": (1, 1, 7936, 256, 256),
    "train": (16, 8, 64, 32, 96),
    "prompt": (1, 1, 128, 1, 1),
}


def write_data(path, name):
    """All sets of token ids of a model; every response ends with the end token."""
    vocabulary = SHAPES[name][0]
    data = {}
    for set_name, (n_problems, n, n_prompt, least, most) in SETS.items():
        rng = random.Random(set_name)
        draw = lambda count: [rng.randrange(vocabulary - 1) for _ in range(count)]
        data[set_name] = [
            {
                "prompt": draw(n_prompt),
                "responses": [
                    draw(rng.randint(least, most) - 1) + [vocabulary - 1] for _ in range(n)
                ],
                "labels": [number % 2 for number in range(n)],
            }
            for _ in range(n_problems)
        ]
    path.write_text(json.dumps(data))


def n_real_tokens(problems):
    """Tokens of every response with its prompt, without padding."""
    return sum(
        len(problem["prompt"]) + len(response)
        for problem in problems
        for response in problem["responses"]
    )
