#!/usr/bin/env python3
"""Sources over 400 lines and functions over 60: lists them and ends with 1.

Functions are found by clang-format's indentation. The body of a test's TEST or of an array at its
beginning is data as often as not: tests may have 100. What may be longer stands in EXCEPTIONS, with
why.
"""

import pathlib
import re
import sys

MOST_LINES, MOST_IN_FUNCTION, MOST_IN_TEST = 400, 60, 110
# "file" or "file:function" -> why it is longer.
WHOLE_JOB = "the steps of a job in order: to go into rooms below"
EXCEPTIONS = {
    "kernels/bench/cuda_bench.cpp:decode": "one decoding step, launch by launch",
    "kernels/cuda/gemv.cuh:template <DType kType, int kBatch, bool kNormed>": "one kernel",
    "kernels/cuda/prefill_attention.cu:template <DType kType, int kHeadDim>": "one kernel",
    "runtime/commands/bench.cpp:run_bench": WHOLE_JOB,
    "runtime/commands/distill.cpp:run_distill": WHOLE_JOB,
    "runtime/commands/generate.cpp:converse": WHOLE_JOB,
    "runtime/commands/generate.cpp:run_generate": WHOLE_JOB,
    "runtime/commands/plan.cpp:run_plan": WHOLE_JOB,
    "runtime/commands/plan_report.cpp:to_json": "one field of the report after the other",
    "runtime/commands/topo.cpp:run_topo": WHOLE_JOB,
    "scripts/fixtures/jinja_fixtures/expressions.py": "a table of expressions",
    "scripts/fixtures/tokenizer.py": "tokenizers described one by one",
}

NOT_A_FUNCTION = re.compile(r"\s*(namespace|struct|class|enum|union|extern|template|#|//|HWY_)")
OPENS_TYPE = re.compile(r"\s*(struct|class|union)\b")


def blocks(lines, indent, first=0, last=None):
    """(first, last) of every block that is closed by "}" at this indentation."""
    close = re.compile(rf"{indent}}}[;,)]*( *//.*)?$")
    start = None
    for k in range(first, len(lines) if last is None else last):
        line = lines[k]
        if close.match(line):
            if start is not None:
                yield start, k
            start = None
        elif line.startswith(indent) and line[len(indent):len(indent) + 1] not in ("", " ", "}", "#", "/"):
            if start is None or not lines[k - 1].rstrip().endswith((",", "(", ">", "=")):
                start = k


def functions(lines):
    """(name, lines of the body)."""
    for start, end in blocks(lines, ""):
        text = " ".join(lines[start:end + 1][:6])
        opening = lines[start + 1] if lines[start].startswith("template") else lines[start]
        if OPENS_TYPE.match(opening):
            for inner, inner_end in blocks(lines, "  ", start + 1, end):
                if not NOT_A_FUNCTION.match(lines[inner]):
                    yield lines[inner].strip(), inner_end - inner - 1
        elif not NOT_A_FUNCTION.match(lines[start]) or lines[start].startswith("template"):
            if not re.search(r"^\S.*[^=!<>]=\s*\{?$", lines[start]) and "(" in text:
                yield lines[start].strip(), end - start - 1


def main():
    bad = []
    for path in map(pathlib.Path, sys.argv[1:]):
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MOST_LINES and str(path) not in EXCEPTIONS:
            bad.append(f"{path}: {len(lines)} lines (more than {MOST_LINES})")
        if path.suffix not in (".h", ".cpp", ".cu", ".cuh"):
            continue
        most = MOST_IN_TEST if path.parts[0] == "tests" else MOST_IN_FUNCTION
        for signature, length in functions(lines):
            name = re.search(r"([~\w:]+)\(", signature)
            key = f"{path}:{name.group(1) if name else signature}"
            if length > most and key not in EXCEPTIONS:
                bad.append(f"{key} has {length} lines (more than {most})")
    print("\n".join(bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
