"""Conversations that every chat template is rendered with."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Looks up the \"weather\" of a city.",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "City's name, e.g. Köln"},
        "unit": {"type": ["string", "null"], "enum": ["C", "F"], "default": None}}}}}
CLOCK = {"type": "function", "function": {
    "name": "clock", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}}}

USER = {"role": "user", "content": "What is 2 < 3 & \"x\"?"}
CALL = {"id": "call00001", "type": "function",
        "function": {"name": "get_weather", "arguments": {"city": "Köln", "unit": "C"}}}


def chat(*messages, tools=None, prompt=True, **more):
    return {"messages": list(messages), "tools": tools, "documents": None,
            "add_generation_prompt": prompt, **more}


CONVERSATIONS = {
    "user": chat(USER),
    "no prompt": chat(USER, prompt=False),
    "system": chat({"role": "system", "content": " Be brief.\n"}, USER),
    "developer": chat({"role": "developer", "content": "Be exact."}, USER),
    "turns": chat({"role": "system", "content": "Sys"}, {"role": "user", "content": "Hi  "},
                  {"role": "assistant", "content": " Hello!\n"}, {"role": "user", "content": "Wie geht's? 😀"}),
    "prefill": chat(USER, {"role": "assistant", "content": "It is"}, prompt=False),
    "tools": chat(USER, tools=[WEATHER, CLOCK]),
    "call": chat(USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, tools=[WEATHER], prompt=False),
    "result": chat({"role": "system", "content": "Sys"}, USER,
                   {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
                   {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "{\"t\": 21.5}"},
                   tools=[WEATHER, CLOCK]),
    "two results": chat(USER, {"role": "assistant", "tool_calls": [CALL, CALL]},
                        {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "21"},
                        {"role": "tool", "name": "get_weather", "tool_call_id": "call00002", "content": "22"},
                        {"role": "assistant", "content": "Both warm."}, {"role": "user", "content": "Thanks"},
                        tools=[WEATHER]),
    "reasoning": chat(USER, {"role": "assistant", "content": "Yes.", "reasoning_content": "2 is less.\n", "thinking": "2 is less.\n"},
                      {"role": "user", "content": "Sure?"}),
    "think tags": chat(USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."},
                       {"role": "user", "content": "Sure?"}),
    "no thinking": chat(USER, enable_thinking=False),
    "parts": chat({"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "what?"}]}),
    "twice user": chat(USER, USER),
    "assistant first": chat({"role": "assistant", "content": "Hello"}, USER),
    "empty": chat(prompt=True),
    "date": chat(USER, date_string="1 Jan 2025"),
}
