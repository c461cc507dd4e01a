#include "model/tokenizer/vocab_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/input_file.h"
#include "model/json_text.h"
#include "model/tokenizer/added_token_list.h"
#include "model/tokenizer/file_kind.h"
#include "model/tokenizer/pipeline_tokenizer.h"

namespace spd {
namespace {

using nlohmann::json;

std::string read(const std::filesystem::path& file) {
  std::string text = read_file(file);
  refuse_other_kinds(file, text, "the model's own file of this name");
  return text;
}

Vocabulary read_vocabulary(const std::filesystem::path& file) {
  const json ids = parse_json(read(file), file.string(), /*max_depth=*/2);
  const JsonComponent spec(file.string(), ids);
  Vocabulary vocabulary;
  for (const auto& item : ids.items()) {
    if (!item.value().is_number_integer()) {
      spec.fail(fmt::format("the id of {} should be an integer, found {}", quoted_text(item.key()),
                            shown_json(item.value())),
                "fetch the file again");
    }
    const bool huge = item.value().is_number_unsigned() &&
                      item.value().get<std::uint64_t>() > std::uint64_t{Vocabulary::kMaxId};
    try {
      vocabulary.add(item.key(), huge ? Vocabulary::kMaxId + 1 : item.value().get<std::int64_t>());
    } catch (const Error& error) {
      spec.fail(error.message(), "fetch the file again");
    }
  }
  if (vocabulary.size() == 0) spec.fail("the vocabulary is empty", "fetch the file again");
  return vocabulary;
}

Bpe::Merges read_merges(const std::filesystem::path& file) {
  const std::string text = read(file);
  Bpe::Merges merges;
  std::size_t begin = 0;
  for (int number = 1; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      throw Error(ErrorCode::input,
                  fmt::format("{}:{}: should be two tokens with one space between, found {}",
                              file.string(), number, quoted_text(line)),
                  "fetch the file again");
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

}  // namespace

std::unique_ptr<Tokenizer> load_vocab_files(const std::filesystem::path& dir,
                                            const TokenizerConfig& config) {
  const std::string& kind = config.tokenizer_class;
  if (!kind.empty() && !kind.starts_with("GPT2Tokenizer")) {
    throw Error(ErrorCode::input,
                fmt::format("{}: vocab.json and merges.txt of a {} are not supported", dir.string(),
                            printable(kind)),
                "add the model's tokenizer.json");
  }
  Vocabulary vocabulary = read_vocabulary(dir / "vocab.json");
  PipelineTokenizer::Parts parts;
  AddedTokenList added(vocabulary);
  config.add_to(added);
  parts.added_tokens = added.take();
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", config.add_prefix_space}};
  const JsonComponent spec("byte-level tokenizer", byte_level);
  parts.pre_tokenizer = make_pre_tokenizer(spec);
  parts.decoder = make_decoder(spec);
  if (config.add_bos_token.value_or(false) && config.bos_token) {
    const std::optional<TokenId> bos = vocabulary.find(*config.bos_token);
    if (!bos) {
      throw Error(ErrorCode::input,
                  fmt::format("{}: bos_token {} is not in vocab.json", dir.string(),
                              quoted_text(*config.bos_token)),
                  "fetch vocab.json and tokenizer_config.json of one and the same model");
    }
    parts.post_processor.prefix.push_back(*bos);
  }
  try {
    parts.bpe =
        std::make_unique<Bpe>(std::move(vocabulary), read_merges(dir / "merges.txt"), BpeOptions{});
  } catch (const Error& error) {
    throw Error(ErrorCode::input,
                fmt::format("{}: merges.txt and vocab.json: {}", dir.string(), error.message()),
                "fetch both files again");
  }
  return std::make_unique<PipelineTokenizer>(std::move(parts));
}

}  // namespace spd
