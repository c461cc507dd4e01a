// json.dumps() of a template's value.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/real.h"

namespace spd::jinja {
namespace {

class Writer {
 public:
  Writer(Rendering& rendering, const JsonStyle& style) : rendering_(rendering), style_(style) {}

  void value(const Value& value) {
    const Level one_more = rendering_.level();
    rendering_.step();
    rendering_.check_size(text_.size());
    if (const Text* text = value.text()) {
      string(text->bytes);
    } else if (const Sequence* sequence = value.sequence()) {
      array(sequence->items);
    } else if (const Dict* dict = value.dict()) {
      object(*dict);
    } else if (const auto plain = scalar(value)) {
      text_ += *plain;
    } else {
      fail("Object of type " + type_name(value) + " is not JSON serializable");
    }
  }

  std::string take() { return std::move(text_); }

 private:
  std::optional<std::string> scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (const bool* boolean = value.boolean()) return *boolean ? "true" : "false";
    if (value.is_integer()) return to_decimal(rendering_, value);
    if (const double* real = value.real()) {
      if (std::isnan(*real)) return "NaN";
      if (std::isinf(*real)) return *real > 0 ? "Infinity" : "-Infinity";
      return real_repr(*real);
    }
    return std::nullopt;
  }

  void unit(unsigned value) {
    std::array<char, 16> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "\\u%04x", value);
    text_ += buffer.data();
  }

  void string(std::string_view text) {
    rendering_.touch(text.size());
    text_ += '"';
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint c = code_point_at(text, at);
      character(c.value, text.substr(at, c.bytes));
      at += c.bytes;
    }
    text_ += '"';
  }

  void character(char32_t c, std::string_view bytes) {
    constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
    constexpr std::string_view kLetters = "\"\\bfnrt";
    const std::size_t at = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : kEscaped.npos;
    if (at != kEscaped.npos) {
      text_ += '\\';
      text_ += kLetters[at];
    } else if (c < 0x20 || (style_.ascii_only && c > 0x7e && c < 0x10000)) {
      unit(static_cast<unsigned>(c));
    } else if (style_.ascii_only && c >= 0x10000) {
      unit(0xd800 + static_cast<unsigned>((c - 0x10000) >> 10));
      unit(0xdc00 + static_cast<unsigned>((c - 0x10000) & 0x3ff));
    } else {
      text_ += bytes;
    }
  }

  void line() {
    if (!style_.indent) return;
    const std::size_t size = style_.indent->size() * depth_;
    rendering_.touch(size);
    rendering_.check_size(text_.size() + size);
    text_ += '\n';
    for (std::size_t level = 0; level < depth_; ++level) text_ += *style_.indent;
  }

  template <class Items, class Write>
  void between(char opening, char closing, const Items& items, Write write) {
    text_ += opening;
    ++depth_;
    bool first = true;
    for (const auto& item : items) {
      if (!first) text_ += style_.item_separator;
      first = false;
      line();
      write(item);
    }
    --depth_;
    if (!first) line();
    text_ += closing;
  }

  void array(const std::vector<Value>& items) {
    between('[', ']', items, [&](const Value& item) { value(item); });
  }

  void object(const Dict& dict) {
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(), [](const auto* left, const auto* right) {
        return less(left->first, right->first);
      });
    }
    between('{', '}', items, [&](const auto* item) {
      key(item->first);
      text_ += style_.key_separator;
      value(item->second);
    });
  }

  void key(const Value& key) {
    if (const Text* text = key.text()) return string(text->bytes);
    const auto plain = scalar(key);
    if (!plain) {
      fail("keys must be str, int, float, bool or None, not " + type_name(key));
    }
    string(*plain);
  }

  Rendering& rendering_;
  const JsonStyle& style_;
  std::string text_;
  std::size_t depth_ = 0;
};

}  // namespace

std::string to_json(Rendering& rendering, const Value& value, const JsonStyle& style) {
  Writer writer(rendering, style);
  writer.value(value);
  return writer.take();
}

}  // namespace spd::jinja
