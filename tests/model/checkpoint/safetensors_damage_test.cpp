// Thousands of damaged safetensors files: each loads or is refused, nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "model/checkpoint/safetensors.h"
#include "tests/model/checkpoint/good_safetensors.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::string damage(const std::string& good) {
    std::string text = good;
    for (std::size_t n = 1 + below(3); n-- > 0;) {
      if (text.size() < 16) break;
      switch (below(7)) {
        case 0:
          text[below(text.size())] ^= static_cast<char>(1 << below(8));
          break;
        case 1:
          text[below(text.size())] = static_cast<char>(below(256));
          break;
        case 2:
          text.erase(below(text.size()), 1 + below(16));
          break;
        case 3:
          text.insert(below(text.size()),
                      std::string(1 + below(16), static_cast<char>(below(256))));
          break;
        case 4:
          text.insert(below(text.size()), text.substr(below(text.size()), 1 + below(40)));
          break;
        case 5:
          text.resize(below(text.size()));
          break;
        default:
          replace_number(text);
      }
    }
    return text;
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }

  /// Puts another number into the header and keeps the header's length true, so that the damage
  /// gets past the first checks.
  void replace_number(std::string& text) {
    static constexpr const char* kNumbers[] = {"0",
                                               "1",
                                               "2",
                                               "23",
                                               "24",
                                               "25",
                                               "46",
                                               "47",
                                               "4294967296",
                                               "9223372036854775807",
                                               "-1",
                                               "1e30",
                                               "1.5",
                                               "[]",
                                               "{}",
                                               "18446744073709551615",
                                               "18446744073709551616",
                                               "\"1\""};
    const std::size_t end = text.rfind('}');
    if (end == std::string::npos || end < 16) return;
    std::size_t at = 8 + below(end - 8);
    while (at < end && (text[at] < '0' || text[at] > '9')) ++at;
    std::size_t stop = at;
    while (stop < end && text[stop] >= '0' && text[stop] <= '9') ++stop;
    if (at == stop) return;
    const std::size_t before = text.size();
    text.replace(at, stop - at, kNumbers[below(std::size(kNumbers))]);
    std::uint64_t header = 0;
    for (std::size_t i = 8; i-- > 0;) header = header << 8 | static_cast<unsigned char>(text[i]);
    text.replace(0, 8, length_prefix(header + text.size() - before));
  }

  std::mt19937_64 random_;
};

TEST(Safetensors, DamagedFilesLoadOrAreRefused) {
  constexpr int kFiles = 4000;
  const TempDir dir;
  const std::string good = good_file();
  Mutator mutator(20250101);
  int loaded = 0;
  for (int i = 0; i < kFiles; ++i) {
    const std::string text = mutator.damage(good);
    const auto path = dir.write("damaged.safetensors", text);
    try {
      const SafetensorsFile file(path);
      ++loaded;
      std::size_t total = 0;
      unsigned sum = 0;
      for (const std::string& name : file.names()) {
        try {
          const TensorEntry& entry = file.at(name);
          std::size_t expected = size_of(entry.dtype);
          for (const std::int64_t dimension : entry.shape) {
            expected *= static_cast<std::size_t>(dimension);
          }
          ASSERT_EQ(entry.bytes, expected);
          for (std::size_t b = 0; b < entry.bytes; ++b) {
            sum += std::to_integer<unsigned>(entry.data[b]);  // faults if it is not mapped
          }
          total += entry.bytes;
        } catch (const Error& error) {
          ASSERT_EQ(error.code(), ErrorCode::input);
        }
      }
      ASSERT_LE(total, text.size());
      ASSERT_LE(sum, 255 * text.size());
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::input) << error.what();
      ASSERT_THAT(error.what(), testing::HasSubstr(path.string()));
    }
  }
  // Damage to the data alone goes unnoticed (there is no checksum); most of it hits the header.
  EXPECT_GT(loaded, kFiles / 100);
  EXPECT_LT(loaded, kFiles / 2);
}

}  // namespace
}  // namespace spd
