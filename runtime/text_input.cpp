#include "runtime/text_input.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "kernels/device/error.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/user_input.h"

namespace spd {
namespace {

std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot read the text", file.string()),
                "check --text");
  }
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

}  // namespace

std::vector<std::int32_t> read_token_ids(const RankContext& context,
                                         const std::filesystem::path& model,
                                         const std::filesystem::path& text) {
  std::vector<std::int32_t> tokens;
  agree(context.comms, "reading the text", [&] {
    // In a thread of its own: a long text takes long, and the ranks meet meanwhile.
    tokens = read_on_root<std::vector<std::int32_t>>(context.comms, [model, text] {
      return Tokenizer::load(model)->encode(read_text(text), false);
    });
    if (!context.root()) return;
    if (tokens.size() < 2) {
      throw Error(ErrorCode::input, fmt::format("{}: fewer than two tokens", text.string()));
    }
  });
  return broadcast_ids(context.comms, std::move(tokens));
}

}  // namespace spd
