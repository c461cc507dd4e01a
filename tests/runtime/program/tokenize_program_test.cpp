// spd tokenize, and what becomes of prompts in generate.
#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

constexpr const char* kPrompts =
    "\xEF\xBB\xBF{\"prompt\": \"One\", \"id\": \"first\"}\n"
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Two\"}]}\n"
    "  [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": "
    "\"Sure:\"}]\n"
    "Three words\n";

TEST(Tokenize, ShowsWhatGenerateRuns) {
  const TinyModel model;
  json shown, run;
  const Outcome outcome =
      run_program(0, {"tokenize", "-m", model.path(), "--prompts", "-"}, &shown, kPrompts);
  run_program(0,
              {"generate", "-m", model.path(), "--prompts", "-", "-n", "1", "--virtual-ranks", "1"},
              &run, kPrompts);
  EXPECT_EQ(shown["schema"], "spd.tokenize/1");
  ASSERT_EQ(shown["prompts"].size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const json& prompt = shown["prompts"][i];
    EXPECT_EQ(prompt["ids"].size(), prompt["pieces"].size());
    EXPECT_EQ(prompt["tokens"], run["completions"][i]["prompt_tokens"]);
  }
  EXPECT_EQ(shown["prompts"][0]["pieces"], (json{"O", "n", "e"}));
  EXPECT_EQ(shown["prompts"][0]["id"], "first");
  EXPECT_EQ(run["completions"][0]["id"], "first");
  EXPECT_EQ(shown["prompts"][1]["rendered"],
            "<|im_start|>user\nTwo<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(shown["prompts"][2]["rendered"],
            "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\nSure:");
  EXPECT_EQ(shown["prompts"][3]["text"], "Three words");
  EXPECT_THAT(outcome.out, HasSubstr("stdin line 4: 11 tokens\n"));
  EXPECT_THAT(outcome.out, HasSubstr("\nSure:\n"));
}

TEST(Tokenize, IsPrintedOnceAndNeedsNoWeights) {
  const TinyModel model;
  std::filesystem::remove(model.file("model.safetensors"));
  std::filesystem::remove(model.file("config.json"));
  const Outcome outcome = run_program(
      2, {"tokenize", "-m", model.path(), "--prompt", "Hi", "--chat", "--system", "Be brief."});
  EXPECT_THAT(outcome.out, HasSubstr("<|im_start|>system\nBe brief.<|im_end|>\n"));
  EXPECT_EQ(outcome.out.find("tokens"), outcome.out.rfind("tokens")) << outcome.out;
}

TEST(Tokenize, RefusesWithFileAndLine) {
  const TinyModel model;
  const auto refuse = [&](const char* command, const Arguments& more, const std::string& input,
                          const std::vector<std::string>& message) {
    SCOPED_TRACE(input);
    Arguments arguments = {command, "-m", model.path()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_refusal(0, arguments, message, input);
  };
  const std::string tool = "fine\n{\"messages\": [{\"role\": \"tool\", \"content\": 5}]}\n";
  refuse("tokenize", {"--prompts", "-"}, "fine\n{name}, hello\n", {"stdin line 2", "{\"prompt\""});
  refuse("tokenize", {"--prompt", "Hi", "--system", "S"}, "", {"--system", "--chat"});
  refuse("tokenize", {"--prompt", "Hi", "--chat", "--template-arg", "enable_thinking=false"}, "",
         {"--prompt: ", "tokenizer_config.json", "enable_thinking"});
  refuse("tokenize", {"--prompt", "Hi", "--template-arg", "x=True"}, "", {"x=True", "not JSON"});
  refuse("tokenize", {"--prompt", "Hi", "--date", "2025-02-30"}, "", {"--date", "YYYY-MM-DD"});
  refuse("tokenize", {"--prompt", "\xFF"}, "", {"--prompt: byte 1 is not UTF-8"});
  refuse("tokenize", {}, "", {"nothing to tokenise", "--prompts FILE"});
  model.write("tokenizer_config.json", "{}");
  refuse("tokenize", {"--prompts", "-"}, tool, {"no chat template", "plain prompt"});
  model.write("chat_template.jinja", "{{ 'a' }}\n{{ raise_exception('speak in turn') }}");
  for (const char* command : {"tokenize", "generate"}) {
    Arguments more = {"--prompts", "-"};
    if (std::string(command) == "generate") more.insert(more.end(), {"--virtual-ranks", "2"});
    refuse(command, more, tool,
           {"stdin line 2: ", "chat_template.jinja", "line 2", "speak in turn"});
  }
}

}  // namespace
}  // namespace spd
