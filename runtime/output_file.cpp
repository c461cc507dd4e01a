#include "runtime/output_file.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"

namespace spd {

void write_text_file(const char* flag, const std::filesystem::path& file, const std::string& text) {
  const std::filesystem::path partial = file.string() + ".part";
  std::ofstream stream(partial);
  stream << text;
  stream.close();
  std::error_code error;
  if (stream) std::filesystem::rename(partial, file, error);
  if (!stream || error) {
    throw Error(ErrorCode::system, fmt::format("{} {}: cannot write the file", flag, file.string()),
                "check that the folder exists and has space");
  }
}

void write_json_file(const char* flag, const std::filesystem::path& file,
                     const nlohmann::json& json) {
  write_text_file(flag, file, json.dump(2) + '\n');
}

}  // namespace spd
