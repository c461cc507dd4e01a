#!/usr/bin/env python3
"""Makes small random models and what they compute, by transformers in fp32, for tests of model/.

    tests/fixtures/models/NAME/    config.json, *.safetensors, expected.json

The models are small and random. Weights are drawn wide enough for logits to spread, so that a wrong
head order, a lost bias or a wrong angle shows; greedy continuations are kept only where the best
token leads by a margin that rounding cannot cross.

Needs: Python 3.10+, torch (CPU), transformers 5, numpy. The output depends on their versions in
the last digits only, so what is in the repository need not be made again.

    python3 scripts/make-fixtures.py [--only NAME ...]
"""

import argparse
import json
import math
import pathlib
import shutil
import sys

import torch
import transformers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"
LENGTHS = (23, 40)  # tokens of the two input sequences
CONTINUATION = 12  # tokens made greedily after each
ROPE_LENGTH = 64  # what dynamic scaling is told will be run
MARGIN = 0.05  # by which the best logit must lead in every greedy step
VOCAB = 131

IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=None)


def llama(**changes):
    sizes = dict(
        vocab_size=VOCAB,
        hidden_size=48,
        intermediate_size=57,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
        **IDS,
    )
    return LlamaForCausalLM, LlamaConfig(**{**sizes, **changes})


def scaled(rope, **changes):
    """The smallest: what matters is the angles."""
    sizes = dict(
        vocab_size=67,
        hidden_size=32,
        intermediate_size=41,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return llama(rope_parameters={"rope_theta": 10000.0, **rope}, **{**sizes, **changes})


def qwen(model, config, **changes):
    sizes = dict(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=59,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        **IDS,
    )
    return model, config(**{**sizes, **changes})


def mistral(**changes):
    sizes = dict(
        vocab_size=VOCAB,
        hidden_size=48,
        intermediate_size=57,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        sliding_window=9,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        **IDS,
    )
    return MistralForCausalLM, MistralConfig(**{**sizes, **changes})


def opt(**changes):
    sizes = dict(
        vocab_size=VOCAB,
        hidden_size=64,
        ffn_dim=91,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=80,
        bos_token_id=2,
        eos_token_id=2,
        pad_token_id=1,
    )
    return OPTForCausalLM, OPTConfig(**{**sizes, **changes})


LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)

# name: (model class and config, dtype stored, shards, keys of older versions)
MODELS = {
    "llama": (llama(num_hidden_layers=3, intermediate_size=88), "float32", 1, False),
    "llama-tied-9-heads": (
        llama(
            hidden_size=54,
            intermediate_size=61,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            rope_parameters=LLAMA3,
        ),
        "float32",
        1,
        True,
    ),
    "llama-biases": (llama(attention_bias=True, mlp_bias=True), "float32", 1, False),
    "llama-rope-linear": (scaled({"rope_type": "linear", "factor": 2.5}), "float32", 1, False),
    "llama-rope-dynamic": (
        scaled({"rope_type": "dynamic", "factor": 4.0}, max_position_embeddings=20),
        "float32",
        1,
        False,
    ),
    "llama-rope-yarn": (scaled(YARN, max_position_embeddings=256), "float32", 1, False),
    "llama-bf16": (llama(), "bfloat16", 1, False),
    "llama-f16": (llama(), "float16", 1, False),
    "llama-sharded": (llama(), "bfloat16", 3, True),
    "qwen2": (qwen(Qwen2ForCausalLM, Qwen2Config), "float32", 1, False),
    "qwen2-window": (
        qwen(
            Qwen2ForCausalLM,
            Qwen2Config,
            num_hidden_layers=3,
            hidden_size=48,
            num_attention_heads=3,
            num_key_value_heads=1,
            intermediate_size=45,
            use_sliding_window=True,
            sliding_window=11,
            max_window_layers=1,
            tie_word_embeddings=True,
        ),
        "float32",
        1,
        False,
    ),
    "qwen3": (
        qwen(Qwen3ForCausalLM, Qwen3Config, hidden_size=48, head_dim=16), "float32", 1, False
    ),
    "mistral": (mistral(), "float32", 1, False),
    "opt": (opt(), "float32", 1, False),
}


def draw_weights(model, seed):
    """Wide random weights in place: see the top of this file."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "embed_positions" in name:
            mean, std = 0.0, 0.5
        elif "embed_tokens" in name:
            # Tied and dominant, it would make every token predict itself.
            mean, std = 0.0, 0.4 if model.config.tie_word_embeddings else 1.0
        elif name == "lm_head.weight":
            mean, std = 0.0, 0.5
        elif name.endswith("bias"):
            mean, std = 0.0, 0.3
        elif parameter.dim() == 1:  # a norm's weight
            mean, std = 1.0, 0.2
        else:
            mean, std = 0.0, 1.4 / math.sqrt(parameter.shape[1])
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std + mean)


def round_weights(model, dtype):
    """What will be stored, still in fp32. Not model.to(), which would round rotary angles too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).to(torch.float32))


