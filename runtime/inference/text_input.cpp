#include "runtime/inference/text_input.h"

#include <fmt/format.h>

#include <string_view>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/config.h"
#include "model/input_file.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/inference/embedding_rows.h"
#include "runtime/job/user_input.h"

namespace spd {
namespace {

std::string read_text(const std::filesystem::path& file) {
  ReadLimits limits;
  std::error_code error;
  constexpr std::uint64_t kLongest = std::uint64_t{4} << 30;
  // A device may never end; a file of text that long was meant.
  if (std::filesystem::is_regular_file(file, error)) limits.most_bytes = kLongest;
  std::string text = file == "-" ? read_stdin(kLongest) : read_file(file, limits, "check --text");
  text.erase(0, text.size() - without_bom(text).size());
  if (const std::size_t zero = text.find('\0'); zero != std::string::npos) {
    throw Error(ErrorCode::input,
                fmt::format("{}: byte {} is zero: this is no UTF-8 text", file.string(), zero),
                "save it as UTF-8");
  }
  return text;
}

}  // namespace

std::vector<std::int32_t> read_token_ids(const RankContext& context,
                                         const std::filesystem::path& model,
                                         const std::filesystem::path& text) {
  std::vector<std::int32_t> tokens;
  agree(context.comms, "reading the text", [&] {
    // In a thread of its own: a long text takes long, and the ranks meet meanwhile.
    tokens = read_on_root<std::vector<std::int32_t>>(context.comms, [model, text] {
      const auto tokenizer = Tokenizer::load(model);
      const std::int64_t rows = ModelConfig::load(model).vocab;
      auto ids = tokenizer->encode(read_text(text), false);
      check_embedding_rows(ids, rows, *tokenizer, model, text.string());
      return ids;
    });
    if (!context.root()) return;
    if (tokens.size() < 2) {
      throw Error(
          ErrorCode::input,
          fmt::format("{}: {}: the first token of a text is not scored, so that two are the "
                      "least",
                      text.string(), tokens.empty() ? "has no tokens" : "is one token"),
          "give a longer text");
    }
  });
  return broadcast_ids(context.comms, std::move(tokens));
}

}  // namespace spd
