#!/usr/bin/env python3
"""Makes tests/fixtures/jinja: templates and what jinja2 prints of them, set up as transformers does.

Run it only to change the fixtures; they are in the repository. Installs jinja2 into .venv-jinja.

  expressions.json, statements.json, generated.json
              variables; cases: [template, what it prints or null where it fails]
  chats.json  templates: [{name, template, variables, prompts: [[conversation, prompt or null]]}] and
              conversations: the variables of each
"""

import json
import os
import pathlib
import random
import time
import warnings

import own_venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
own_venv.enter(ROOT / ".venv-jinja", ["jinja2==3.1.6"])
os.environ["TZ"] = "UTC"
time.tzset()
warnings.simplefilter("ignore")  # of Python, about escapes and numbers in templates

from jinja_fixtures import expressions, generator, reference, statements  # noqa: E402
from jinja_fixtures.chat_templates import CHAT_TEMPLATES  # noqa: E402
from jinja_fixtures.conversations import CONVERSATIONS  # noqa: E402

FIXTURES = ROOT / "tests" / "fixtures" / "jinja"
NOW = reference.NOW.strftime("%Y-%m-%d %H:%M:%S")
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def write(name, content):
    text = json.dumps({"now": NOW, **content}, ensure_ascii=False, indent=0)
    (FIXTURES / name).write_text(text + "\n", encoding="utf-8")


def table(name, variables, templates):
    cases = []
    for template in templates:
        printed = reference.render(template, variables)
        if printed is not None and " at 0x" in printed:
            continue  # an address
        cases.append([template, printed])
    write(name, {"variables": variables, "cases": cases})


def generated(count):
    """A fifth of them may fail; the rest print something."""
    made = generator.Generator(random.Random(20240705))
    templates = []
    failing = 0
    while len(templates) < count:
        template = made.template()
        if len(template) > 400:
            continue
        fails = reference.render(template, generator.VARIABLES) is None
        if fails and failing >= count // 5:
            continue
        failing += fails
        templates.append(template)
    return templates


def chats():
    templates = []
    for name, template in CHAT_TEMPLATES.items():
        prompts = [[conversation, reference.render(template, {**variables, **TOKENS})]
                   for conversation, variables in CONVERSATIONS.items()]
        templates.append({"name": name, "template": template, "variables": TOKENS, "prompts": prompts})
    write("chats.json", {"conversations": CONVERSATIONS, "templates": templates})


def main():
    FIXTURES.mkdir(parents=True, exist_ok=True)
    table("expressions.json", expressions.VARIABLES,
          ["{{ " + expression + " }}" for expression in expressions.EXPRESSIONS])
    table("statements.json", statements.VARIABLES, statements.TEMPLATES)
    table("generated.json", generator.VARIABLES, generated(600))
    chats()


main()
