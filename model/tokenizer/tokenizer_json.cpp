#include "model/tokenizer/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/device/error.h"
#include "model/tokenizer/pipeline_tokenizer.h"

namespace spd {
namespace {

using nlohmann::json;

// Vocabulary and merges make nearly all of the file: they are taken while it is parsed, and only
// the rest becomes a JSON document.
struct Document {
  json rest;
  Vocabulary vocabulary;
  Bpe::Merges merges;
};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file.string()) {}

  Document read() {
    std::ifstream stream(file_, std::ios::binary);
    if (!stream) {
      throw Error(ErrorCode::input, fmt::format("{}: cannot be read", file_),
                  "check the path and its permissions");
    }
    try {
      document_.rest =
          json::parse(stream, [this](int depth, json::parse_event_t event, json& parsed) {
            return keep(depth, event, parsed);
          });
    } catch (const json::exception& error) {
      throw Error(ErrorCode::input, fmt::format("{}: not valid JSON: {}", file_, error.what()),
                  "fetch the file again");
    }
    return std::move(document_);
  }

 private:
  static constexpr int kMaxDepth = 64;

  // nlohmann's parser callback: called for every key, value and end; false leaves it out.
  bool keep(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) fail("is nested too deeply");
    if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (depth <= 3) keys_[depth] = key;
      return !(depth == 3 && in_model("vocab"));
    }
    // A list is what other models have here; their type is refused later.
    if (event == json::parse_event_t::array_start && depth == 2 && in_model("vocab")) return false;
    if (depth == 3 && in_model("vocab")) {
      if (!parsed.is_number_integer()) fail("model.vocab: ids should be integers");
      add_token(parsed.get<std::int64_t>());
      return false;
    }
    if (depth == 3 && in_model("merges") &&
        (event == json::parse_event_t::value || event == json::parse_event_t::array_end)) {
      add_merge(parsed);
      return false;
    }
    return true;
  }

  bool in_model(std::string_view key) const { return keys_[1] == "model" && keys_[2] == key; }

  void add_token(std::int64_t id) {
    try {
      document_.vocabulary.add(keys_[3], id);
    } catch (const Error& error) {
      fail(std::string("model.vocab: ") + error.what());
    }
  }

  // "a b", or ["a", "b"].
  void add_merge(const json& merge) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      document_.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      return;
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const std::size_t space = text.find(' ');
    if (text.starts_with("#version")) return;
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      fail(fmt::format("model.merges: entry {} should be two tokens with one space between",
                       document_.merges.size()));
    }
    document_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::input, fmt::format("{}: {}", file_, problem), "fetch the file again");
  }

  std::string file_;
  std::array<std::string, 4> keys_;  // by depth: the key that is being read
  Document document_;
};

BpeOptions read_bpe_options(const JsonComponent& model) {
  // Files written before the library had several models name no type.
  if (model.string_or("type", "BPE") != "BPE") model.not_supported("tokenizer model");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.string_or(key, "").empty()) model.fail(fmt::format("\"{}\" is not supported", key));
  }
  if (model.has("dropout") && model.value()["dropout"] != 0) {
    model.fail("\"dropout\" is not supported", "set it to null");
  }
  BpeOptions options;
  if (model.has("unk_token")) options.unk_token = model.string("unk_token");
  options.fuse_unk = model.boolean_or("fuse_unk", false);
  options.byte_fallback = model.boolean_or("byte_fallback", false);
  options.ignore_merges = model.boolean_or("ignore_merges", false);
  return options;
}

std::vector<AddedToken> read_added_tokens(const JsonComponent& root, const Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  if (!root.has("added_tokens")) return tokens;
  for (const JsonComponent& spec : root.objects("added_tokens")) {
    AddedToken token;
    token.content = spec.string("content");
    const std::int64_t id = spec.integer("id");
    if (id < 0 || id > Vocabulary::kMaxId) spec.fail(fmt::format("the id {} is out of range", id));
    // The model's own id wins, as in the library.
    token.id = vocabulary.find(token.content).value_or(static_cast<TokenId>(id));
    token.special = spec.boolean_or("special", false);
    token.single_word = spec.boolean_or("single_word", false);
    token.lstrip = spec.boolean_or("lstrip", false);
    token.rstrip = spec.boolean_or("rstrip", false);
    token.normalized = spec.boolean_or("normalized", !token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& file) {
  Document document = Reader(file).read();
  const JsonComponent root(file.string(), document.rest);
  const JsonComponent model = root.object("model");
  BpeOptions options = read_bpe_options(model);
  PipelineTokenizer::Parts parts;
  if (root.has("normalizer")) parts.normalizer = make_normalizer(root.object("normalizer"));
  if (root.has("pre_tokenizer")) {
    parts.pre_tokenizer = make_pre_tokenizer(root.object("pre_tokenizer"));
  }
  if (root.has("decoder")) parts.decoder = make_decoder(root.object("decoder"));
  parts.added_tokens = read_added_tokens(root, document.vocabulary);
  try {
    parts.bpe =
        std::make_unique<Bpe>(std::move(document.vocabulary), document.merges, std::move(options));
  } catch (const Error& error) {
    model.fail(error.what(), "fetch the file again");
  }
  std::int64_t vocab_size = parts.bpe->vocabulary().size();
  for (const AddedToken& token : parts.added_tokens) {
    vocab_size = std::max<std::int64_t>(vocab_size, token.id + 1);
  }
  if (vocab_size == 0) model.fail("the vocabulary is empty", "fetch the file again");
  if (root.has("post_processor")) {
    parts.post_processor = make_post_processor(root.object("post_processor"), vocab_size);
  }
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace spd
