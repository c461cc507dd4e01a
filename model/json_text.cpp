#include "model/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/input_file.h"

namespace spd {
namespace {

constexpr std::size_t kMaxShown = 60;
constexpr std::size_t kMaxQuoted = 40;

/// The text's origin, as messages name it, and what to do about one that is damaged.
struct Source {
  std::string where;
  std::string remedy;
};

[[noreturn]] void refuse(const Source& source, const std::string& problem) {
  throw Error(
      ErrorCode::input, fmt::format("{}: {}", source.where, problem),
      source.remedy.empty() ? "mend the file, or replace it by an undamaged copy" : source.remedy);
}

/// A spelling that Python's json writes, and a JSON number of the same length.
struct NonFinite {
  std::string_view spelling;
  std::string_view stand_in;
  double value;
};
constexpr std::array kNonFinite{
    NonFinite{"NaN", "0.0", std::numeric_limits<double>::quiet_NaN()},
    NonFinite{"Infinity", "0.000000", std::numeric_limits<double>::infinity()},
    NonFinite{"-Infinity", "-0.000000", -std::numeric_limits<double>::infinity()},
};

/// A text in which stand-ins were put for numbers that JSON cannot say. Lengths are kept, so that
/// positions are the same in both.
struct StandIns {
  std::string text;
  std::vector<std::pair<std::size_t, double>> values;  // by which number of the text it is, from 0
};

bool begins_number(char c) { return c == '-' || (c >= '0' && c <= '9'); }
bool within_number(char c) {
  return begins_number(c) || c == '+' || c == '.' || c == 'e' || c == 'E';
}
bool separates(char c) { return std::string_view(" \t\r\n,:[]{}").find(c) != std::string::npos; }

/// The end of the string that begins at `at`, behind its quote.
std::size_t end_of_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

const NonFinite* non_finite_at(std::string_view text, std::size_t at) {
  if (at > 0 && !separates(text[at - 1])) return nullptr;
  for (const NonFinite& row : kNonFinite) {
    const std::size_t end = at + row.spelling.size();
    if (text.substr(at).starts_with(row.spelling) && (end >= text.size() || separates(text[end]))) {
      return &row;
    }
  }
  return nullptr;
}

/// Which number it is can be told by counting: in a text that turns out to be JSON, whatever begins
/// like a number outside of strings is one.
StandIns put_stand_ins(std::string_view text) {
  StandIns result{std::string(text), {}};
  std::size_t numbers = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '"') {
      at = end_of_string(text, at);
    } else if (const NonFinite* row = non_finite_at(text, at)) {
      result.text.replace(at, row->spelling.size(), row->stand_in);
      result.values.emplace_back(numbers++, row->value);
      at += row->spelling.size();
    } else if (begins_number(text[at])) {
      ++numbers;
      while (at < text.size() && within_number(text[at])) ++at;
    } else {
      ++at;
    }
  }
  return result;
}

struct Place {
  std::size_t line = 1;
  std::size_t column = 1;
};

/// Of the byte before `end`, the last one that was read.
Place place_before(std::string_view text, std::size_t end) {
  const std::string_view read = text.substr(0, std::max<std::size_t>(end, 1) - 1);
  const std::size_t line_start = read.rfind('\n');
  Place place;
  place.line += static_cast<std::size_t>(std::count(read.begin(), read.end(), '\n'));
  place.column += read.size() - (line_start == std::string_view::npos ? 0 : line_start + 1);
  return place;
}

/// The library's reason without its code, its position and the text that it quotes: a token of a
/// hostile file may be long, and need not be text.
std::string reason_of(const nlohmann::detail::exception& error) {
  std::string_view reason = error.what();
  reason = reason.substr(reason.find("] ") == std::string_view::npos ? 0 : reason.find("] ") + 2);
  if (reason.starts_with("number overflow")) return "a number too large for a double";
  if (const auto colon = reason.find(": ");
      reason.starts_with("parse error at") && colon != std::string_view::npos) {
    reason = reason.substr(colon + 2);
  }
  return std::string(reason.substr(0, std::min(reason.find("; last read"), kMaxShown * 2)));
}

/// Builds the value from the library's events, checking as it goes.
template <class Json>
class Builder {
 public:
  Builder(std::string_view text, const Source& source, int max_depth, const StandIns& stand_ins)
      : text_(text),
        source_(source),
        max_depth_(max_depth),
        next_(stand_ins.values.begin()),
        last_(stand_ins.values.end()) {}