def rounded(values):
    """Eight digits are more than fp32 holds."""
    return [float(f"{value:.8g}") for value in values]


def reference(model, ids):
    """Logits, log-probabilities and the greedy continuation of one sequence, and its margin."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        log_probs = torch.log_softmax(logits, -1)
        token_log_probs = [log_probs[i, ids[i + 1]].item() for i in range(len(ids) - 1)]
        continued, margin = list(ids), math.inf
        for _ in range(CONTINUATION):
            best = model(torch.tensor([continued])).logits[0, -1].topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            continued.append(best.indices[0].item())
    positions = sorted({0, len(ids) // 2, len(ids) - 1})
    return {
        "input": ids,
        "last_logits": rounded(logits[-1].tolist()),
        "token_log_probs": rounded(token_log_probs),
        "log_probs": [
            {"position": p, "values": rounded(log_probs[p].tolist())} for p in positions
        ],
        "mean_nll_nats": -sum(token_log_probs) / len(token_log_probs),
        "greedy": continued[len(ids) :],
    }, margin


def warm_up(model, config):
    """Lets dynamic scaling see the longest sequence first, so that angles stay the same after."""
    with torch.no_grad():
        model(torch.zeros(1, ROPE_LENGTH, dtype=torch.long))
    if getattr(config, "rope_parameters", None):
        if config.rope_parameters["rope_type"] == "dynamic":
            assert model.model.rotary_emb.max_seq_len_cached == ROPE_LENGTH
            assert config.max_position_embeddings < min(LENGTHS)


def to_old_keys(path):
    """config.json as transformers 4 wrote it."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_index_of(folder, model, shards):
    """Shards with an index; the limit on a shard's size is what makes `shards` of them."""
    total = sum(p.numel() * p.element_size() for p in model.parameters())
    for tenths in range(10, 20):
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder, max_shard_size=int(total / shards * tenths / 10) + 1)
        if len(list(folder.glob("*.safetensors"))) == shards:
            return
    raise RuntimeError(f"{folder}: no limit gives {shards} shards")


def make_model(name, described, stored, shards, old_keys):
    model_class, config = described
    folder = FIXTURES / "models" / name
    for seed in range(1000):
        torch.manual_seed(seed)
        model = model_class(config).eval()
        draw_weights(model, seed)
        round_weights(model, getattr(torch, stored))
        warm_up(model, config)
        generator = torch.Generator().manual_seed(seed + 1)
        made = [
            reference(model, torch.randint(3, config.vocab_size, (n,), generator=generator).tolist())
            for n in LENGTHS
        ]
        varied = all(len(set(one["greedy"])) >= CONTINUATION // 2 for one, _ in made)
        ended = any(config.eos_token_id in one["greedy"] for one, _ in made)
        if varied and not ended and min(margin for _, margin in made) >= MARGIN:
            break
    else:
        raise RuntimeError(f"{name}: no seed gives a clear greedy continuation")

    shutil.rmtree(folder, ignore_errors=True)
    stored_model = model.to(getattr(torch, stored))
    if shards > 1:
        write_index_of(folder, stored_model, shards)
    else:
        stored_model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if old_keys:
        to_old_keys(folder / "config.json")
    expected = {
        "made_by": f"transformers {transformers.__version__}, fp32",
        "rope_length": ROPE_LENGTH,
        "sequences": [one for one, _ in made],
    }
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")

    # Reading it all back must give the same: what the test sees is what was computed.
    again = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    warm_up(again, again.config)
    for one, _ in made:
        with torch.no_grad():
            logits = again(torch.tensor([one["input"]])).logits[0, -1]
        error = (logits - torch.tensor(one["last_logits"])).abs().max().item()
        assert error < 1e-4, (name, error)
    spread = torch.tensor(made[1][0]["last_logits"]).std().item()
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:20} seed {seed:3}  logits' deviation {spread:5.2f}  {size / 1024:6.1f} KiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", metavar="NAME", help="models to make; default: all")
    only = parser.parse_args().only
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)  # the order of sums, and so the last digits, stay the same
    for name, row in MODELS.items():
        if not only or name in only:
            make_model(name, *row)


if __name__ == "__main__":
    sys.exit(main())
