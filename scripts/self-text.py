#!/usr/bin/env python3
"""Writes a text to calibrate repairs on: what the model itself says behind common openings.

Repairs learn what ranks miss on the text that they are calibrated on. One kind of text teaches little
about others; what a model writes by itself is near all that it knows. --mix takes turns with texts of
yours. Decodes with spd generate on this machine's cores; the same seed writes the same text.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPENINGS = """The|In|A|How|When|What|I|She|He|There|To|Question:|One|After|Why|Some|If|They|We|It|This|My|On
People|Water|At|For|As|An|Many|Most|During|Because|While|Before|Although|Scientists|Students|Plants|Animals
Energy|Heat|First|Once|Every|Let|Make|Use|Take|Put|You|Our|Children|Two|Earth|Light|Cells|The man|A woman
The dog|Which|Where|Who|Today|Yesterday|From""".replace("\n", "|").split("|")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="text file to write")
    parser.add_argument("--mix", type=pathlib.Path, metavar="FILE", nargs="+", default=[],
                        help="take turns with these texts, as long as all last")
    parser.add_argument("--skip", type=int, default=0, metavar="CHARS",
                        help="of each to leave out at its beginning (default 0)")
    parser.add_argument("--until", type=int, metavar="CHARS",
                        help="of each to leave out what is behind (default: nothing)")
    parser.add_argument("--texts", type=int, default=512, help="to write (default 512)")
    parser.add_argument("--tokens", type=int, default=400, help="of a text at most (default 400)")
    parser.add_argument("--temperature", type=float, default=0.85, help="default 0.85")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--batch", type=int, default=64, help="texts written at once (default 64)")
    parser.add_argument("--spd", default=ROOT / "build/release/runtime/spd")
    parser.add_argument("--model", default=ROOT / "models/smollm2-135m")
    return parser.parse_args()


def write_texts(options):
    """The model's texts, in the order of their openings; shows how many are done."""
    openings = [OPENINGS[i % len(OPENINGS)] for i in range(options.texts)]
    texts = [""] * len(openings)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as prompts:
        prompts.write("".join(opening + "\n" for opening in openings))
        prompts.flush()
        command = [options.spd, "generate", "-m", options.model, "--prompts", prompts.name, "-n",
                   options.tokens, "--temperature", options.temperature, "--seed", options.seed,
                   "--batch", options.batch, "--format", "jsonl"]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as program:
            for done, line in enumerate(program.stdout, 1):
                result = json.loads(line)
                index = result["index"]
                texts[index] = openings[index] + result["completion"].rstrip()
                if sys.stderr.isatty():
                    print(f"\r  texts written: {done} of {len(openings)} ", end="", file=sys.stderr)
    if program.returncode:
        sys.exit(program.returncode)
    return "\n\n".join(texts) + "\n"


def take_turns(texts, chunk=2400):
    """Chunks (characters, about a window of 512 tokens) of each, as long as all last."""
    rounds = -(-min(map(len, texts)) // chunk)
    return "\n".join(text[i * chunk:(i + 1) * chunk] for i in range(rounds) for text in texts) + "\n"


def main():
    options = arguments()
    others = [path.read_text(encoding="utf-8")[options.skip:options.until] for path in options.mix]
    text = write_texts(options)
    if others:
        text = take_turns([text, *others])
    options.out.write_text(text, encoding="utf-8")
    print(f"{options.out}: {len(text)} characters")


if __name__ == "__main__":
    main()
