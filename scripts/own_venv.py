"""A virtual environment of a script's own, so that it needs nothing but the system's python3."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# With these, models are read and written. Everybody who needs them shares one environment.
MODEL_VENV = ROOT / ".venv-fetch"
MODEL_REQUIREMENTS = ["gguf==0.19.0", "numpy==2.4.6", "safetensors==0.8.0"]


class VenvError(Exception):
    """What went wrong and what to do about it, for the user."""


def make(venv, requirements):
    """Made under another name, one that pip processes of a killed run do not know, and renamed."""
    for stale in [venv, *venv.parent.glob(venv.name + ".*")]:
        shutil.rmtree(stale, ignore_errors=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=venv.name + ".", dir=venv.parent))
    try:
        made = subprocess.run([sys.executable, "-m", "venv", work], capture_output=True, text=True,
                              check=False)
        if made.returncode != 0:
            raise VenvError(f"cannot make {venv}: {(made.stdout + made.stderr).strip()}\n"
                            "  remedy: scripts/setup.sh installs python3-venv")
        pip = [work / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
        if subprocess.run([*pip, "install", *requirements], check=False).returncode != 0:
            raise VenvError("pip could not install the packages (its message is above)\n"
                            "  remedy: check the network or pip's index settings, run this again")
        (work / "requirements.txt").write_text("\n".join(requirements) + "\n")
        work.rename(venv)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def enter(venv=MODEL_VENV, requirements=MODEL_REQUIREMENTS):
    """Re-executes the running script inside `venv`, which is made first where it is not there, not
    whole, or made for other requirements. Returns when the script runs inside it already."""
    if pathlib.Path(sys.prefix).resolve() == venv.resolve():
        return
    python = venv / "bin" / "python"
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    stamp = venv / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if not (stamp.is_file() and stamp.read_text() == wanted and python.exists()):
        print(f"Python packages ({', '.join(requirements)}) into {venv.name}", flush=True)
        make(venv, requirements)
    os.close(lock)
    os.execv(python, [str(python), *sys.argv])
