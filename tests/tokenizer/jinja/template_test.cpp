// The interpreter against jinja2 as transformers sets it up: tests/fixtures/jinja, made by
// scripts/fixtures/jinja_templates.py.
#include "model/tokenizer/jinja/template.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <fstream>

#include "kernels/device/error.h"

namespace spd::jinja {
namespace {

using Json = nlohmann::ordered_json;

Json fixture(const std::string& name) {
  return Json::parse(std::ifstream(std::string(SPD_FIXTURES) + "/jinja/" + name));
}

/// What a template prints; the message, where it fails.
std::string rendered(const std::string& source, const Json& variables,
                     const RenderOptions& options = {}) {
  try {
    return Template::parse(source, "t").render(variables, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return std::string("!") + error.what();
  }
}

RenderOptions at_time(const Json& fixture) {
  std::tm local{};
  const std::string text = fixture.at("now").get<std::string>();
  strptime(text.c_str(), "%Y-%m-%d %H:%M:%S", &local);
  local.tm_isdst = -1;
  RenderOptions options;
  options.now = std::mktime(&local);
  return options;
}

void expect(const std::string& source, const Json& variables, const Json& wanted,
            const RenderOptions& options) {
  const std::string got = rendered(source, variables, options);
  if (wanted.is_null()) {
    EXPECT_EQ(got.substr(0, 9), "!t: line ") << source << "\nfails in jinja2, here: " << got;
  } else {
    EXPECT_EQ(got, wanted.get<std::string>()) << source;
  }
}

class JinjaTable : public testing::TestWithParam<const char*> {};

TEST_P(JinjaTable, PrintsWhatJinja2Prints) {
  const Json table = fixture(std::string(GetParam()) + ".json");
  const RenderOptions options = at_time(table);
  ASSERT_GT(table.at("cases").size(), 100U);
  for (const Json& entry : table.at("cases")) {
    expect(entry.at(0).get<std::string>(), table.at("variables"), entry.at(1), options);
  }
}

INSTANTIATE_TEST_SUITE_P(Jinja, JinjaTable,
                         testing::Values("expressions", "statements", "generated"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Jinja, ChatTemplatesPrintWhatJinja2Prints) {
  const Json chats = fixture("chats.json");
  const RenderOptions options = at_time(chats);
  ASSERT_GE(chats.at("templates").size(), 40U);
  for (const Json& entry : chats.at("templates")) {
    for (const Json& wanted : entry.at("prompts")) {
      SCOPED_TRACE(entry.at("name").get<std::string>() + " " + wanted.at(0).get<std::string>());
      Json variables = chats.at("conversations").at(wanted.at(0).get<std::string>());
      for (const auto& [key, value] : entry.at("variables").items()) variables[key] = value;
      expect(entry.at("template").get<std::string>(), variables, wanted.at(1), options);
    }
  }
}

TEST(Jinja, MessagesNameThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"a\n  {{ 1 + }}", "t: line 2, column 10: "},
      {"é{{ x.y.z }}", "t: line 1, column 7: 'x' is undefined"},
      {"{% if a %}\n\n", "t: line 2, column 1: unexpected end of template"},
      {"{{ 'a' | nosuch }}", "t: line 1, column 10: No filter named 'nosuch'"},
      {"{{ 1 is nosuch }}", "t: line 1, column 9: No test named 'nosuch'"},
      {"\n\n  {{ raise_exception('Only two roles') }}", "t: line 3, column 21: Only two roles"},
      {"{% for x in [1] %}\n{{ x\n / 0 }}{% endfor %}", "t: line 3, column 2: division by zero"},
      {"{% include 'x' %}", "t: line 1, column 4: the tag 'include' is not supported"},
      {"{{ 'a' | pprint }}", "t: line 1, column 10: the filter 'pprint' is not supported"},
      {"{{ 'a'.encode() }}", "t: line 1, column 8: the attribute 'encode' of a 'str'"},
      {"{# x", "t: line 1, column 1: Missing end of comment tag"},
      {"{% set d.x = 1 %}", "t: line 1, column 8: cannot assign attribute on non-namespace"},
      {"{{ [1].append(2) }}", "t: line 1, column 14: access to attribute 'append'"},
      {"{{ range }}", "t: line 1, column 4: printing a function is not supported"},
  };
  for (const auto& [source, message] : cases) {
    const std::string got = rendered(source, {{"d", Json::object()}});
    EXPECT_EQ(got.substr(1, std::string(message).size()), message) << source << "\n" << got;
  }
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int at = 0; at < times; ++at) all += text;
  return all;
}

TEST(Jinja, HostileTemplatesEndInAMessage) {
  const std::string cases[] = {
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{{ range(10**18) | list }}",
      "{{ 2 ** 1000000 }}",
      "{{ (10 ** 5000) | string }}",
      "{{ 'a' * 10 ** 9 }}",
      "{{ [0] * 10 ** 9 }}",
      "{{ 'a' * 10 ** 30 }}",
      "{% set n = namespace(x='ab') %}{% for i in range(100) %}{% set n.x = n.x ~ n.x %}{% endfor "
      "%}",
      "{% set n = namespace(x=[1]) %}{% for i in range(100) %}{% set n.x = n.x + n.x %}{% endfor "
      "%}",
      "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}",
      "{% set n = namespace(x=[1]) %}{% for i in range(9999) %}{% set n.x = n.x|map('int') %}{% "
      "endfor %}",
      "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m() %}{% for i in [1] %}{% if i %}{{ m() }}{% endif %}{% endfor %}{% endmacro %}{{ "
      "m() }}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{{ " + repeated("(", 100'000) + "1" + repeated(")", 100'000) + " }}",
      "{{ " + repeated("[", 100'000) + " }}",
      "{{ " + repeated("-", 100'000) + "1 }}",
      "{{ " + repeated("not ", 100'000) + "1 }}",
      "{{ 1" + repeated(" + 1", 100'000) + " }}",
      "{{ 1" + repeated(" | abs", 100'000) + " }}",
      "{{ a" + repeated(".a", 100'000) + " }}",
      repeated("{% if 1 %}", 100'000),
      repeated("{% for x in y %}", 100'000),
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ 'a'.center(10 ** 12) }}",
      "{{ 'x'.zfill(10 ** 12) }}",
      "{{ '\t'.expandtabs(10 ** 12) }}",
      "{{ 'a' | indent(10 ** 12) }}",
      "{{ [[1]] | tojson(indent=10 ** 12) }}",
      "{{ [1] | batch(10 ** 12, 0) | list }}",
      "{{ range(100000) | slice(10 ** 12) | list }}",
      "{{ ('a' * 10000000).replace('a', 'b' * 10000000) }}",
      "{{ (',' * 1000000).join('b' * 1000000) }}",
      "{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}",
      "{{ strftime_now('%c' * 100000) }}",
      "{{ strftime_now('%1000000000Y') }}",
  };
  RenderOptions options;
  options.most_steps = 2'000'000;
  for (const std::string& source : cases) {
    EXPECT_EQ(rendered(source, Json::object(), options)[0], '!') << source.substr(0, 100);
  }
}

TEST(Jinja, AnswersWithinBoundsThatAreGiven) {
  RenderOptions options;
  options.most_output = 10;
  EXPECT_EQ(rendered("{{ 'abcde' }}{{ 'fghij' }}", Json::object(), options), "abcdefghij");
  EXPECT_EQ(rendered("{{ 'abcde' }}{{ 'fghij' }}k", Json::object(), options)[0], '!');
  options = {};
  options.most_steps = 1'000;
  EXPECT_EQ(rendered("{% for i in range(9) %}{{ i }}{% endfor %}", Json::object(), options),
            "012345678");
  EXPECT_EQ(rendered("{% for i in range(9999) %}{{ i }}{% endfor %}", Json::object(), options)[0],
            '!');
}

TEST(Jinja, LongChatsAreRenderedWithinTheBounds) {
  Json messages = Json::array();
  for (int at = 0; at < 2'000; ++at) {
    messages.push_back(
        {{"role", at % 2 == 0 ? "user" : "assistant"}, {"content", repeated("word and ", 500)}});
  }
  const std::string got = rendered(
      "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim + '\n' }}{% endfor %}",
      {{"messages", messages}});
  EXPECT_GT(got.size(), 8'000'000U);
}

struct OnStack {
  std::string source;
  std::string got;
};

void* render_there(void* argument) {
  auto& work = *static_cast<OnStack*>(argument);
  work.got = rendered(work.source, Json::object());
  return nullptr;
}

// Not only levels are counted: the stack may be smaller, and frames are far larger with sanitizers.
TEST(Jinja, SmallStacksEndInAMessage) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, std::size_t{512} << 10), 0);
  for (const std::string& source : {
           std::string("\n{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
           std::string("\n{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
           "\n{{ " + repeated("(", 100'000) + "1" + repeated(")", 100'000) + " }}",
           "\n" + repeated("{% if 1 %}", 100'000),
       }) {
    OnStack work{source, ""};
    pthread_t thread{};
    ASSERT_EQ(pthread_create(&thread, &attributes, render_there, &work), 0);
    pthread_join(thread, nullptr);
    EXPECT_EQ(work.got.substr(0, 19), "!t: line 2, column ") << work.got;
    EXPECT_NE(work.got.find("nested too deeply"), std::string::npos) << work.got;
  }
  pthread_attr_destroy(&attributes);
}

TEST(Jinja, NestsAsDeepAsJinja2Does) {
  EXPECT_EQ(
      rendered("{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{% else %}x{% endif %}{% endmacro %}"
               "{{ m(150) }}",
               Json::object()),
      "x");
  EXPECT_EQ(rendered("{{ " + repeated("(", 60) + "1" + repeated(")", 60) + " }}", Json::object()),
            "1");
}

}  // namespace
}  // namespace spd::jinja
