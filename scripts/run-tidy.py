#!/usr/bin/env python3
"""Runs clang-tidy over the sources of a build directory.

Most of its time goes into the headers of libraries, so sources that are compiled alike are read
together, as one translation unit of several. Those whose unnamed namespaces may define the same name
are kept apart; a unit that does not compile all the same is checked source by source.

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
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "spd-tidy"
SOURCES_PER_UNIT = 16


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="build directory (made by cmake -G Ninja)")
    parser.add_argument("sources", nargs="*", help="only these (default: all of the build)")
    parser.add_argument("--no-analyzer", action="store_true",
                        help="leave out clang-analyzer-*, which takes most of the time")
    parser.add_argument("--no-tests", action="store_true", help="leave out the sources of tests/")
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


UNNAMED = re.compile(r"^namespace \{$(.*?)^\}  // namespace$", re.M | re.S)
NAMED = re.compile(r"^(?:(?:class|struct|enum class|using|enum) (\w+)|\w[^=;{(\n]*?(\w+) ?[=;{(\[])", re.M)
RENAMED = re.compile(r"k?[A-Z]\w*$")  # constants and types: told apart by renaming
PRECOMPILED = re.compile(r"(-Winvalid-pch|-fpch-\S+|(-Xclang )?-include(-pch)? (-Xclang )?\S*cmake_pch\S*)")


def flags_of(entry):
    """The command without compiler, input, output and precompiled header."""
    command = PRECOMPILED.sub("", entry["command"]).replace("-Xclang  ", "")
    words = shlex.split(command)
    kept, skip = [], False
    for word in words[next(i for i, w in enumerate(words) if w.startswith("-")
                           and "=" not in words[i - 1] and w != "-E"):]:
        if skip or word in ("-c", "-o", entry["file"]):
            skip = word == "-o"
            continue
        kept.append(word)
    return tuple(kept)


def unnamed(text):
    """What a source defines for itself alone."""
    return {a or b for part in UNNAMED.findall(text) for a, b in NAMED.findall(part)}


def may_clash(source):
    """The names that no other source of its unit may define, and whether it can be in a unit at all."""
    text = pathlib.Path(source).read_text()
    names = {name for name in unnamed(text) if not RENAMED.match(name)}
    return names, "HWY_TARGET_INCLUDE" not in text and " main(" not in text


def read_as_part(k, source):
    """The line that reads the source into a unit, its constants and types renamed."""
    text = pathlib.Path(source).read_text()
    names = {name for name in unnamed(text) if RENAMED.match(name)}
    return "".join([f"#define {name} {name}Of{k}\n" for name in sorted(names)] +
                   [f'#include "{source}"\n'] + [f"#undef {name}\n" for name in sorted(names)])


def units_of(entries):
    """[(flags, sources)]: sources of the same flags, apart where they may clash."""
    units = {}
    for entry in sorted(entries, key=lambda entry: entry["file"]):
        names, joins = may_clash(entry["file"])
        groups = units.setdefault(flags_of(entry), [])
        for group in groups:
            if joins and group["joins"] and len(group["sources"]) < SOURCES_PER_UNIT and \
                    not names & group["names"]:
                group["sources"].append(entry["file"])
                group["names"] |= names
                break
        else:
            groups.append({"sources": [entry["file"]], "names": names, "joins": joins})
    return [(flags, group["sources"]) for flags, groups in units.items() for group in groups]


def tidy(flags, sources, options):
    """[(source, complaints)]: the complaints of a unit that is not clean are given to its first."""
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder) / "unit.cpp"
        unit.write_text("".join(read_as_part(k, source) for k, source in enumerate(sources)))
        # A source alone finds the settings of its own folder.
        read = [sources[0]] if len(sources) == 1 else [f"--config-file={ROOT / '.clang-tidy'}", unit]
        # Commands may be GCC's, with warnings that Clang has none of.
        ran = subprocess.run(["clang-tidy", "--quiet", *options, *read, "--", *flags,
                              "-Wno-unknown-warning-option"],
                             capture_output=True, text=True, check=False)
    if ran.returncode == 0 and not ran.stdout.strip():
        return [(source, "") for source in sources]
    if len(sources) > 1 and "[clang-diagnostic-" in ran.stdout:
        return [answer for source in sources for answer in tidy(flags, [source], options)]
    return [(source, "" if k else ran.stdout.strip() or ran.stderr) for k, source in enumerate(sources)]


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
    if arguments.no_tests:
        entries = [entry for entry in entries
                   if not pathlib.Path(entry["file"]).is_relative_to(ROOT / "tests")]
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, text=True,
                             check=True).stdout
    options = ["--checks=-clang-analyzer-*"] if arguments.no_analyzer else []
    common = version + (ROOT / ".clang-tidy").read_text() + " ".join(options)
    included, digests = included_files(build), Digests()
    CACHE.mkdir(parents=True, exist_ok=True)
    todo, clean = {}, 0
    for entry in entries:
        if os.path.basename(entry["file"]).startswith("cmake_pch"):
            continue
        key = cache_key(entry, included, digests, common)
        if key and (CACHE / key).exists():
            clean += 1
            (CACHE / key).touch()
        else:
            todo.setdefault(entry["file"], (key, entry))
    units = units_of([entry for _, entry in todo.values()])
    print(f"clang-tidy: {len(todo)} sources to check in {len(units)} units, {clean} known to be clean",
          flush=True)
    start, bad, done = time.monotonic(), 0, 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [pool.submit(tidy, flags, sources, options) for flags, sources in
                sorted(units, key=lambda unit: -len(unit[1]))]
        for run in concurrent.futures.as_completed(runs):
            unit_is_clean = not any(complaints for _, complaints in run.result())
            for source, complaints in run.result():
                done += 1
                if complaints:
                    bad += 1
                    print(f"\n{complaints}", flush=True)
                elif unit_is_clean and todo[source][0]:
                    (CACHE / todo[source][0]).touch()
            print(f"{chr(13) if sys.stdout.isatty() else ''}  {done} of {len(todo)}, "
                  f"{time.monotonic() - start:.0f} s: {pathlib.Path(source).relative_to(ROOT)}",
                  flush=True)
    for stamp in CACHE.iterdir():  # months old: of sources long gone
        if time.time() - stamp.stat().st_mtime > 90 * 86400:
            stamp.unlink()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
