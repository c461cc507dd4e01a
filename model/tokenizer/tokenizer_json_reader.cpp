#include "model/tokenizer/tokenizer_json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/device/error.h"
#include "model/input_file.h"
#include "model/json_text.h"
#include "model/tokenizer/file_kind.h"

namespace spd {
namespace {

using nlohmann::json;

// Receives the parser's events. The library's own ways to leave parts out look through a list's
// elements at the end of each: with 65,536 added tokens that took seconds.
class Handler : public nlohmann::json_sax<json> {
 public:
  Handler(std::string file, std::string_view text) : file_(std::move(file)), text_(text) {}
  TokenizerDocument take() { return std::move(document_); }

  bool null() override { return value(nullptr); }
  bool boolean(bool b) override { return value(b); }
  bool number_integer(number_integer_t n) override { return integer(n, n); }
  bool number_unsigned(number_unsigned_t n) override {
    constexpr number_unsigned_t kMost = std::numeric_limits<std::int64_t>::max();
    return integer(n, static_cast<std::int64_t>(std::min(n, kMost)));
  }
  bool number_float(number_float_t n, const string_t& /*as written*/) override { return value(n); }
  bool string(string_t& s) override {
    if (in_merges()) {
      if (open_.size() == 3) {
        add_merge(s);
      } else {
        pair_.push_back(std::move(s));
      }
      return true;
    }
    return value(std::move(s));
  }
  bool binary(binary_t& /*only in binary formats*/) override { return false; }

  bool start_object(std::size_t /*unknown*/) override { return start(json::object()); }
  bool start_array(std::size_t /*unknown*/) override { return start(json::array()); }
  bool end_object() override { return end(); }
  bool end_array() override {
    // ["a", "b"] within the list of merges.
    if (in_merges() && open_.size() == 4) add_pair();
    return end();
  }
  bool key(string_t& name) override {
    Open& object = open_.back();
    object.key = std::move(name);
    if (in_vocabulary()) return true;  // Vocabulary looks for tokens that come twice
    if (object.node != nullptr && object.node->contains(object.key)) {
      fail(fmt::format("key {} comes twice", quoted_text(object.key)));
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& error) override {
    fail(json_problem(text_, position, error));
  }

 private:
  static constexpr std::size_t kMaxDepth = 64;

  // An object or list whose end has not come. `node`: what it becomes; null: it is taken apart.
  struct Open {
    json* node;
    std::string key;
  };

  bool in_model(std::string_view part) const {
    return open_.size() >= 3 && open_[0].key == "model" && open_[1].key == part;
  }
  bool in_vocabulary() const { return open_.size() == 3 && in_model("vocab"); }
  bool in_merges() const { return in_model("merges"); }

  bool start(json container) {
    if (open_.size() >= kMaxDepth) fail("is nested too deeply");
    // Before it is open: whether it is model.vocab or model.merges, or lies within.
    const bool apart = open_.size() >= 2 && open_[0].key == "model" &&
                       (open_[1].key == "vocab" || open_[1].key == "merges");
    if (apart) {
      const bool vocabulary = open_[1].key == "vocab";
      if (vocabulary && (open_.size() > 2 || !container.is_object())) {
        // A list is what other models have here; their type is refused later.
        problem("model.vocab: should be an object of tokens and ids");
      }
      if (!vocabulary && (open_.size() > 3 || !container.is_array())) {
        problem("model.merges: should be a list of merges");
      }
      pair_.clear();
      open_.push_back({nullptr, ""});
      return true;
    }
    open_.push_back({add(std::move(container)), ""});
    return true;
  }

  bool end() {
    open_.pop_back();
    return true;
  }

  // Puts a value into the object or list that is open.
  json* add(json value) {
    if (open_.empty()) return &(document_.rest = std::move(value));
    json* container = open_.back().node;
    if (container->is_array()) return &container->emplace_back(std::move(value));
    return &((*container)[open_.back().key] = std::move(value));
  }

  bool value(json value) {
    if (in_vocabulary()) {
      problem(fmt::format("model.vocab: ids should be integers, found {} for {}", shown_json(value),
                          quoted_text(open_.back().key)));
    } else if (in_merges()) {
      problem(fmt::format("model.merges: entry {} should be two tokens, found {}",
                          document_.merges.size(), shown_json(value)));
    } else if (open_.empty() || open_.back().node != nullptr) {
      add(std::move(value));
    }
    return true;
  }

  bool integer(json number, std::int64_t id) {
    if (!in_vocabulary()) return value(std::move(number));
    try {
      document_.vocabulary.add(open_.back().key, id);
    } catch (const Error& error) {
      problem("model.vocab: " + error.message());
    }
    return true;
  }

  void add_merge(const std::string& text) {
    const std::size_t space = text.find(' ');
    if (text.starts_with("#version")) return;
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      problem(fmt::format("model.merges: entry {} should be two tokens with one space between",
                          document_.merges.size()));
      return;
    }
    document_.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }

  void add_pair() {
    if (pair_.size() == 2) {
      document_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
    } else {
      problem(fmt::format("model.merges: entry {} should be two tokens", document_.merges.size()));
    }
    pair_.clear();
  }

  void problem(std::string text) {
    if (!document_.problem) document_.problem = std::move(text);
  }

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::input, fmt::format("{}: {}", file_, problem), "fetch the file again");
  }

  std::string file_;
  std::string_view text_;
  TokenizerDocument document_;
  std::vector<Open> open_;
  std::vector<std::string> pair_;  // of the merge that is being read
};

}  // namespace

TokenizerDocument read_tokenizer_json(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  refuse_other_kinds(file, text, "the tokenizer.json of the model");
  Handler handler(file.string(), text);
  json::sax_parse(text, &handler);
  return handler.take();
}

}  // namespace spd
