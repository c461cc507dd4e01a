#!/usr/bin/env python3
"""What nvcc says of each kernel: none may spill registers or keep a stack frame.

Usage: register_test.py FOLDER
Reads the *.ptxas files below FOLDER, which kernels/cuda/keep-ptxas-output.sh has left there, prints a
table of registers by kernel and architecture, and fails for what would make a kernel slow.
"""

import pathlib
import re
import subprocess
import sys

ENTRY = re.compile(r"Compiling entry function '([^']+)' for '(sm_\d+)'")
FRAME = re.compile(
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


def kernels(text):
    """Yields (mangled name, architecture, stack, spilled, registers)."""
    name = architecture = None
    stack = spilled = 0
    for line in text.splitlines():
        if found := ENTRY.search(line):
            name, architecture = found.groups()
        elif found := FRAME.search(line):
            stack, spilled = int(found[1]), int(found[2]) + int(found[3])
        elif (found := REGISTERS.search(line)) and name:
            yield name, architecture, stack, spilled, int(found[1])
            name = None


def demangled(names):
    plain = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True,
                           text=True, check=True).stdout.splitlines()
    short = [re.sub(r"\(anonymous namespace\)::|spd::cuda::|spd::|^void ", "", name)
             for name in plain]
    return dict(zip(names, short))


def main():
    found = {}
    for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.ptxas")):
        for name, architecture, stack, spilled, registers in kernels(path.read_text()):
            found.setdefault(name, {})[architecture] = (registers, stack, spilled)
    if not found:
        sys.exit(f"no kernel in any *.ptxas below {sys.argv[1]}: build spd_cuda_kernels first")
    architectures = sorted({a for kernel in found.values() for a in kernel},
                           key=lambda a: int(a[3:]))
    names = demangled(list(found))
    bad = []
    print("registers".ljust(60), *[a.rjust(8) for a in architectures])
    for mangled in sorted(found, key=names.get):
        kernel = found[mangled]
        print(names[mangled][:60].ljust(60),
              *[str(kernel[a][0] if a in kernel else "-").rjust(8) for a in architectures])
        for architecture, (_, stack, spilled) in kernel.items():
            if stack or spilled:
                bad.append(f"{names[mangled]} on {architecture}: a stack frame of {stack} bytes, "
                           f"{spilled} bytes spilled")
    print(f"{len(found)} kernels for {', '.join(architectures)}")
    if bad:
        sys.exit("\n".join(bad))


if __name__ == "__main__":
    main()
