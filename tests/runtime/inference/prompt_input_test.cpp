#include "runtime/inference/prompt_input.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

using Json = nlohmann::ordered_json;

// What a prompt is, in one line: its text, or its messages as JSON.
std::string told(const Prompt& prompt) {
  return prompt.is_chat() ? prompt.chat.messages.dump() : prompt.text;
}

std::vector<std::string> all_told(std::string_view text, const std::string& name) {
  std::vector<std::string> result;
  for (const Prompt& prompt : parse_prompts(text, name)) result.push_back(told(prompt));
  return result;
}

TEST(PromptInput, TakesLinesAndJson) {
  const std::string chat = R"([{"role":"user","content":"Hi"}])";
  const std::string bom = "\xEF\xBB\xBF";
  struct Case {
    std::string name, text;
    std::vector<std::string> prompts;
  };
  const Case cases[] = {
      {"p.txt", "One\ntwo\n", {"One", "two"}},
      {"p.txt", "One\r\n\r\n \t\ntwo", {"One", "two"}},
      {"p.txt", "  spaces stay  \n", {"  spaces stay  "}},
      {"p.txt", "\"quoted\" text\n", {"\"quoted\" text"}},
      {"p.txt", bom + "hello\n", {"hello"}},
      {"p.txt", bom + "{\"prompt\":\"hi\"}\n{\"prompt\":\"yo\"}\n", {"hi", "yo"}},
      {"stdin", bom + "\r\n" + bom + "{\"prompt\":\"hi\"}\n" + bom + "yo\n", {"hi", "yo"}},
      {"p.jsonl", bom + "{\"prompt\":\"hi\"}\n", {"hi"}},
      {"p.txt", "  {\"prompt\":\"a\"}\n\t[\"b\"]\nc\n", {"a", "b", "c"}},
      {"p.jsonl", "{\"prompt\":\"\\ud83d\\ude00 \\u0000\"}", {std::string("\U0001F600 \0", 6)}},
      {"p.jsonl", "\"a text\"\n", {"a text"}},
      {"p.jsonl", "{\"messages\":" + chat + "}\n", {chat}},
      {"p.jsonl", "{\"messages\":" + chat + ",\"prompt\":null,\"tools\":null}\n", {chat}},
      {"p.jsonl", chat + "\n" + chat + "\n", {chat, chat}},
      {"p.json", R"([{"prompt":"a"},{"prompt":"b"}])", {"a", "b"}},
      {"stdin", "[\n {\"prompt\":\"a\"},\n \"b\"\n]\n", {"a", "b"}},
      {"p.txt", "[\"a\", " + chat + "]", {"a", chat}},
      {"p.json", "{\n \"messages\": [\n" + chat.substr(1) + "}\n", {chat}},
      {"p.json", "\n\n[\n" + chat.substr(1) + "\n", {chat}},
      {"p.json", "{\"prompt\":\"lines\"}\n{\"prompt\":\"in .json\"}\n", {"lines", "in .json"}},
  };
  for (const Case& row : cases) {
    EXPECT_EQ(all_told(row.text, row.name), row.prompts) << row.name << ": " << row.text;
  }
}

TEST(PromptInput, KeepsWhatTheTemplateIsToSee) {
  const std::string line =
      R"({"id": 7, "messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}]},)"
      R"( {"role": "assistant", "content": null, "tool_calls": [{"z": 1, "a": 2}]},)"
      R"( {"content": {"b": 1}, "role": "tool", "tool_call_id": "x"}],)"
      R"( "tools": [{"type": "function", "function": {"name": "f"}}], "documents": [{"text": "d"}],)"
      R"( "chat_template_kwargs": {"enable_thinking": false}})";
  const Prompt prompt = parse_prompts(line, "p.jsonl").front();
  EXPECT_EQ(prompt.chat.messages.dump(),
            R"([{"role":"developer","content":[{"type":"text","text":"a"}]},)"
            R"({"role":"assistant","content":null,"tool_calls":[{"z":1,"a":2}]},)"
            R"({"content":{"b":1},"role":"tool","tool_call_id":"x"}])");
  EXPECT_EQ(prompt.chat.tools.dump(), R"([{"type":"function","function":{"name":"f"}}])");
  EXPECT_EQ(prompt.chat.documents.dump(), R"([{"text":"d"}])");
  EXPECT_EQ(prompt.chat.arguments.dump(), R"({"enable_thinking":false})");
  EXPECT_EQ(prompt.id, 7);
  EXPECT_EQ(prompt.origin, "p.jsonl line 1");
  EXPECT_EQ(parse_prompts("x\n\n[\"a\",\"b\"]\n", "p.txt")[2].origin, "p.txt line 3 item 2");
}

