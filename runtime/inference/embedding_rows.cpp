#include "runtime/inference/embedding_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"
#include "model/input_file.h"
#include "model/json_object.h"
#include "model/tokenizer/file_kind.h"

namespace spd {
namespace {

constexpr const char* kKey = "vocab_size";

bool is_there(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

/// The file that gives the model this token; the folder where none spells it out.
std::filesystem::path file_of(const std::filesystem::path& model, std::string_view token) {
  const nlohmann::json text(token);
  constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
  const std::string as_it_is = text.dump(-1, ' ', /*ensure_ascii=*/false, kReplace);
  const std::string in_ascii = text.dump(-1, ' ', /*ensure_ascii=*/true, kReplace);
  for (const char* name : {"tokenizer.json", "vocab.json", "added_tokens.json",
                           "tokenizer_config.json", "special_tokens_map.json"}) {
    const std::filesystem::path file = model / name;
    if (!is_there(file)) continue;
    const std::string content = read_file(file);
    if (content.find(as_it_is) != std::string::npos ||
        content.find(in_ascii) != std::string::npos) {
      return file;
    }
  }
  return is_there(model / "tokenizer.model") ? model / "tokenizer.model" : model;
}

}  // namespace

void check_embedding_rows(std::span<const TokenId> ids, std::int64_t rows,
                          const Tokenizer& tokenizer, const std::filesystem::path& model,
                          const std::string& where) {
  const auto found =
      std::find_if(ids.begin(), ids.end(), [&](const TokenId id) { return id >= rows; });
  if (found == ids.end()) return;
  const std::string_view token = tokenizer.token_text(*found).value_or("");
  throw Error(
      ErrorCode::input,
      fmt::format("{}: the token {} has the id {} by {}, but the model's embedding has {} rows by "
                  "{} ({})",
                  where, quoted_text(token), *found, file_of(model, token).string(), rows,
                  (model / "config.json").string(), kKey),
      "leave the token out, or take tokenizer and weights of one and the same model");
}

std::optional<std::int64_t> said_embedding_rows(const std::filesystem::path& model) {
  const std::filesystem::path file = model / "config.json";
  if (!is_there(file)) return std::nullopt;
  const nlohmann::json rows = JsonObject::load(file).raw(kKey);
  if (!rows.is_number_integer() || rows.get<std::int64_t>() < 1) return std::nullopt;
  return rows.get<std::int64_t>();
}

}  // namespace spd
