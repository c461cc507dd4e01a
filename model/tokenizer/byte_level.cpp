#include "model/tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "kernels/device/utf8.h"

namespace spd {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr std::size_t kSubstitutes = 68;

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

struct Alphabet {
  std::array<char16_t, 256> character_of{};
  std::array<std::int16_t, kFirstSubstitute + kSubstitutes> byte_of{};  // -1: of none
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.byte_of) byte = -1;
  char16_t substitute = kFirstSubstitute;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char16_t character = stands_for_itself(byte) ? static_cast<char16_t>(byte) : substitute++;
    alphabet.character_of[byte] = character;
    alphabet.byte_of[character] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) {
    append_utf8(out, kAlphabet.character_of[static_cast<unsigned char>(byte)]);
  }
}

std::optional<std::string> bytes_of_byte_level(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    // Most of a text is ASCII: no call for that.
    const CodePoint c = lead < 0x80 ? CodePoint{lead, 1} : code_point_at(text, at);
    if (c.value >= kAlphabet.byte_of.size() || kAlphabet.byte_of[c.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte_of[c.value]));
    at += c.bytes;
  }
  return bytes;
}

}  // namespace spd
