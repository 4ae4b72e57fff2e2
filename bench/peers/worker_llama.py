"""llama.cpp through its C interface: `worker_llama.py <data.json> <model.gguf> <n_threads>`.

The prompt is computed once and its cache shared by all samples of a prompt, which are then decoded
together, one token of each per call. The package has a library for AVX2, none for AVX-512.
"""

import importlib.util
import json
import sys
from pathlib import Path

# The declarations are those of one package, the library that of another, built for older systems from
# the next day's source.
package = Path(importlib.util.find_spec("xllamacpp").origin).parent
LIBRARY = str(next(package.glob("*.so")))

from llama_cpp_py_sync._cffi_bindings import get_ffi

from worker import measure, serve

ffi = get_ffi()
lib = ffi.dlopen(LIBRARY)


@ffi.callback("void(enum ggml_log_level, const char *, void *)")
def quiet(_level, _text, _data):
    pass


lib.llama_log_set(quiet, ffi.NULL)
lib.llama_backend_init()


def main():
    data_path, path, n_threads = sys.argv[1:]
    with open(data_path) as file:
        data = json.load(file)
    model_params = lib.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = lib.llama_model_load_from_file(path.encode(), model_params)
    if model == ffi.NULL:
        sys.exit(f"could not load {path}")
    contexts = {}

    def context(n_samples, n_cells):
        key = (n_samples, n_cells)
        if key not in contexts:
            params = lib.llama_context_default_params()
            params.n_ctx = n_cells
            params.n_batch = params.n_ubatch = 512
            params.n_seq_max = n_samples
            params.kv_unified = True
            params.n_threads = params.n_threads_batch = int(n_threads)
            params.type_k = params.type_v = 0  # f32
            contexts[key] = lib.llama_init_from_model(model, params)
        return contexts[key]

    def fill(batch, tokens):
        """`tokens`: token, position, sequence, whether its logits are needed."""
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence

    def sample(set, seconds, n_samples, n_new_tokens):
        longest = max(len(problem["prompt"]) for problem in data[set])
        n_cells = longest + n_samples * n_new_tokens
        ctx = context(n_samples, (n_cells + 255) // 256 * 256)
        memory = lib.llama_get_memory(ctx)
        batch = lib.llama_batch_init(512, 0, 1)
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_dist(1))

        def decode():
            if lib.llama_decode(ctx, batch) != 0:
                sys.exit("llama_decode failed")

        def one_pass():
            for problem in data[set]:
                prompt = problem["prompt"]
                lib.llama_memory_clear(memory, False)
                last = len(prompt) - 1
                fill(batch, [(token, i, 0, i == last) for i, token in enumerate(prompt)])
                decode()
                for sequence in range(1, n_samples):
                    lib.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
                drawn = [lib.llama_sampler_sample(chain, ctx, last) for _ in range(n_samples)]
                for step in range(1, n_new_tokens):
                    position = last + step
                    fill(batch, [(token, position, s, 1) for s, token in enumerate(drawn)])
                    decode()
                    drawn = [lib.llama_sampler_sample(chain, ctx, s) for s in range(n_samples)]

        answer = measure(seconds, one_pass)
        lib.llama_batch_free(batch)
        lib.llama_sampler_free(chain)
        return answer

    serve({"sample": sample})


main()