TEST(PromptInput, RefusesWithFileAndLine) {
  struct Case {
    std::string name, text;
    std::vector<std::string> message;
  };
  const Case cases[] = {
      {"p.txt", "", {"p.txt: no prompts"}},
      {"p.txt", "\xEF\xBB\xBF", {"p.txt: no prompts"}},
      {"p.jsonl", "\n \n", {"p.jsonl: no prompts"}},
      {"p.json", "[]", {"p.json line 1: the list is empty"}},
      {"p.txt",
       "fine\n{name}, hello\n",
       {"p.txt line 2: not valid JSON", "column 3", "{\"prompt\""}},
      {"p.txt", "[1] A citation\n", {"p.txt line 1: not valid JSON", "begins with { or ["}},
      {"p.txt", "[1]\n", {"p.txt line 1 item 1: 1 is not a prompt"}},
      {"p.txt", "fine\n{\"prompt\": 5}", {"p.txt line 2: \"prompt\" must be a string, found 5"}},
      {"p.jsonl", R"({"prompt": ["a","b"]})", {"\"prompt\" must be a string, found [\"a\",\"b\"]"}},
      {"p.jsonl", "plain\n", {"p.jsonl line 1: not valid JSON"}},
      {"p.jsonl", "5\n", {"p.jsonl line 1: 5 is not a prompt"}},
      {"p.jsonl", "{\"prompt\":\"a\"}{\"prompt\":\"b\"}", {"line 1: not valid JSON"}},
      {"p.jsonl", "{\"prompt\":\"a\",\"prompt\":\"b\"}", {"line 1", "\"prompt\" comes twice"}},
      {"p.jsonl", "{\"prompt\":\"a\"} x", {"line 1: not valid JSON"}},
      {"p.jsonl", "{\n\"prompt\":\"a\"}\n}", {"p.jsonl line 1: not valid JSON"}},
      {"p.json", "[\n{\"prompt\":\"a\"},\n]", {"p.json: not valid JSON: line 3, column 1"}},
      {"p.json", "[\n{\"prompt\":\"a\"}]\nmore", {"p.json: not valid JSON: line 3"}},
      {"p.json", R"(["a", [["b"]]])", {"p.json line 1 item 2: a list that is no conversation"}},
      {"p.jsonl", std::string(100, '['), {"p.jsonl line 1", "nested deeper"}},
      {"p.jsonl", "{}", {"neither \"prompt\" nor \"messages\""}},
      {"p.jsonl", R"({"prompt":"a","messages":[]})", {"both \"prompt\" and \"messages\""}},
      {"p.jsonl", R"({"mesages":[]})", {"\"mesages\" is unknown (did you mean \"messages\"?)"}},
      {"p.jsonl", R"({"Prompt":"a"})", {"did you mean \"prompt\"?"}},
      {"p.jsonl", R"({"temperature":1})", {"\"temperature\" is unknown\n", "known are prompt"}},
      {"p.jsonl", R"({"messages":[]})", {"p.jsonl line 1: no messages"}},
      {"p.jsonl", R"({"messages":"Hi"})", {"\"messages\" must be a list, found \"Hi\""}},
      {"p.jsonl", R"({"messages":["Hi"]})", {"message 1: must be an object"}},
      {"p.jsonl", R"({"messages":[{"content":"x"}]})", {"message 1: has no \"role\""}},
      {"p.jsonl", R"({"messages":[{"role":1,"content":"x"}]})", {"\"role\" must be a string"}},
      {"p.jsonl", R"({"messages":[{"role":"user"}]})", {"message 1: has no \"content\""}},
      {"p.jsonl",
       R"({"messages":[{"role":"user","content":3}]})",
       {"\"content\" must be a string or a list of parts, found 3"}},
      {"p.jsonl",
       R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image"}]}]})",
       {"line 1: message 1, part 2: is of type \"image\"; this program takes text only"}},
      {"p.jsonl", R"({"messages":[{"role":"user","content":[{"text":"a"}]}]})", {"no \"type\""}},
      {"p.jsonl", R"({"prompt":"a","id":1.5})", {"\"id\" must be a string or an integer"}},
      {"p.jsonl", R"({"prompt":"a","tools":{}})", {"\"tools\" must be a list of objects"}},
      {"p.jsonl",
       R"({"prompt":"a","chat_template_kwargs":{"messages":1}})",
       {"chat_template_kwargs: \"messages\" is not for the user"}},
      {"p.txt", "caf\xE9\n", {"p.txt line 1: byte 4 is not UTF-8", "iconv"}},
      {"p.jsonl", "{\"prompt\":\"caf\xE9\"}\n", {"p.jsonl line 1: byte 15 is not UTF-8"}},
      {"p.txt", std::string("a\0b\n", 4), {"p.txt line 1: has a zero byte"}},
      {"p.txt", "a\rb\r", {"p.txt line 1: has a carriage return within"}},
      {"p.txt", std::string("\xFF\xFEh\0i\0", 6), {"p.txt: is in UTF-16"}},
      {"p.jsonl", R"({"prompt":"\ud800"})", {"p.jsonl line 1: not valid JSON"}},
      {"p.jsonl", R"({"prompt":1e999})", {"p.jsonl line 1: not valid JSON"}},
  };
  for (const Case& row : cases) {
    SCOPED_TRACE(row.name + ": " + row.text);
    expect_input_error([&] { parse_prompts(row.text, row.name); }, row.message);
  }
}

TEST(PromptInput, MessagesAreOfTheTask) {
  for (const char* text :
       {"{\"prompt\": 5}", "{", "{\"messages\": 3}", "[[", "{\"a\": \"\xff\"}"}) {
    try {
      parse_prompts(text, "p.jsonl");
      ADD_FAILURE() << "no error: " << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("json.exception")));
      EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("undamaged copy")));
    }
  }
}

TEST(PromptInput, ReadsFilesAndFifosThatAreSlow) {
  const TempDir dir;
  EXPECT_EQ(read_prompts(dir.write("p.txt", "One\n")).front().text, "One");
  expect_input_error([&] { read_prompts(dir.path()); }, {"Is a directory"});
  expect_input_error([&] { read_prompts(dir.path() / "none"); }, {"none: cannot be read"});
  const std::filesystem::path fifo = dir.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::thread writer([&] {
    std::ofstream out(fifo);
    out << "One\n" << std::flush;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    out << "two\n";
  });
  EXPECT_EQ(read_prompts(fifo).size(), 2U);
  writer.join();
}

}  // namespace
}  // namespace spd
