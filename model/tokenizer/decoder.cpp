#include "model/tokenizer/decoder.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <tuple>
#include <utility>

#include "kernels/device/utf8.h"
#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/pattern.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace spd {
namespace {

using Parts = std::vector<TokenPart>;

// The streams of decoders that look at whole tokens.
class WholeTokens : public Decoder::Stream {
 public:
  void push(TokenPart part, Parts& out) final {
    if (!part.ends) {
      begun_ += part.text;
      return;
    }
    if (begun_.empty()) {
      token(std::move(part.text), out);
    } else {
      token(std::exchange(begun_, {}) + part.text, out);
    }
  }
  void finish(Parts& out) override { (void)out; }
  void drop_held() override { begun_.clear(); }

 protected:
  virtual void token(std::string text, Parts& out) = 0;

 private:
  std::string begun_;  // parts of a token that has not ended
};

// A decoder that is no more than what its streams are made from.
template <class StreamOfOne, class... Settings>
class DecoderOf final : public Decoder {
 public:
  explicit DecoderOf(Settings... settings) : settings_(std::move(settings)...) {}
  std::unique_ptr<Stream> stream() const override {
    return std::apply(
        [](const Settings&... settings) { return std::make_unique<StreamOfOne>(settings...); },
        settings_);
  }

 private:
  std::tuple<Settings...> settings_;
};

class ByteLevelStream final : public WholeTokens {
 public:
  void finish(Parts& out) override { out.push_back({replace_invalid_utf8(held_), true}); }
  void drop_held() override {
    WholeTokens::drop_held();
    held_.clear();
  }

 private:
  void token(std::string text, Parts& out) override {
    // An added token may have characters that stand for no byte: it is text as it is.
    std::optional<std::string> bytes = bytes_of_byte_level(text);
    if (held_.empty()) {
      held_ = bytes ? std::move(*bytes) : std::move(text);
    } else {
      held_ += bytes ? *bytes : text;
    }
    const std::size_t whole = whole_characters(held_);
    if (whole == 0) return;
    if (whole == held_.size() && is_ascii(held_)) {
      out.push_back({std::exchange(held_, {}), false});
      return;
    }
    out.push_back({replace_invalid_utf8(std::string_view(held_).substr(0, whole)), false});
    held_.erase(0, whole);
  }
  std::string held_;  // the first bytes of a character
};

// A run of <0xHH> tokens is text where it is valid UTF-8, and else U+FFFD for every byte.
class ByteFallbackStream final : public WholeTokens {
 public:
  void finish(Parts& out) override {
    if (run_.empty()) return;
    if (replace_invalid_utf8(run_) == run_) {
      out.push_back({run_, true});
    } else {
      out.insert(out.end(), run_.size(), {"\xEF\xBF\xBD", true});
    }
    run_.clear();
  }
  void drop_held() override {
    WholeTokens::drop_held();
    run_.clear();
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
  void token(std::string text, Parts& out) override {
    if (const std::optional<char> byte = byte_of(text)) {
      run_.push_back(*byte);
      return;
    }
    finish(out);
    out.push_back({std::move(text), true});
  }
  std::string run_;
};

class FuseStream final : public Decoder::Stream {
 public:
  void push(TokenPart part, Parts& out) override { out.push_back({std::move(part.text), false}); }
  void finish(Parts& out) override { out.push_back({"", true}); }
};

class MetaspaceStream final : public WholeTokens {
 public:
  MetaspaceStream(const std::string& mark, PrependScheme scheme)
      : mark_(mark), drop_(scheme != PrependScheme::never) {}

 private:
  void token(std::string text, Parts& out) override {
    std::string spaced;
    for (std::size_t at = 0; at < text.size();) {
      if (text.compare(at, mark_.size(), mark_) == 0) {
        if (!drop_) spaced += ' ';
        at += mark_.size();
      } else {
        spaced += text[at++];
      }
    }
    drop_ = false;
    out.push_back({std::move(spaced), true});
  }
  const std::string& mark_;
  bool drop_;  // the marks of the first token go
};

// What a token, or a text that was joined before, may grow to.
constexpr std::size_t kMostReplaced = std::size_t{16} << 20;

class ReplaceStream final : public WholeTokens {
 public:
  ReplaceStream(const Pattern& pattern, const std::string& content)
      : pattern_(pattern), content_(content) {}

 private:
  void token(std::string text, Parts& out) override {
    out.push_back({pattern_.replaced(text, content_, std::max(text.size(), kMostReplaced)), true});
  }
  const Pattern& pattern_;
  const std::string& content_;
};

// Up to `start` times `content` at the beginning of each token, up to `stop` times at its end. The
// token may be the whole text, which comes in parts: held is what its end may yet strip.
class StripStream final : public Decoder::Stream {
 public:
  StripStream(const std::string& content, std::int64_t start, std::int64_t stop)
      : content_(content), start_(start), stop_(stop), to_strip_(start) {}

