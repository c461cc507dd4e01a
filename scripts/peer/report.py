#!/usr/bin/env python3
"""Medians and ratios of the rounds that scripts/peer/bench.sh ran, in a folder of JSON files."""

import argparse
import json
import pathlib
import statistics


def rows(result):
    """'prefill' or 'decode' -> the row of that test."""
    return {row["kind"]: row for row in result["results"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--type", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()

    def load(name):
        return [json.loads(path.read_text())
                for path in sorted(arguments.folder.glob(f"{name}.*.json"))]

    ours, peers, ones, twos = (load(name) for name in ("spd", "peer", "one", "two"))

    def rate(result, kind):
        return rows(result)[kind]["tokens_per_s"]["p50"]

    rounds = {
        "spd_prefill_tokens_per_s": [rate(r, "prefill") for r in ours],
        "peer_prefill_tokens_per_s": [r["prefill_tokens_per_s"] for r in peers],
        "spd_decode_tokens_per_s": [rate(r, "decode") for r in ours],
        "peer_decode_tokens_per_s": [r["decode_tokens_per_s"] for r in peers],
        "share_of_read_bandwidth": [rows(r)["decode"]["share_of_read_bandwidth"] for r in ours],
        "read_bandwidth_gb_per_s": [r["read_bandwidth_bytes_per_s"][0] / 1e9 for r in ours],
        "one_rank_decode_tokens_per_s": [rate(r, "decode") for r in ones],
        "two_ranks_decode_tokens_per_s": [rate(r, "decode") for r in twos],
    }
    median = {name: statistics.median(values) for name, values in rounds.items()}
    system = peers[0]["system"]
    print(f"\n{arguments.peer}, weights in {arguments.type}: {system}")
    print(f"spd on {ours[0]['device']}; {arguments.threads} thread(s) each, "
          f"medians of {len(ours)} rounds in turn\n")
    print(f"{'tokens/s':<30} {'spd':>10} {'llama.cpp':>10} {'ratio':>7}")
    for name, kind in (("prefill of 512 tokens", "prefill"), ("decoding", "decode")):
        spd, peer = median[f"spd_{kind}_tokens_per_s"], median[f"peer_{kind}_tokens_per_s"]
        print(f"{name:<30} {spd:>10.1f} {peer:>10.1f} {spd / peer:>7.2f}")
    one, two = median["one_rank_decode_tokens_per_s"], median["two_ranks_decode_tokens_per_s"]
    print(f"\ndecoding reads weights at {100 * median['share_of_read_bandwidth']:.0f} % of the "
          f"{median['read_bandwidth_gb_per_s']:.1f} GB/s at which they are read without computing")
    print(f"decoding on 1 rank {one:.1f}, on 2 ranks {two:.1f} tokens/s, one thread each: "
          f"{two / one:.2f}x")
    if arguments.json:
        result = {"schema": "spd.peer/1", "peer": arguments.peer, "peer_system": system,
                  "peer_weights": arguments.type, "threads": arguments.threads,
                  "device": ours[0]["device"], "median": median, "rounds": rounds}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
