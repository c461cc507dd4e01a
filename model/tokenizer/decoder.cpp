#include "model/tokenizer/decoder.h"

#include <charconv>
#include <numeric>
#include <optional>
#include <utility>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/pattern.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

void fuse(std::vector<std::string>& tokens) {
  const std::string text = std::accumulate(tokens.begin(), tokens.end(), std::string(),
                                           [](std::string all, const std::string& token) {
                                             all += token;
                                             return all;
                                           });
  tokens.assign(1, text);
}

class ByteLevelDecoder final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    // An added token may have characters that stand for no byte: it is text as it is.
    for (std::string& token : tokens) {
      if (std::optional<std::string> bytes = bytes_of_byte_level(token)) token = std::move(*bytes);
    }
    fuse(tokens);
    tokens.front() = replace_invalid_utf8(tokens.front());
  }
};

// A run of <0xHH> tokens is text where it is valid UTF-8, and else U+FFFD for every byte.
class ByteFallbackDecoder final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> decoded;
    decoded.reserve(tokens.size());
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (replace_invalid_utf8(bytes) == bytes) {
        decoded.push_back(bytes);
      } else {
        decoded.insert(decoded.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const std::optional<char> byte = byte_of(token)) {
        bytes.push_back(*byte);
        continue;
      }
      flush();
      decoded.push_back(std::move(token));
    }
    flush();
    tokens = std::move(decoded);
  }

 private:
  static std::optional<char> byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
    unsigned value = 0;
    const char* end = token.data() + 5;
    const auto [stop, error] = std::from_chars(token.data() + 3, end, value, 16);
    if (error != std::errc() || stop != end) return std::nullopt;
    return static_cast<char>(value);
  }
};

class FuseDecoder final : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override { fuse(tokens); }
};

class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(std::string mark, PrependScheme scheme)
      : mark_(std::move(mark)), scheme_(scheme) {}

  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const bool drop = i == 0 && scheme_ != PrependScheme::never;
      std::string text;
      for (std::size_t at = 0; at < tokens[i].size();) {
        if (tokens[i].compare(at, mark_.size(), mark_) == 0) {
          if (!drop) text += ' ';
          at += mark_.size();
        } else {
          text += tokens[i][at++];
        }
      }
      tokens[i] = std::move(text);
    }
  }

 private:
  std::string mark_;
  PrependScheme scheme_;
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) token = pattern_.replaced(token, content_);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

// Up to `start` times `content` at the beginning of each token, up to `stop` times at its end.
class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, std::int64_t start, std::int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}

  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view text = token;
      for (std::int64_t i = 0; i < start_ && text.starts_with(content_); ++i) {
        text.remove_prefix(content_.size());
      }
      for (std::int64_t i = 0; i < stop_ && text.ends_with(content_); ++i) {
        text.remove_suffix(content_.size());
      }
      token = std::string(text);
    }
  }

 private:
  std::string content_;
  std::int64_t start_, stop_;
};

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> parts)
      : parts_(std::move(parts)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

std::string required_text(const JsonComponent& spec, const std::string& key) {
  std::string text = spec.string(key);
  if (text.empty()) spec.fail("\"" + key + "\" should not be empty");
  return text;
}

}  // namespace

std::unique_ptr<Decoder> make_decoder(const JsonComponent& spec) {
  const std::string type = spec.type();
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Metaspace") {
    return std::make_unique<MetaspaceDecoder>(required_text(spec, "replacement"),
                                              parse_prepend_scheme(spec));
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceDecoder>(Pattern(spec), spec.string("content"));
  }
  if (type == "Strip") {
    return std::make_unique<StripDecoder>(required_text(spec, "content"), spec.integer("start"),
                                          spec.integer("stop"));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Decoder>> parts;
    for (const JsonComponent& part : spec.objects("decoders")) parts.push_back(make_decoder(part));
    return std::make_unique<DecoderSequence>(std::move(parts));
  }
  spec.not_supported("decoder");
}

std::unique_ptr<Decoder> make_sentencepiece_decoder(bool strip_space) {
  const nlohmann::json spec = {
      {"decoders",
       {{{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}},
        {{"type", "ByteFallback"}},
        {{"type", "Fuse"}},
        {{"type", "Strip"}, {"content", " "}, {"start", strip_space ? 1 : 0}, {"stop", 0}}}},
      {"type", "Sequence"}};
  return make_decoder(JsonComponent("SentencePiece decoder", spec));
}

}  // namespace spd
