// A small safetensors file with nothing wrong, for tests to read and to damage.
#pragma once

#include <string>
#include <string_view>

#include "tests/model/safetensors_text.h"

namespace spd {

// Four types, a scalar, an empty tensor; 8 + 304 bytes before the data, so everything is aligned.
inline constexpr std::string_view kGoodHeader =
    R"({"__metadata__":{"format":"pt"},)"
    R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b.weight":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]},)"
    R"("c":{"dtype":"F16","shape":[1,2,1],"data_offsets":[34,38]},)"
    R"("ids":{"dtype":"I64","shape":[],"data_offsets":[38,46]},)"
    R"("none":{"dtype":"F32","shape":[0,7],"data_offsets":[46,46]}})";
inline constexpr std::size_t kDataBytes = 46;

inline std::string padded_header() {
  std::string header(kGoodHeader);
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

inline std::string good_data() {
  std::string data(kDataBytes, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i + 1);
  return data;
}

inline std::string good_file() { return safetensors_text(padded_header(), good_data()); }

}  // namespace spd