  void push(TokenPart part, Parts& out) override {
    held_ += part.text;
    if (to_strip_ > 0) strip_start(part.ends);
    if (!part.ends) {
      give_sure_part(out);
      return;
    }
    for (std::int64_t i = 0; i < stop_ && held_.ends_with(content_); ++i) {
      held_.resize(held_.size() - content_.size());
    }
    out.push_back({std::exchange(held_, {}), true});
    to_strip_ = start_;
  }
  void finish(Parts& out) override { (void)out; }
  void drop_held() override { held_.clear(); }

 private:
  void strip_start(bool ends) {
    std::size_t stripped = 0;
    const std::string_view held = held_;
    for (; to_strip_ > 0 && held.substr(stripped).starts_with(content_); --to_strip_) {
      stripped += content_.size();
    }
    if (ends || !std::string_view(content_).starts_with(held.substr(stripped))) to_strip_ = 0;
    held_.erase(0, stripped);
  }
  void give_sure_part(Parts& out) {
    if (to_strip_ > 0) return;
    const auto most = static_cast<std::uint64_t>(std::max<std::int64_t>(stop_, 0));
    if (most > held_.size() / content_.size()) return;
    std::size_t sure = held_.size() - static_cast<std::size_t>(most) * content_.size();
    while (sure > 0 && sure < held_.size() && is_continuation(held_[sure])) --sure;
    if (sure == 0) return;
    out.push_back({held_.substr(0, sure), false});
    held_.erase(0, sure);
  }
  const std::string& content_;
  const std::int64_t start_, stop_;
  std::int64_t to_strip_;  // how many more times at the beginning of this token
  std::string held_;
};

class JoiningStream final : public WholeTokens {
 private:
  void token(std::string text, Parts& out) override {
    if (!std::exchange(first_, false)) text.insert(0, 1, ' ');
    out.push_back({std::move(text), true});
  }
  bool first_ = true;
};

class SequenceStream final : public Decoder::Stream {
 public:
  explicit SequenceStream(const std::vector<std::unique_ptr<Decoder>>& decoders) {
    for (const auto& decoder : decoders) steps_.push_back(decoder->stream());
  }
  void push(TokenPart part, Parts& out) override {
    Parts parts(1);
    parts.front() = std::move(part);
    pass_on(0, std::move(parts), out);
  }
  void finish(Parts& out) override {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      Parts held;
      steps_[i]->finish(held);
      pass_on(i + 1, std::move(held), out);
    }
  }
  void drop_held() override {
    for (const auto& step : steps_) step->drop_held();
  }

 private:
  void pass_on(std::size_t step, Parts parts, Parts& out) {
    for (; step < steps_.size() && !parts.empty(); ++step) {
      Parts next;
      for (TokenPart& part : parts) steps_[step]->push(std::move(part), next);
      parts = std::move(next);
    }
    std::move(parts.begin(), parts.end(), std::back_inserter(out));
  }
  std::vector<std::unique_ptr<Decoder::Stream>> steps_;
};

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> parts)
      : parts_(std::move(parts)) {}
  std::unique_ptr<Stream> stream() const override {
    return std::make_unique<SequenceStream>(parts_);
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

void Decoder::apply(std::vector<std::string>& tokens) const {
  const std::unique_ptr<Stream> decoding = stream();
  Parts parts;
  for (std::string& token : tokens) decoding->push({std::move(token), true}, parts);
  decoding->finish(parts);
  tokens.clear();
  bool begins = true;
  for (TokenPart& part : parts) {
    if (begins) {
      tokens.push_back(std::move(part.text));
    } else {
      tokens.back() += part.text;
    }
    begins = part.ends;
  }
}

std::unique_ptr<Decoder> make_joining_decoder() {
  return std::make_unique<DecoderOf<JoiningStream>>();
}

std::unique_ptr<Decoder> make_decoder(const JsonComponent& spec) {
  const std::string type = spec.type();
  if (type == "ByteLevel") return std::make_unique<DecoderOf<ByteLevelStream>>();
  if (type == "ByteFallback") return std::make_unique<DecoderOf<ByteFallbackStream>>();
  if (type == "Fuse") return std::make_unique<DecoderOf<FuseStream>>();
  if (type == "Metaspace") {
    return std::make_unique<DecoderOf<MetaspaceStream, std::string, PrependScheme>>(
        required_text(spec, "replacement"), parse_prepend_scheme(spec));
  }
  if (type == "Replace") {
    return std::make_unique<DecoderOf<ReplaceStream, Pattern, std::string>>(Pattern(spec),
                                                                            spec.string("content"));
  }
  if (type == "Strip") {
    return std::make_unique<DecoderOf<StripStream, std::string, std::int64_t, std::int64_t>>(
        required_text(spec, "content"), spec.integer("start"), spec.integer("stop"));
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
