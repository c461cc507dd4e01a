// What the program says of inputs that are wrong in small ways: file, place and remedy.
#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using Arguments = std::vector<std::string>;

constexpr int kInputStatus = 3;

class Inputs : public testing::Test {
 protected:
  Arguments with_model(const char* command, const Arguments& more, bool with_ranks = true) const {
    Arguments all = {command, "-m", model_.path()};
    if (with_ranks) all.insert(all.end(), {"--virtual-ranks", "2"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  void add_token(int id, const char* content) const {
    json tokenizer = json::parse(model_.read("tokenizer.json"));
    json token = tokenizer["added_tokens"][0];
    token["id"] = id;
    token["content"] = content;
    tokenizer["added_tokens"].push_back(token);
    model_.write("tokenizer.json", tokenizer.dump());
  }

  TinyModel model_;
};

// The model loads, as in transformers; what it cannot run is a text with such a token.
TEST_F(Inputs, TokensWithoutAnEmbeddingAreRefusedBeforeWeightsAreRead) {
  const auto rows = model_.config()["vocab_size"].get<int>();
  add_token(rows + 5, "<|new|>");
  run_program(0, with_model("generate", {"--prompt", "Hi", "-n", "2"}));
  // Nothing of them is read.
  std::filesystem::rename(model_.file("model.safetensors"), model_.file("away"));
  const Arguments says = {"\"<|new|>\" has the id " + std::to_string(rows + 5),
                          model_.file("tokenizer.json").string(),
                          "embedding has " + std::to_string(rows) + " rows",
                          model_.file("config.json").string(), "vocab_size"};
  const auto refused = [&](const Arguments& arguments, const std::string& where) {
    Arguments parts = says;
    parts.push_back(where);
    expect_refusal(0, arguments, parts);
    EXPECT_EQ(ProgramRun(0, arguments)().status, kInputStatus);
  };
  refused(with_model("generate", {"--prompt", "Hi<|new|>"}), "--prompt: ");
  model_.write("text.txt", "Some <|new|> words");
  refused(with_model("eval", {"--text", model_.file("text.txt").string()}), "text.txt: ");
  model_.write(
      "sciq.jsonl",
      json{{"support", ""}, {"question", "<|new|>"}, {"choices", {"a", "b"}}, {"gold", 0}}.dump() +
          "\n");
  refused(with_model("eval", {"--tasks", "sciq", "--data", model_.path()}), "sciq item 0: ");
  json shown;
  const Outcome outcome =
      run_program(0, with_model("tokenize", {"--prompt", "Hi<|new|>"}, false), &shown);
  EXPECT_EQ(shown["prompts"][0]["ids"].back(), rows + 5);
  for (const std::string& part : says) EXPECT_THAT(outcome.err, HasSubstr(part));
}

TEST_F(Inputs, CloseWithARemedyThatFits) {
  expect_refusal(0, {"generate", "-m", "", "--prompt", "x", "--virtual-ranks", "1"},
                 {"--model is given nothing"});
  expect_refusal(0, {"tokenize", "-m", "", "--prompt", "x"}, {"--model is given nothing"});
  model_.write("one.txt", "a");
  model_.write("none.txt", "");
  expect_refusal(0, with_model("eval", {"--text", model_.file("one.txt").string()}),
                 {"one.txt: is one token", "longer text"});
  expect_refusal(0, with_model("eval", {"--text", model_.file("none.txt").string()}),
                 {"none.txt: has no tokens"});
  model_.write("generation_config.json", R"({"eos_token_id": [2, 5000]})");
  expect_refusal(0, with_model("generate", {"--prompt", "x"}),
                 {"generation_config.json: eos_token_id 5000", "one and the same model"});
  std::filesystem::remove(model_.file("generation_config.json"));
  const std::string whole = model_.read("tokenizer.json");
  model_.write("tokenizer.json", whole.substr(0, whole.size() / 2));
  expect_refusal(0, with_model("generate", {"--prompt", "x"}),
                 {"tokenizer.json: not valid JSON: line 1, column "});
  EXPECT_THAT(ProgramRun(0, with_model("generate", {"--prompt", "x"}))().err,
              Not(HasSubstr("json.exception")));
}

TEST_F(Inputs, TemplatesThatAreWrongAreToBeMendedNotTheMessages) {
  const Arguments chat = with_model("generate", {"--chat", "--prompt", "x"});
  for (const char* source : {"a\n{{ 1 + }}", "a\n{% include 'x' %}",
                             "a\n{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"}) {
    model_.write("chat_template.jinja", source);
    expect_refusal(0, chat, {"chat_template.jinja: line 2", "remedy: mend the template"});
  }
  model_.write("chat_template.jinja", "{{ raise_exception('only two roles') }}");
  expect_refusal(0, chat, {"line 1, column", "only two roles", "remedy: give messages that"});
}

TEST_F(Inputs, ErrorsThatOneItemCannotTellAreNotNumbers) {
  model_.write(
      "sciq.jsonl",
      json{{"support", ""}, {"question", "?"}, {"choices", {"a", "b"}}, {"gold", 0}}.dump() + "\n");
  model_.write("lambada_openai.jsonl", "{\"text\": \"a b\"}\n");
  for (const Arguments& more : {Arguments{}, Arguments{"--drop", "attn:0"}}) {
    Arguments arguments =
        with_model("eval", {"--tasks", "sciq,lambada_openai", "--data", model_.path()});
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_program(0, arguments);
    EXPECT_THAT(outcome.out, HasSubstr("±n/a"));
    EXPECT_THAT(outcome.out, Not(HasSubstr("nan")));
  }
}

TEST_F(Inputs, AFullContextIsTold) {
  json result;
  const std::string prompt(TinyModel::kContext - 6, 'x');
  const Outcome full = run_program(
      0, with_model("generate", {"--prompt", prompt, "--ignore-eos", "-n", "50"}), &result);
  EXPECT_EQ(result["completions"][0]["finish"], "length");
  EXPECT_EQ(result["completions"][0]["context_full"], true);
  EXPECT_EQ(result["completions"][0]["completion_tokens"], 7);
  EXPECT_THAT(full.err, HasSubstr("1 of 1 completions ended early: the model's context of 128"));
  const Outcome enough = run_program(
      0, with_model("generate", {"--prompt", prompt, "--ignore-eos", "-n", "3"}), &result);
  EXPECT_EQ(result["completions"][0]["context_full"], false);
  EXPECT_THAT(enough.err, Not(HasSubstr("context of")));
}

// One word of 80,000 letters behind a bracket, and a hundred thousand tokens cut to the context.
TEST_F(Inputs, LongItemsAreCutToTheContextAndScored) {
  model_.write("hellaswag.jsonl", json{{"activity_label", "a"},
                                       {"ctx_a", "[" + std::string(80'000, 'b')},
                                       {"ctx_b", "c"},
                                       {"endings", {"d", "e", "f", "g"}},
                                       {"label", "0"}}
                                          .dump() +
                                      "\n");
  json result;
  const Outcome outcome = run_program(
      0, with_model("eval", {"--tasks", "hellaswag", "--data", model_.path()}), &result);
  EXPECT_EQ(result["truncated_requests"], 4);
  EXPECT_EQ(result["request_tokens"], 4 * TinyModel::kContext);
  EXPECT_THAT(outcome.out, HasSubstr("4 requests were longer than the model's context"));
  EXPECT_LT(outcome.seconds, 20.0);
}

}  // namespace
}  // namespace spd
