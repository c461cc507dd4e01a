// FNV-1a, 64 bits: identities of configurations and files. Against mistakes, not against malice.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace spd {

class Fnv1a {
 public:
  void add(std::string_view bytes) {
    for (const char c : bytes) {
      hash_ ^= static_cast<unsigned char>(c);
      hash_ *= kPrime;
    }
  }
  /// 16 hexadecimal digits.
  std::string hex() const { return fmt::format("{:016x}", hash_); }

 private:
  static constexpr std::uint64_t kPrime = 0x100000001b3;
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

inline std::string hash_text(std::string_view text) {
  Fnv1a hash;
  hash.add(text);
  return hash.hex();
}

/// Of token ids, as they lie in memory.
inline std::string hash_ids(std::span<const std::int32_t> ids) {
  return hash_text({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()});
}

}  // namespace spd
