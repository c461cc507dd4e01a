// The program on checkpoints of other layouts, on sizes that are not true and on files that shrink.
#include <thread>

#include "tests/model/safetensors_text.h"
#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr int kInputStatus = 3;

class Weights : public testing::Test {
 protected:
  std::vector<std::string> generate(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"generate",        "-m", model_.path(), "-n", "6",
                                          "--virtual-ranks", "2",  "--ignore-eos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  json tokens() const {
    json result;
    run_program(0, generate({"--prompt", "Words"}), &result);
    return result["completions"][0]["ids"];
  }
  void patch_config(const json& patch) const {
    json config = model_.config();
    config.merge_patch(patch);
    model_.write("config.json", config.dump());
  }
  /// Every tensor's name without "model.", as weights of the base model are saved.
  void leave_out_the_base_model() const {
    const std::string whole = model_.read("model.safetensors");
    const std::size_t size =
        static_cast<unsigned char>(whole[0]) + 256 * static_cast<unsigned char>(whole[1]);
    const json stored = json::parse(whole.substr(8, size));
    json header = json::object();
    for (const auto& [name, entry] : stored.items()) {
      header[name.starts_with("model.") ? name.substr(6) : name] = entry;
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    model_.write("model.safetensors", safetensors_text(text, whole.substr(8 + size)));
  }

  TinyModel model_;
};

TEST_F(Weights, OfAnyLayoutGiveTheSameTokens) {
  const json expected = tokens();
  ASSERT_EQ(expected.size(), 6U);
  leave_out_the_base_model();
  EXPECT_EQ(tokens(), expected);
  std::filesystem::rename(model_.file("model.safetensors"),
                          model_.file("model-00001-of-00001.safetensors"));
  EXPECT_EQ(tokens(), expected);
  patch_config({{"architectures", nullptr}, {"dtype", "auto"}, {"bos_token_id", 128000}});
  EXPECT_EQ(tokens(), expected);
  patch_config({{"tie_word_embeddings", true}});  // the projection is stored, and another
  json result;
  const Outcome outcome = run_program(0, generate({"--prompt", "Words"}), &result);
  EXPECT_EQ(result["completions"][0]["ids"], expected);
  EXPECT_THAT(outcome.err, HasSubstr("it is stored and differs"));
}

// Of config.json alone: nothing as large as it says is made.
TEST_F(Weights, SizesThatAreNotTrueAreRefusedAtOnce) {
  const json patches[] = {
      {{"intermediate_size", 2147483647}},
      {{"num_attention_heads", 2147483646}, {"num_key_value_heads", 1}},
      {{"head_dim", 2147483646}},
      {{"intermediate_size", 1000000}, {"num_hidden_layers", 65536}},
      {{"hidden_size", 4096}, {"num_attention_heads", 32}, {"num_hidden_layers", 32800}},
  };
  const std::string config = model_.read("config.json");
  for (const json& patch : patches) {
    SCOPED_TRACE(patch.dump());
    model_.write("config.json", config);
    patch_config(patch);
    expect_refusal(0, generate({"--prompt", "Words"}), {model_.path()});
    if (patch.contains("hidden_size")) continue;  // large machines could hold it
    expect_refusal(0,
                   {"bench", "--random-weights", "-m", model_.path(), "--virtual-ranks", "2",
                    "--prompt-tokens", "8", "--gen-tokens", "2"},
                   {"the model's weights and tables take ", "GiB of memory"});
  }
}

TEST_F(Weights, ThatShrinkWhileTheyAreReadAreNamed) {
  const std::string whole = model_.read("model.safetensors");
  for (const int ranks : {0, 2}) {
    SCOPED_TRACE(ranks);
    model_.write("model.safetensors", whole);
    std::vector<std::string> arguments = {"generate", "-m", model_.path(), "--chat", "-n", "6"};
    if (ranks == 0) arguments.insert(arguments.end(), {"--virtual-ranks", "2"});
    ProgramRun run(ranks, arguments, "Words\n");
    run.type_after(4.0);  // the model is loaded; its embedding is read from the file
    std::thread shrink([&] {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      std::filesystem::resize_file(model_.file("model.safetensors"), 0);
    });
    const Outcome outcome = run();
    shrink.join();
    EXPECT_EQ(outcome.status, kInputStatus) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(model_.file("model.safetensors").string()));
    EXPECT_THAT(outcome.err, HasSubstr("\n  remedy: "));
    for (const char* trace : {"Caught signal", "Backtrace", "backtrace"}) {
      EXPECT_THAT(outcome.err, Not(HasSubstr(trace)));
    }
  }
}

}  // namespace
}  // namespace spd
