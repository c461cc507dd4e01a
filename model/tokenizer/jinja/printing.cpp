#include "model/tokenizer/jinja/printing.h"

#include <array>
#include <cstdio>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/real.h"

namespace spd::jinja {
namespace {

std::string escaped(char32_t c) {
  std::array<char, 16> buffer{};
  const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(buffer.data(), buffer.size(), format, static_cast<unsigned>(c));
  return buffer.data();
}

void append_repr(Rendering& rendering, std::string& text, const Value& value);

void append_items(Rendering& rendering, std::string& text, const std::vector<Value>& items) {
  const char* separator = "";
  for (const Value& item : items) {
    text += separator;
    separator = ", ";
    append_repr(rendering, text, item);
  }
}

void append_sequence(Rendering& rendering, std::string& text, const Sequence& sequence) {
  const bool is_list = sequence.kind == Sequence::Kind::list;
  text += is_list ? '[' : '(';
  append_items(rendering, text, sequence.items);
  if (!is_list && sequence.items.size() == 1) text += ',';
  text += is_list ? ']' : ')';
}

void append_dict(Rendering& rendering, std::string& text, const Dict& dict) {
  text += '{';
  const char* separator = "";
  for (const auto& [key, value] : dict.items) {
    text += separator;
    separator = ", ";
    append_repr(rendering, text, key);
    text += ": ";
    append_repr(rendering, text, value);
  }
  text += '}';
}

void append_repr(Rendering& rendering, std::string& text, const Value& value) {
  const Level one_more = rendering.level();
  rendering.step();
  rendering.check_size(text.size());
  if (const Text* held = value.text()) {
    rendering.touch(held->bytes.size());
    text +=
        held->markup ? "Markup(" + python_quoted(held->bytes) + ")" : python_quoted(held->bytes);
  } else if (const Sequence* sequence = value.sequence()) {
    append_sequence(rendering, text, *sequence);
  } else if (const Dict* dict = value.dict()) {
    append_dict(rendering, text, *dict);
  } else if (const Object* object = value.object()) {
    text += object->repr(rendering);
  } else if (value.undefined() != nullptr) {
    text += "Undefined";
  } else {
    text += to_str(rendering, value);
  }
}

}  // namespace

std::string to_str(Rendering& rendering, const Value& value) {
  if (value.undefined() != nullptr || value.is_missing()) return {};
  if (const Text* text = value.text()) return text->bytes;
  if (value.is_none()) return "None";
  if (const bool* boolean = value.boolean()) return *boolean ? "True" : "False";
  if (value.is_integer()) return to_decimal(rendering, value);
  if (const double* real = value.real()) return real_repr(*real);
  return to_repr(rendering, value);
}

std::string to_repr(Rendering& rendering, const Value& value) {
  std::string text;
  append_repr(rendering, text, value);
  return text;
}

std::string python_quoted(std::string_view text, bool ascii_only) {
  const bool has_single = text.find('\'') != text.npos;
  const char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  std::string result(1, quote);
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (c.value == static_cast<char32_t>(quote) || c.value == '\\') {
      result += '\\';
      result += static_cast<char>(c.value);
    } else if (c.value == '\n') {
      result += "\\n";
    } else if (c.value == '\r') {
      result += "\\r";
    } else if (c.value == '\t') {
      result += "\\t";
    } else if (!is_printable(c.value) || (ascii_only && c.value > 0x7e)) {
      result += escaped(c.value);
    } else {
      result += text.substr(at, c.bytes);
    }
    at += c.bytes;
  }
  result += quote;
  return result;
}

}  // namespace spd::jinja