  Json take() { return std::move(root_); }

  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(typename Json::number_integer_t value) { return number(value); }
  bool number_unsigned(typename Json::number_unsigned_t value) { return number(value); }
  bool number_float(typename Json::number_float_t value, const std::string&) {
    return number(value);
  }
  bool string(std::string& value) { return scalar(std::move(value)); }
  bool binary(typename Json::binary_t&) { return false; }  // text has none
  bool start_object(std::size_t) { return open(Json::value_t::object); }
  bool start_array(std::size_t) { return open(Json::value_t::array); }
  bool end_object() {
    if constexpr (kOrdered) keys_.pop_back();
    return close();
  }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    bool fresh = false;
    if constexpr (kOrdered) {
      // Ordered objects are lists: looking a key up in a vocabulary would take too long.
      fresh = keys_.back().insert(name).second;
      if (fresh)
        slot_ = &open_.back()
                     ->template get_ref<typename Json::object_t&>()
                     .emplace_back(name, nullptr)
                     .second;
    } else {
      auto& object = open_.back()->template get_ref<typename Json::object_t&>();
      const auto [place, inserted] = object.emplace(name, nullptr);
      fresh = inserted;
      slot_ = &place->second;
    }
    if (!fresh) refuse(source_, fmt::format("key {} comes twice", shown_json(name)));
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) {
    if (is_lfs_pointer(text_)) {
      throw Error(
          ErrorCode::input,
          fmt::format("{}: is a Git LFS pointer, not the file it stands for", source_.where),
          "fetch the content: git lfs pull, or download the file itself");
    }
    refuse(source_, json_problem(text_, position, error));
  }

 private:
  static constexpr bool kOrdered = std::is_same_v<Json, nlohmann::ordered_json>;

  template <class T>
  bool number(T value) {
    if (next_ != last_ && next_->first == numbers_++) return scalar((next_++)->second);
    return scalar(value);
  }

  template <class T>
  bool scalar(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }

  Json* place(Json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->template get_ref<typename Json::array_t&>();
      return &array.emplace_back(std::move(value));
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool open(typename Json::value_t type) {
    if (std::ssize(open_) >= max_depth_) {
      refuse(source_, fmt::format("nested deeper than {}", max_depth_));
    }
    open_.push_back(place(Json(type)));
    if constexpr (kOrdered) {
      if (type == Json::value_t::object) keys_.emplace_back();
    }
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const Source& source_;
  int max_depth_;
  std::vector<std::pair<std::size_t, double>>::const_iterator next_, last_;
  std::size_t numbers_ = 0;
  Json root_;
  std::vector<Json*> open_;  // containers, the innermost last; only the last one grows
  Json* slot_ = nullptr;     // where the value of the key just read goes
  std::vector<std::set<std::string>> keys_;  // of the objects that are open, where order is kept
};

template <class Json>
Json parse(std::string_view text, const Source& source, int max_depth) {
  if (text.find('\0') != std::string_view::npos) {
    // The library takes it for the end of the text and would pass over what follows.
    refuse(source, "not valid JSON: it has a zero byte");
  }
  StandIns stand_ins;
  if (text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos)
    stand_ins = put_stand_ins(text);
  const std::string_view parsed = stand_ins.values.empty() ? text : stand_ins.text;
  Builder<Json> builder(text, source, max_depth, stand_ins);
  Json::sax_parse(parsed.begin(), parsed.end(), &builder);
  return builder.take();
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where, int max_depth,
                          const std::string& remedy) {
  return parse<nlohmann::json>(text, {where, remedy}, max_depth);
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where,
                                          int max_depth) {
  return parse<nlohmann::ordered_json>(text, {where, ""}, max_depth);
}

std::string json_problem(std::string_view text, std::size_t position,
                         const nlohmann::detail::exception& error) {
  const Place place = place_before(text, position);
  const std::size_t end = std::min(position, text.size());
  const std::size_t begin = end - std::min(end, kMaxQuoted);
  return fmt::format("not valid JSON: line {}, column {}: {}, after `{}{}`", place.line,
                     place.column, reason_of(error), begin > 0 ? "..." : "",
                     printable(text.substr(begin, end - begin)));
}

std::string shown_json(const nlohmann::json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const auto number = value.get<double>();
    return std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
  }
  std::string text =
      value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

}  // namespace spd
