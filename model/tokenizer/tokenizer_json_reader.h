// A reader of tokenizer.json that does not hold its largest parts twice.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "model/tokenizer/bpe.h"
#include "model/tokenizer/vocabulary.h"

namespace spd {

/// Vocabulary and merges make nearly all of a tokenizer.json: they are taken while it is parsed,
/// and only the rest becomes a JSON document.
struct TokenizerDocument {
  nlohmann::json rest;
  Vocabulary vocabulary;
  Bpe::Merges merges;
  /// What is wrong with vocabulary or merges, if anything: of no account where the model is of a
  /// type that has others.
  std::optional<std::string> problem;
};

/// Throws input Error naming the file for what is no JSON, has a key twice or nests deeper than 64.
TokenizerDocument read_tokenizer_json(const std::filesystem::path& file);

}  // namespace spd
