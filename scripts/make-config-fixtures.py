#!/usr/bin/env python3
"""Makes what transformers makes of config.json files, for tests of model/.

    tests/fixtures/configs.json             configurations and what they mean
    tests/fixtures/rope_frequencies.json    rotary frequencies by kind of scaling

The meaning is taken from a model built on the meta device (which parameters there are, which
layers have a window), not from the configuration alone.

Needs: Python 3.10+, torch (CPU), transformers 5.

    python3 scripts/make-config-fixtures.py
"""

import json
import pathlib
import sys

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"

LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8192,
)

# The keys without which there is no shape; everything else has a default.
SIZES = dict(
    hidden_size=512,
    num_hidden_layers=3,
    num_attention_heads=32,
    vocab_size=1000,
    max_position_embeddings=256,
)
GATED = {**SIZES, "intermediate_size": 700}

# name, architecture, the rest of config.json
CONFIGS = [
    ("LLaMA, sizes only", "LlamaForCausalLM", GATED),
    ("Mistral, sizes only", "MistralForCausalLM", GATED),
    ("Qwen2, sizes only", "Qwen2ForCausalLM", GATED),
    ("Qwen3, sizes only", "Qwen3ForCausalLM", GATED),
    ("OPT, sizes only", "OPTForCausalLM", {**SIZES, "ffn_dim": 700}),
    ("LLaMA, nulls", "LlamaForCausalLM", {
        **GATED, "num_key_value_heads": None, "head_dim": None, "bos_token_id": None,
        "eos_token_id": None, "rope_scaling": None}),
    ("LLaMA, everything said", "LlamaForCausalLM", {
        **GATED, "num_key_value_heads": 4, "head_dim": 24, "hidden_act": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-5, "bos_token_id": 7, "eos_token_id": [8, 9],
        "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True,
        "torch_dtype": "float16"}),
    ("both names of dtype", "LlamaForCausalLM", {
        **GATED, "dtype": "bfloat16", "torch_dtype": "float16"}),
    ("Mistral, no window", "MistralForCausalLM", {**GATED, "sliding_window": None}),
    ("Mistral, a window", "MistralForCausalLM", {
        **GATED, "sliding_window": 100, "num_key_value_heads": 2}),
    ("Qwen2, window given but off", "Qwen2ForCausalLM", {
        **GATED, "sliding_window": 64, "max_window_layers": 1}),
    ("Qwen2, window on", "Qwen2ForCausalLM", {
        **GATED, "sliding_window": 64, "max_window_layers": 2, "use_sliding_window": True}),
    ("Qwen2, window on but null", "Qwen2ForCausalLM", {
        **GATED, "sliding_window": None, "max_window_layers": 0, "use_sliding_window": True}),
    ("Qwen2, defaults of a window", "Qwen2ForCausalLM", {
        **GATED, "num_hidden_layers": 30, "use_sliding_window": True}),
    ("Qwen2, layer types", "Qwen2ForCausalLM", {
        **GATED, "sliding_window": 64, "max_window_layers": 2, "use_sliding_window": True,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    ("Qwen3, biases and window", "Qwen3ForCausalLM", {
        **GATED, "attention_bias": True, "head_dim": 64, "num_key_value_heads": 8,
        "sliding_window": 64, "max_window_layers": 1, "use_sliding_window": True}),
    ("OPT, no biases", "OPTForCausalLM", {
        **SIZES, "ffn_dim": 700, "enable_bias": False, "activation_function": "gelu",
        "tie_word_embeddings": False}),
    ("LLaMA 2 7B", "LlamaForCausalLM", dict(
        bos_token_id=1, eos_token_id=2, hidden_act="silu", hidden_size=4096,
        intermediate_size=11008, max_position_embeddings=4096, num_attention_heads=32,
        num_hidden_layers=32, num_key_value_heads=32, pretraining_tp=1, rms_norm_eps=1e-05,
        rope_scaling=None, tie_word_embeddings=False, torch_dtype="float16", vocab_size=32000)),
    ("LLaMA 3.1 8B", "LlamaForCausalLM", dict(
        attention_bias=False, bos_token_id=128000, eos_token_id=[128001, 128008, 128009],
        hidden_size=4096, intermediate_size=14336, max_position_embeddings=131072, mlp_bias=False,
        num_attention_heads=32, num_hidden_layers=32, num_key_value_heads=8, rms_norm_eps=1e-05,
        rope_scaling=LLAMA3, rope_theta=500000.0, torch_dtype="bfloat16", vocab_size=128256)),
    ("SmolLM2 135M", "LlamaForCausalLM", dict(
        bos_token_id=1, eos_token_id=2, hidden_size=576, intermediate_size=1536,
        max_position_embeddings=8192, num_attention_heads=9, num_hidden_layers=30,
        num_key_value_heads=3, rms_norm_eps=1e-05, rope_theta=100000, tie_word_embeddings=True,
        torch_dtype="bfloat16", vocab_size=49152)),
    ("Qwen2.5 0.5B", "Qwen2ForCausalLM", dict(
        bos_token_id=151643, eos_token_id=151645, hidden_size=896, intermediate_size=4864,
        max_position_embeddings=32768, max_window_layers=21, num_attention_heads=14,
        num_hidden_layers=24, num_key_value_heads=2, rms_norm_eps=1e-06, rope_theta=1000000.0,
        sliding_window=32768, tie_word_embeddings=True, torch_dtype="bfloat16",
        use_sliding_window=False, vocab_size=151936)),
    ("Qwen3 0.6B", "Qwen3ForCausalLM", dict(
        attention_bias=False, bos_token_id=151643, eos_token_id=151645, head_dim=128,
        hidden_size=1024, intermediate_size=3072, max_position_embeddings=40960,
        max_window_layers=28, num_attention_heads=16, num_hidden_layers=28, num_key_value_heads=8,
        rms_norm_eps=1e-06, rope_scaling=None, rope_theta=1000000, sliding_window=None,
        tie_word_embeddings=True, torch_dtype="bfloat16", use_sliding_window=False,
        vocab_size=151936)),
]


def meaning(architecture, keys):
    """The fields of ModelConfig, from a model without storage."""
    model_class = getattr(transformers, architecture)
    config = model_class.config_class(**json.loads(json.dumps(keys)))
    with torch.device("meta"):
        model = model_class(config)
    names = {name for name, _ in model.named_parameters()}
    opt = architecture == "OPTForCausalLM"
    layers = model.model.decoder.layers if opt else model.model.layers
    first = layers[0]
    norm = first.self_attn_layer_norm if opt else first.input_layernorm
    if opt:
        windows = [0] * len(layers)
    elif architecture == "MistralForCausalLM":
        windows = [config.sliding_window or 0] * len(layers)
    else:
        windows = [getattr(l.self_attn, "sliding_window", None) or 0 for l in layers]

    def has(ending):
        return any(name.endswith(ending) for name in names)

    eos = config.eos_token_id
    return {
        "hidden": model.get_input_embeddings().weight.shape[1],
        "blocks": len(layers),
        "q_heads": first.self_attn.q_proj.weight.shape[0] // first.self_attn.head_dim,
        "kv_heads": first.self_attn.k_proj.weight.shape[0] // first.self_attn.head_dim,
        "head_dim": first.self_attn.head_dim,
        "mlp": first.fc1.weight.shape[0] if opt else first.mlp.up_proj.weight.shape[0],
        "vocab": model.get_input_embeddings().weight.shape[0],
        "max_positions": config.max_position_embeddings,
        "windows": windows,
        "norm_epsilon": norm.eps if opt else norm.variance_epsilon,
        "activation": config.activation_function if opt else config.hidden_act,
        "qkv_bias": has("q_proj.bias") and has("k_proj.bias") and has("v_proj.bias"),
        "o_bias": has("out_proj.bias" if opt else "o_proj.bias"),
        "mlp_bias": has("fc2.bias" if opt else "down_proj.bias"),
        "qk_norm": has("q_norm.weight") and has("k_norm.weight"),
        "tied_embeddings": config.tie_word_embeddings,
        "position_rows": model.model.decoder.embed_positions.weight.shape[0] if opt else 0,
        "rope_theta": None if opt else config.rope_parameters["rope_theta"],
        "dtype": str(config.dtype or torch.float32).removeprefix("torch."),
        "bos": config.bos_token_id,
        "eos": [] if eos is None else eos if isinstance(eos, list) else [eos],
    }


def config_cases():
    return [
        {
            "name": name,
            "config": {"architectures": [architecture], **keys},
            "meaning": meaning(architecture, keys),
        }
        for name, architecture, keys in CONFIGS
    ]


def rounded(values):
    """Eight digits are more than fp32 holds."""
    return [float(f"{value:.8g}") for value in values]


def rope_case(name, length, head_dim=64, max_positions=4096, **keys):
    """`keys` as they would be in config.json."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 32,
        "hidden_size": head_dim * 2,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": head_dim,
        "max_position_embeddings": max_positions,
        **keys,
    }
    rotary = LlamaRotaryEmbedding(LlamaConfig(**json.loads(json.dumps(config))))
    rotary(torch.zeros(1), torch.arange(length)[None])  # dynamic scaling learns the length here
    return {
        "name": name,
        "length": length,
        "config": config,
        "inverse": rounded(rotary.inv_freq.tolist()),
        "amplitude": rotary.attention_scaling,
    }


def rope_cases():
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    new = {"rope_type": "yarn", "rope_theta": 1e6, "original_max_position_embeddings": 1024}
    dynamic = {"rope_theta": 10000.0, "rope_scaling": {"type": "dynamic", "factor": 4.0}}
    return [
        rope_case("defaults", 128),
        rope_case("theta, an integer", 128, rope_theta=500000),
        rope_case("new keys", 128, rope_parameters={"rope_type": "default", "rope_theta": 1e5}),
        rope_case("null scaling", 128, rope_theta=1e5, rope_scaling=None),
        rope_case("linear", 128, rope_scaling={"type": "linear", "factor": 2}),
        rope_case("linear, both names", 128,
                  rope_scaling={"type": "default", "rope_type": "linear", "factor": 3.5}),
        rope_case("dynamic, short", 100, max_positions=2048, **dynamic),
        rope_case("dynamic, as long as trained", 2048, max_positions=2048, **dynamic),
        rope_case("dynamic, one longer", 2049, max_positions=2048, **dynamic),
        rope_case("dynamic, long", 7000, max_positions=2048, **dynamic),
        rope_case("LLaMA 3.1", 128, head_dim=128, max_positions=131072, rope_theta=500000.0,
                  rope_scaling=LLAMA3),
        rope_case("LLaMA 3.2", 128, head_dim=64, max_positions=131072, rope_theta=500000.0,
                  rope_scaling={**LLAMA3, "factor": 32.0}),
        rope_case("Qwen2.5 with YaRN", 128, head_dim=128, max_positions=32768, rope_theta=1e6,
                  rope_scaling=yarn),
        rope_case("YaRN, amplitude given", 128, rope_parameters={
            **new, "factor": 8.0, "attention_factor": 1.25}),
        rope_case("YaRN, mscale", 128, rope_parameters={
            **new, "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 0.7}),
        rope_case("YaRN, mscale alone counts for nothing", 128, rope_parameters={
            **new, "factor": 40.0, "mscale": 0.7}),
        rope_case("YaRN, ends not rounded", 128, rope_parameters={
            **new, "factor": 8.0, "truncate": False, "beta_fast": 16, "beta_slow": 2}),
        rope_case("YaRN, factor from the lengths", 128, rope_parameters={**new, "factor": None}),
        rope_case("YaRN, trained on the context's length by default", 128, rope_parameters={
            "rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0}),
        rope_case("YaRN, length outside", 128, original_max_position_embeddings=512,
                  rope_parameters={**new, "factor": 8.0}),
    ]


def write(name, cases):
    """One case a line: small, and still readable in a diff."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (FIXTURES / name).write_text(f"[\n{lines}\n]\n")
    print(f"{name}: {len(cases)} cases")


def main():
    transformers.utils.logging.set_verbosity_error()
    write("configs.json", config_cases())
    write("rope_frequencies.json", rope_cases())


if __name__ == "__main__":
    sys.exit(main())
