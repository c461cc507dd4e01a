#include "model/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/tokenizer/tokenizer_json.h"

namespace spd {

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& dir) {
  std::error_code ignored;
  if (std::filesystem::exists(dir / "tokenizer.json", ignored)) {
    return load_tokenizer_json(dir / "tokenizer.json");
  }
  throw Error(ErrorCode::input,
              fmt::format("{}: neither tokenizer.json nor tokenizer.model is there", dir.string()),
              "point --model at a Hugging Face model directory");
}

}  // namespace spd
