#!/usr/bin/env python3
"""Times llama.cpp as spd bench times spd: one prefill of 512 tokens, 128 tokens one by one from an
empty cache, random ids, nothing sampled, logits of the last token; one warm-up each. Prints JSON.

Run by scripts/peer/bench.sh in the environment that has llama_cpp.
"""

import argparse
import ctypes
import json
import random
import statistics
import time

import llama_cpp


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--gen-tokens", type=int, default=128)
    arguments = parser.parse_args()

    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(arguments.gguf.encode(),
                                                 llama_cpp.llama_model_default_params())
    if not model:
        raise SystemExit(f"scripts/peer/time_peer.py: llama.cpp cannot load {arguments.gguf}")
    longest = max(arguments.prompt_tokens, arguments.gen_tokens)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = longest
    params.n_batch = params.n_ubatch = longest
    params.n_threads = params.n_threads_batch = arguments.threads
    context = llama_cpp.llama_init_from_model(model, params)
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    source = random.Random(1)
    ids = (ctypes.c_int32 * longest)(*[source.randrange(vocab) for _ in range(longest)])

    def clear():
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)

    def decode(first, count):
        tokens = ctypes.cast(ctypes.byref(ids, 4 * first), ctypes.POINTER(ctypes.c_int32))
        begin = time.perf_counter()
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, count)) != 0:
            raise SystemExit("scripts/peer/time_peer.py: llama_decode failed")
        llama_cpp.llama_synchronize(context)
        return time.perf_counter() - begin

    def prefill():
        clear()
        return decode(0, arguments.prompt_tokens)

    def generate():
        clear()
        return [decode(i, 1) for i in range(arguments.gen_tokens)]

    prefill()
    seconds = prefill()
    generate()
    steps = generate()
    print(json.dumps({
        "prefill_tokens_per_s": arguments.prompt_tokens / seconds,
        "decode_tokens_per_s": arguments.gen_tokens / sum(steps),
        "tpot_p50_ms": statistics.median(steps) * 1e3,
        "system": llama_cpp.llama_print_system_info().decode(),
    }))


if __name__ == "__main__":
    main()
