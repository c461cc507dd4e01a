#include "model/tokenizer/vocab_files.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/device/error.h"
#include "model/tokenizer/pipeline_tokenizer.h"

namespace spd {
namespace {

using nlohmann::json;

std::ifstream open(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot be read", file.string()),
                "check the path and its permissions");
  }
  return stream;
}

Vocabulary read_vocabulary(const std::filesystem::path& file) {
  std::ifstream stream = open(file);
  Vocabulary vocabulary;
  try {
    const json ids = json::parse(stream);
    if (!ids.is_object()) throw Error(ErrorCode::input, "should be an object of tokens and ids");
    for (const auto& item : ids.items()) {
      if (!item.value().is_number_integer()) {
        throw Error(ErrorCode::input,
                    fmt::format("the id of \"{}\" should be an integer", item.key()));
      }
      vocabulary.add(item.key(), item.value().get<std::int64_t>());
    }
  } catch (const std::runtime_error& error) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", file.string(), error.what()),
                "fetch the file again");
  }
  return vocabulary;
}

Bpe::Merges read_merges(const std::filesystem::path& file) {
  std::ifstream stream = open(file);
  Bpe::Merges merges;
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      throw Error(
          ErrorCode::input,
          fmt::format("{}:{}: should be two tokens with one space between", file.string(), number),
          "fetch the file again");
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

std::vector<AddedToken> added_tokens(const TokenizerConfig& config, const Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens = config.added_tokens;
  for (const std::string& content : config.special_tokens()) {
    AddedToken token;
    token.content = content;
    token.special = true;
    if (const std::optional<TokenId> id = vocabulary.find(content)) {
      token.id = *id;
      tokens.push_back(std::move(token));
    }
  }
  return tokens;
}

}  // namespace

std::unique_ptr<Tokenizer> load_vocab_files(const std::filesystem::path& dir,
                                            const TokenizerConfig& config) {
  const std::string& kind = config.tokenizer_class;
  if (!kind.empty() && !kind.starts_with("GPT2Tokenizer")) {
    throw Error(
        ErrorCode::input,
        fmt::format("{}: vocab.json and merges.txt of a {} are not supported", dir.string(), kind),
        "add the model's tokenizer.json");
  }
  Vocabulary vocabulary = read_vocabulary(dir / "vocab.json");
  PipelineTokenizer::Parts parts;
  parts.added_tokens = added_tokens(config, vocabulary);
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", config.add_prefix_space}};
  const JsonComponent spec("byte-level tokenizer", byte_level);
  parts.pre_tokenizer = make_pre_tokenizer(spec);
  parts.decoder = make_decoder(spec);
  if (config.add_bos_token.value_or(false) && config.bos_token) {
    const std::optional<TokenId> bos = vocabulary.find(*config.bos_token);
    if (!bos) {
      throw Error(ErrorCode::input, fmt::format("{}: bos_token \"{}\" is not in vocab.json",
                                                dir.string(), *config.bos_token));
    }
    parts.post_processor.prefix.push_back(*bos);
  }
  try {
    parts.bpe =
        std::make_unique<Bpe>(std::move(vocabulary), read_merges(dir / "merges.txt"), BpeOptions{});
  } catch (const Error& error) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", dir.string(), error.what()));
  }
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace spd
