#include "model/tokenizer/normalizer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/tokenizer/pattern.h"
#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

class UnicodeForm final : public Normalizer {
 public:
  // `untouched_below`: lead bytes below this one belong to characters that the form leaves alone.
  UnicodeForm(int options, unsigned char untouched_below)
      : options_(static_cast<utf8proc_option_t>(options)), untouched_below_(untouched_below) {}

  void apply_within(std::string& text, std::size_t /*most*/) const override {
    const bool untouched = std::all_of(text.begin(), text.end(), [this](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte < untouched_below_;
    });
    if (untouched) return;
    utf8proc_uint8_t* mapped = nullptr;
    const utf8proc_ssize_t length =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                     static_cast<utf8proc_ssize_t>(text.size()), &mapped, options_);
    if (length < 0) {
      throw Error(ErrorCode::system, fmt::format("normalising a text of {} bytes: {}", text.size(),
                                                 utf8proc_errmsg(length)));
    }
    text.assign(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(length));
    std::free(mapped);
  }

 private:
  utf8proc_option_t options_;
  unsigned char untouched_below_;
};

class Lowercase final : public Normalizer {
 public:
  void apply_within(std::string& text, std::size_t /*most*/) const override {
    std::string lower;
    lower.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint c = code_point_at(text, at);
      at += c.bytes;
      if (c.value == kDottedCapitalI) {
        lower += "i\xCC\x87";  // the one character whose lower case is two
      } else {
        const auto mapped = utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value));
        append_utf8(lower, static_cast<char32_t>(mapped));
      }
    }
    text = std::move(lower);
  }

 private:
  static constexpr char32_t kDottedCapitalI = 0x130;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply_within(std::string& text, std::size_t /*most*/) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply_within(std::string& text, std::size_t most) const override {
    text = pattern_.replaced(text, content_, most);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply_within(std::string& text, std::size_t /*most*/) const override {
    std::size_t end = text.size();
    while (right_ && end > 0) {
      const std::size_t at = code_point_before(text, end);
      if (!is_space(code_point_at(text, at).value)) break;
      end = at;
    }
    std::size_t begin = 0;
    while (left_ && begin < end) {
      const CodePoint c = code_point_at(text, begin);
      if (!is_space(c.value)) break;
      begin += c.bytes;
    }
    text = text.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> parts)
      : parts_(std::move(parts)) {}
  void apply_within(std::string& text, std::size_t most) const override {
    for (const auto& part : parts_) {
      part->apply_within(text, most);
      refuse_growth(text.size(), most);
    }
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonComponent& spec) {
  // Characters below U+0300 (lead bytes below CC) compose with nothing before them, those below
  // U+0080 also do not decompose.
  constexpr unsigned char kAscii = 0x80;
  constexpr unsigned char kBelowMarks = 0xCC;
  const std::string type = spec.type();
  if (type == "NFC") {
    return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_COMPOSE, kBelowMarks);
  }
  if (type == "NFD") {
    return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, kAscii);
  }
  if (type == "NFKC") {
    return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                                         kAscii);
  }
  if (type == "NFKD") {
    return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
                                         kAscii);
  }
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Prepend") return std::make_unique<Prepend>(spec.string("prepend"));
  if (type == "Replace") {
    return std::make_unique<Replace>(Pattern(spec), spec.string("content"));
  }
  if (type == "Strip") {
    return std::make_unique<Strip>(spec.boolean_or("strip_left", true),
                                   spec.boolean_or("strip_right", true));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> parts;
    for (const JsonComponent& part : spec.objects("normalizers")) {
      parts.push_back(make_normalizer(part));
    }
    return std::make_unique<NormalizerSequence>(std::move(parts));
  }
  spec.not_supported("normalizer");
}

}  // namespace spd
