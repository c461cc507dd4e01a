#!/usr/bin/env python3
"""Runs clang-tidy over the sources of a build directory, a few at a time.

A source that was clean is not looked at again until it, a header of ours it includes, its compiler
command, a system header, .clang-tidy or clang-tidy itself changes. What a source includes is what
ninja noted when it was built; a source that was not built is always looked at.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "spd-tidy"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="build directory (made by cmake -G Ninja)")
    parser.add_argument("sources", nargs="*", help="only these (default: all of the build)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    return parser.parse_args()


def included_files(build):
    """Object -> the files it was made from, as far as it was built and the note is still valid."""
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True,
                          check=False).stdout
    included, current = {}, None
    for line in text.splitlines():
        if line.startswith("    "):
            if current is not None:
                current.append(line.strip())
        elif match := re.match(r"(\S+): #deps .*\(VALID\)", line):
            current = included.setdefault(match.group(1), [])
        else:
            current = None
    return included


class Digests:
    """What a file is known by: its content if it is ours, else its size and time."""

    def __init__(self):
        self.known = {}

    def of(self, path):
        if path not in self.known:
            file = pathlib.Path(path)
            if file.is_relative_to(ROOT):
                value = hashlib.sha256(file.read_bytes()).hexdigest()
                path_name = file.relative_to(ROOT)
            else:
                status = file.stat()
                value, path_name = f"{status.st_size} {status.st_mtime_ns}", file
            self.known[path] = f"{path_name} {value}"
        return self.known[path]


def cache_key(entry, included, digests, common):
    files = included.get(entry.get("output", ""))
    if not files:
        return None
    build = entry["directory"]
    try:
        parts = sorted({digests.of(os.path.normpath(os.path.join(build, file))) for file in files})
    except OSError:
        return None
    command = entry["command"].replace(build, "BUILD").replace(str(ROOT), "ROOT")
    return hashlib.sha256("\n".join([common, command, *parts]).encode()).hexdigest()


def tidy(build, source):
    """Its complaints, or an empty string."""
    ran = subprocess.run(["clang-tidy", "-p", str(build), "--quiet", source], capture_output=True,
                         text=True, check=False)
    if ran.returncode == 0 and not ran.stdout.strip():
        return ""
    return ran.stdout if ran.stdout.strip() else ran.stderr


def main():
    arguments = parse_arguments()
    build = arguments.build.resolve()
    try:
        entries = json.loads((build / "compile_commands.json").read_text())
    except OSError as error:
        sys.exit(f"run-tidy.py: {error}\n  remedy: cmake --preset release")
    if arguments.sources:
        wanted = {str(pathlib.Path(source).resolve()) for source in arguments.sources}
        entries = [entry for entry in entries if entry["file"] in wanted]
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, text=True,
                             check=True).stdout
    common = version + (ROOT / ".clang-tidy").read_text()
    included, digests = included_files(build), Digests()
    CACHE.mkdir(parents=True, exist_ok=True)
    todo, clean = {}, 0
    for entry in entries:
        key = cache_key(entry, included, digests, common)
        if key and (CACHE / key).exists():
            clean += 1
            (CACHE / key).touch()
        else:
            todo.setdefault(entry["file"], key)
    print(f"clang-tidy: {len(todo)} sources to check, {clean} known to be clean", flush=True)
    start, bad = time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = {pool.submit(tidy, build, source): source for source in todo}
        for done, run in enumerate(concurrent.futures.as_completed(runs), 1):
            source, complaints = runs[run], run.result()
            if complaints:
                bad += 1
                print(f"\n{complaints}", flush=True)
            elif todo[source]:
                (CACHE / todo[source]).touch()
            print(f"{chr(13) if sys.stdout.isatty() else ''}  {done} of {len(todo)}, "
                  f"{time.monotonic() - start:.0f} s: {pathlib.Path(source).relative_to(ROOT)}",
                  flush=True)
    for stamp in CACHE.iterdir():  # months old: of sources long gone
        if time.time() - stamp.stat().st_mtime > 90 * 86400:
            stamp.unlink()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
