#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizer/chats.json: conversations as transformers renders them.

Run it only to change the fixtures; they are in the repository. Needs transformers 5, tokenizers and
jinja2 (no torch). Each entry has a model's files and conversations with the prompt that
apply_chat_template gives, null where it refuses. A conversation that ends with the assistant is
continued (continue_final_message), as transformers' pipelines do. Where a template cannot take
content as a list of text parts, the prompt is that of the parts joined by line ends.
"""

import copy
import json
import os
import pathlib
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
import tokenizers
import transformers
from tokenizers import models

FIXTURE = (pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "tokenizer" /
           "chats.json")

# Templates in shapes that models ship, written for this test.
TEMPLATES = {
    "chatml with a default system prompt": (
        "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
        "{{ '<|im_start|>system\\nYou are a patient tutor<|im_end|>\\n' }}{% endif %}"
        "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"),
    "chatml with the default in a variable": (
        "{%- set who = 'You are a helpful assistant.' %}\n"
        "{%- if messages[0].role == 'system' %}\n{%- set who = messages[0].content %}\n"
        "{%- set messages = messages[1:] %}\n{%- endif %}\n"
        "{{- '<|im_start|>system\\n' ~ who ~ '<|im_end|>\\n' }}\n{%- for m in messages %}\n"
        "{{- '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}\n"),
    "chatml that trims": (
        "{% for m in messages %}\n{{ '<|im_start|>' + m['role'] }}\n{{ m['content'] | trim }}"
        "<|im_end|>\n{% endfor %}\n{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% endif %}"),
    "thoughts are dropped and begun": (
        "{%- for m in messages %}\n{%- set content = m.content %}\n"
        "{%- if m.role == 'assistant' and '</think>' in content and not loop.last %}\n"
        "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}\n{%- endif %}\n"
        "{{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n{{- '<|im_start|>assistant\\n<think>\\n' }}\n{%- endif %}"),
    "thoughts by enable_thinking, tools": (
        "{%- if tools %}\n{{- '<|im_start|>system\\n' }}\n"
        "{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}\n"
        "{{- '# Tools\\n<tools>' }}\n{%- for tool in tools %}\n{{- '\\n' }}{{- tool | tojson }}\n"
        "{%- endfor %}\n{{- '\\n</tools><|im_end|>\\n' }}\n"
        "{%- elif messages[0].role == 'system' %}\n"
        "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n{%- endif %}\n"
        "{%- for m in messages %}\n{%- if m.content is string %}{%- set content = m.content %}"
        "{%- else %}{%- set content = '' %}{%- endif %}\n"
        "{%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}\n"
        "{{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}\n"
        "{%- elif m.role == 'assistant' %}\n{{- '<|im_start|>assistant\\n' }}\n"
        "{%- if m.reasoning_content is string %}\n"
        "{{- '<think>\\n' + m.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' }}\n{%- endif %}\n"
        "{{- content }}\n{%- for call in m.tool_calls or [] %}\n"
        "{%- if call.function %}{%- set call = call.function %}{%- endif %}\n"
        "{{- '<tool_call>\\n{\"name\": \"' + call.name + '\", \"arguments\": ' }}\n"
        "{%- if call.arguments is string %}{{- call.arguments }}{%- else %}"
        "{{- call.arguments | tojson }}{%- endif %}\n{{- '}\\n</tool_call>' }}\n{%- endfor %}\n"
        "{{- '<|im_end|>\\n' }}\n{%- elif m.role == 'tool' %}\n"
        "{{- '<|im_start|>user\\n<tool_response>\\n' + content + '\\n</tool_response><|im_end|>\\n' }}\n"
        "{%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
        "{{- '<|im_start|>assistant\\n' }}\n"
        "{%- if enable_thinking is defined and enable_thinking is false %}\n"
        "{{- '<think>\\n\\n</think>\\n\\n' }}\n{%- endif %}\n{%- endif %}"),
    "headers and bos": (
        "{% for m in messages %}{% set content = '<|start_header_id|>' + m['role'] + "
        "'<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
        "{% endif %}"),
    "headers, date and tools": (
        "{{- bos_token }}\n{%- if not date_string is defined %}\n"
        "{%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n"
        "{%- if not tools is defined %}{%- set tools = none %}{%- endif %}\n"
        "{%- if messages[0]['role'] == 'system' %}\n"
        "{%- set system_message = messages[0]['content']|trim %}\n{%- set messages = messages[1:] %}\n"
        "{%- else %}\n{%- set system_message = \"\" %}\n{%- endif %}\n"
        "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n"
        "{%- if tools is not none %}{{- \"Environment: ipython\\n\" }}{%- endif %}\n"
        "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n"
        "{%- if tools is not none %}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- \"\\n\\n\" }}"
        "{%- endfor %}{%- endif %}\n{{- system_message }}{{- \"<|eot_id|>\" }}\n"
        "{%- for m in messages %}\n{%- if m.role == 'tool' or m.role == 'ipython' %}\n"
        "{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}\n"
        "{%- if m.content is mapping or (m.content is iterable and m.content is not string) %}"
        "{{- m.content | tojson }}{%- else %}{{- m.content }}{%- endif %}{{- '<|eot_id|>' }}\n"
        "{%- elif 'tool_calls' in m %}\n"
        "{%- if not m.tool_calls|length == 1 %}{{- raise_exception('one call at a time') }}"
        "{%- endif %}\n{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
        "{{- m.tool_calls[0].function | tojson }}{{- '<|eot_id|>' }}\n{%- else %}\n"
        "{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + "
        "'<|eot_id|>' }}\n{%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n"),
    "sys marks in pairs": (
        "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = "
        "messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}"
        "{% endif %}{% for message in rest %}{% if (message['role'] == 'user') != (loop.index0 % 2 "
        "== 0) %}{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}"
        "{% endif %}{% if loop.index0 == 0 and system != false %}{% set "
        "content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
        "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == "
        "'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"),
    "inst, system last": (
        "{%- if messages[0][\"role\"] == \"system\" %}\n"
        "{%- set system_message = messages[0][\"content\"] %}\n"
        "{%- set loop_messages = messages[1:] %}\n{%- else %}\n"
        "{%- set loop_messages = messages %}\n{%- endif %}\n{{- bos_token }}\n"
        "{%- for message in loop_messages %}\n{%- if message[\"role\"] == \"user\" %}\n"
        "{%- if loop.last and system_message is defined %}\n"
        "{{- \"[INST] \" + system_message + \"\\n\\n\" + message[\"content\"] + \"[/INST]\" }}\n"
        "{%- else %}\n{{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}\n{%- endif %}\n"
        "{%- elif message.role == 'assistant' %}\n"
        "{{- \" \" + message[\"content\"]|trim + eos_token }}\n{%- else %}\n"
        "{{- raise_exception(\"Only user and assistant roles are supported!\") }}\n{%- endif %}\n"
        "{%- endfor %}\n"),
    "inst, system prompt marks and parts": (
        "{%- set default = 'You are a default assistant.' %}\n{{- bos_token }}\n"
        "{%- if messages[0]['role'] == 'system' %}\n{%- if messages[0]['content'] is string %}"
        "{%- set system = messages[0]['content'] %}{%- else %}"
        "{%- set system = messages[0]['content'][0]['text'] %}{%- endif %}\n"
        "{%- set rest = messages[1:] %}\n{%- else %}{%- set system = default %}"
        "{%- set rest = messages %}{%- endif %}\n"
        "{{- '[SYSTEM_PROMPT]' + system + '[/SYSTEM_PROMPT]' }}\n{%- for m in rest %}\n"
        "{%- if m['role'] == 'user' %}\n{%- if m['content'] is string %}\n"
        "{{- '[INST]' + m['content'] + '[/INST]' }}\n{%- else %}\n{{- '[INST]' }}\n"
        "{%- for block in m['content'] %}\n{%- if block['type'] == 'text' %}{{- block['text'] }}"
        "{%- else %}{{- raise_exception('Only text blocks are supported') }}{%- endif %}\n"
        "{%- endfor %}\n{{- '[/INST]' }}\n{%- endif %}\n{%- elif m['role'] == 'assistant' %}\n"
        "{%- if m['content'] is string %}{{- m['content'] + eos_token }}{%- else %}"
        "{{- m['content'][0]['text'] + eos_token }}{%- endif %}\n{%- else %}\n"
        "{{- raise_exception('Only user, system and assistant roles are supported') }}\n"
        "{%- endif %}\n{%- endfor %}\n"),
    "tags and eos": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
        "message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n"
        "{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == "
        "'assistant' %}\n{{ '<|assistant|>\n' + message['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
        "{% endfor %}"),
    "tags and line ends": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n"
        "{{ m.content + eos_token }}\n{% else %}{{ '<|' ~ m.role ~ '|>' }}\n{{ m.content }}\n"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"),
    "turns without a system prompt": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
        "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
        "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
        "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"),
    "documents": (
        "{% if documents %}{% for d in documents %}Document {{ loop.index }}: {{ d.title }}\n"
        "{{ d['text'] }}\n\n{% endfor %}{% endif %}{% for m in messages %}{{ m.role | upper }}: "
        "{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"),
    "all names": (
        "{{ bos_token }}|{{ eos_token }}|{{ unk_token }}|{{ pad_token }}|{{ sep_token }}|"
        "{{ image_token }}|{{ tools is none }}|{{ documents is none }}|{{ messages | tojson }}"),
}

WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "Tells the weather <now>",
    "parameters": {"type": "object", "properties": {
        "town": {"type": "string", "description": "e.g. Zürich"}, "days": {"type": "integer"}},
        "required": ["town"]}}}
CALL = {"type": "function", "id": "c1",
        "function": {"name": "weather", "arguments": {"town": "Zürich", "days": 2}}}


def user(content):
    return {"role": "user", "content": content}


def system(content):
    return {"role": "system", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def text(content):
    return {"type": "text", "text": content}


CHATS = [
    {"messages": [user("What is a gradient?")]},
    {"messages": [system(" Answer in one word. "), user("  Why?\n")]},
    {"messages": [user("One"), assistant(" Two "), user("Three")]},
    {"messages": [system("S"), user("One"), assistant("<think>\nhm\n</think>\n\nTwo"), user("3")]},
    {"messages": [user("One"), user("two")]},
    {"messages": [{"role": "developer", "content": "Be brief."}, user("Hi")]},
    # to be continued
    {"messages": [user("x"), assistant("Sure:")]},
    {"messages": [user("x"), assistant("Sure, \u00a0")]},
    {"messages": [user("x"), assistant("<think>\nhm\n</think>\n\nYes, ")]},
    {"messages": [user("x"), assistant([text("First."), text("Then ")])]},
    # parts
    {"messages": [user([text("Hi")])]},
    {"messages": [system([text("Be brief.")]), user([text("One "), text("two")])]},
    # tools, thoughts, fields that are null
    {"messages": [user("Weather?")], "tools": [WEATHER]},
    {"messages": [system("S"), user("Weather?"), assistant(None, tool_calls=[CALL]),
                  {"role": "tool", "tool_call_id": "c1", "content": "rain"}], "tools": [WEATHER]},
    {"messages": [user("Weather?"), assistant("", tool_calls=[CALL]),
                  {"role": "tool", "name": "weather", "content": {"sky": "grey", "mm": 1.5}}]},
    {"messages": [user("a"), assistant("b", reasoning_content="\nhm\n"), user("c")]},
    {"messages": [user("a"), assistant("b", reasoning="hm", name=None), user("c")]},
    {"messages": [user("a")], "arguments": {"enable_thinking": False}},
    {"messages": [user("a")], "arguments": {"date_string": "1 Jan 2025"}},
    {"messages": [user("a")], "arguments": {"bos_token": "<other>"}},
    {"messages": [user("a")], "documents": [{"title": "T", "text": "words"}]},
]

CHATML = TEMPLATES["chatml that trims"]
NAMES = TEMPLATES["all names"]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def decoder_entry(content):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True}


def config(**fields):
    return {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **fields}}


# Where templates and tokens are found; each with few conversations.
PLACES = {
    "template in chat_template.jinja, over the field": {
        **config(chat_template="{{ 'field' }}", **TOKENS), "chat_template.jinja": CHATML},
    "line ends of Windows": {**config(**TOKENS), "chat_template.jinja": CHATML.replace("\n", "\r\n")},
    "templates by name": config(chat_template=[
        {"name": "default", "template": CHATML},
        {"name": "tool_use", "template": "{{ tools | tojson }}{{ messages[0].content }}"}], **TOKENS),
    "more templates in a folder": {
        **config(chat_template="{{ 'field' }}", **TOKENS), "chat_template.jinja": CHATML,
        "additional_chat_templates/tool_use.jinja": "{{ tools | tojson }}{{ messages[0].content }}",
        "additional_chat_templates/rag.jinja": "{{ documents | tojson }}"},
    "no default": config(chat_template=[{"name": "rag", "template": CHATML}], **TOKENS),
    "tokens as objects": config(chat_template=NAMES, eos_token=None, pad_token="<p>", bos_token={
        "__type": "AddedToken", "content": "<s>", "lstrip": False, "rstrip": False,
        "normalized": False, "single_word": False}),
    "tokens of the model's own": config(chat_template=NAMES, image_token="<img>",
                                        extra_special_tokens={"sep_token": "<x>"}, **TOKENS),
    "special_tokens_map.json wins": {
        **config(chat_template=NAMES, **TOKENS),
        "special_tokens_map.json": {"bos_token": "<b>", "image_token": "<i>", "pad_token": {
            "content": "<p>", "lstrip": False, "rstrip": False, "normalized": False,
            "single_word": False}}},
    "special_tokens_map.json is not read": {
        **config(chat_template=NAMES, added_tokens_decoder={"0": decoder_entry("<s>")}, **TOKENS),
        "special_tokens_map.json": {"bos_token": "<b>", "pad_token": "<p>"}},
    "tokens of Qwen2's class": {"tokenizer_config.json": {
        "tokenizer_class": "Qwen2Tokenizer", "chat_template": NAMES}},
    "tokens of GPT-2's class": {"tokenizer_config.json": {
        "tokenizer_class": "GPT2Tokenizer", "chat_template": NAMES, "eos_token": "</s>"}},
    "tokens of LLaMA's class": {"tokenizer_config.json": {
        "tokenizer_class": "LlamaTokenizerFast", "chat_template": NAMES}},
}
FEW = [CHATS[0], CHATS[6], CHATS[12]]


def load(files):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tokenizers.Tokenizer(models.BPE({"a": 0, "<s>": 1}, [])).save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text('{"model_type": "llama"}')
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(exist_ok=True)
            if not isinstance(content, str):
                content = json.dumps(content)
            path.write_text(content, encoding="utf-8", newline="")
        return transformers.AutoTokenizer.from_pretrained(folder)


def render(tokenizer, chat):
    ends_open = chat["messages"][-1]["role"] == "assistant"
    return tokenizer.apply_chat_template(
        copy.deepcopy(chat["messages"]), tools=chat.get("tools"), documents=chat.get("documents"),
        tokenize=False, add_generation_prompt=not ends_open, continue_final_message=ends_open,
        **chat.get("arguments", {}))


def expected(tokenizer, chat):
    try:
        prompt = render(tokenizer, chat)
        if "{'type': 'text'" not in prompt:
            return prompt
    except Exception as error:
        print("refused:", str(error).split("\n")[0][:90], file=sys.stderr)
    if not any(isinstance(m["content"], list) for m in chat["messages"]):
        return None
    joined = copy.deepcopy(chat)
    for message in joined["messages"]:
        if isinstance(message["content"], list):
            message["content"] = "\n".join(part["text"] for part in message["content"])
    return expected(tokenizer, joined)


def used(chat, templates):
    """What a template does not name is refused by the program: not compared."""
    names = [n for n in ("tools", "documents") if chat.get(n)] + list(chat.get("arguments", {}))
    return all(name in templates for name in names)


def main():
    entries = []
    for name, template in TEMPLATES.items():
        files = config(chat_template=template, **TOKENS)
        entries.append((name, files, [c for c in CHATS if used(c, template)]))
    for name, files in PLACES.items():
        entries.append((name, files, [c for c in FEW if used(c, json.dumps(files))]))
    fixtures, count = [], 0
    for name, files, chats in entries:
        tokenizer = load(files)
        cases = [{**chat, "prompt": expected(tokenizer, chat)} for chat in chats]
        fixtures.append({"name": name, "files": files, "chats": cases})
        count += len(cases)
    FIXTURE.write_text(json.dumps(fixtures, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(f"{FIXTURE.name}: {len(fixtures)} models, {count} conversations")


if __name__ == "__main__":
    main()
