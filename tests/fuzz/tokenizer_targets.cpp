// Targets of model/tokenizer/: tokenizer files, what they do to texts, chat templates.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/tokenizer/chat_template.h"
#include "model/tokenizer/jinja/template.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/sentencepiece_tokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/vocab_files.h"
#include "tests/fuzz/target.h"

namespace spd::fuzz {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr const char* kTexts[] = {"",
                                  " ",
                                  "Hello world, 123 it's  a test\n\n",
                                  "\u2581x caf\u00e9 \U0001f600<s></s><unk>",
                                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                  "\xff\xfe\x80 x\xc0"};
constexpr TokenId kMostIds = 300;

// The pieces of a stream are the text of all its ids.
void check_stream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string pieces;
  for (const TokenId id : ids) {
    const std::string piece = decoder.push(id);
    if (replace_invalid_utf8(piece) != piece) contradict("a piece is not whole characters");
    pieces += piece;
  }
  pieces += decoder.finish();
  const std::string whole = tokenizer.decode(ids, true);
  if (pieces != whole) {
    const auto differs = std::mismatch(pieces.begin(), pieces.end(), whole.begin(), whole.end());
    contradict(fmt::format(
        "StreamDecoder: vocabulary of {}, {} ids: pieces differ from the whole "
        "text at byte {} of {}",
        tokenizer.vocab_size(), ids.size(), differs.first - pieces.begin(), whole.size()));
  }
}

void use_tokenizer(const Tokenizer& tokenizer) {
  for (const char* text : kTexts) {
    for (const bool special : {false, true}) {
      const std::vector<TokenId> ids = tokenizer.encode(text, special);
      for (const TokenId id : ids) {
        if (id < 0 || id >= tokenizer.vocab_size()) contradict("an id beyond the vocabulary");
      }
      touch(tokenizer.decode(ids, special));
    }
  }
  std::vector<TokenId> all;
  for (TokenId id = 0; id < std::min<std::int64_t>(tokenizer.vocab_size() + 3, kMostIds); ++id) {
    all.push_back(id);
    tokenizer.is_special(id);
  }
  check_stream(tokenizer, all);
  tokenizer.id_of("<s>");
}

void load_json(std::string_view input, const fs::path& folder) {
  write(folder / "tokenizer.json", input);
  use_tokenizer(*load_tokenizer_json(folder / "tokenizer.json", TokenizerConfig{}));
}

// A tokenizer of few tokens: small enough for its parts to be found by chance.
Json small_tokenizer() {
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  return {{"version", "1.0"},
          {"added_tokens",
           {{{"id", 6},
             {"content", "<s>"},
             {"special", true},
             {"lstrip", false},
             {"rstrip", false},
             {"single_word", false},
             {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"vocab", {{"a", 0}, {"b", 1}, {"\u0120", 2}, {"ab", 3}, {"\u0120a", 4}, {"c", 5}}},
            {"merges", {"a b", "\u0120 a"}}}}};
}

std::vector<std::string> json_seeds() {
  std::vector<std::string> seeds = {small_tokenizer().dump()};
  const Json components = Json::parse(fixture("tokenizer/components.json"));
  for (const auto& [kind, key] :
       {std::pair("normalizers", "normalizer"), std::pair("pre_tokenizers", "pre_tokenizer"),
        std::pair("decoders", "decoder")}) {
    for (const Json& component : components.at(kind)) {
      Json whole = small_tokenizer();
      whole[key] = component.at("spec");
      seeds.push_back(whole.dump());
    }
  }
  for (const char* name : {"llama2", "llama3", "metaspace", "qwen2", "roberta"}) {
    seeds.push_back(fixture(fmt::format("tokenizer/{}/tokenizer.json", name)));
  }
  return seeds;
}

// The files beside the tokenizer's own; empty ones are not there.
void write_config(const fs::path& folder, const std::vector<std::string>& parts, std::size_t from) {
  const char* names[] = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    write_or_remove(folder / names[i], from + i < parts.size() ? parts[from + i] : "");
  }
}

void load_config(std::string_view input, const fs::path& folder) {
  const auto parts = parts_of(input, 4);
  write_config(folder, parts, 0);
  write_or_remove(folder / "tokenizer.json", parts[3]);
  const TokenizerConfig config = TokenizerConfig::load(folder);
  for (const AddedToken& token : config.special_tokens) touch(token.content);
  if (!parts[3].empty()) use_tokenizer(*Tokenizer::load(folder));
}

std::vector<std::string> config_seeds() {
  const char* config =
      R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": false,
"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "unk_token": null,
"add_prefix_space": true, "legacy": false, "chat_template": [{"name": "default", "template": "x"}],
"added_tokens_decoder": {"7": {"content": "<x>", "special": true, "rstrip": true},
"8": {"content": "yy", "single_word": true, "normalized": true}}})";
  const char* map =
      R"({"pad_token": "<pad>", "additional_special_tokens": ["<a>", {"content": "<b>"}]})";
  return {join_parts({config, map, R"({"<z>": 9})", ""}),
          join_parts({config, map, R"({"<z>": 9})", small_tokenizer().dump()})};
}

void load_vocab(std::string_view input, const fs::path& folder) {
  const auto parts = parts_of(input, 3);
  write(folder / "vocab.json", parts[0]);
  write(folder / "merges.txt", parts[1]);
  write_config(folder, parts, 2);
  use_tokenizer(*load_vocab_files(folder, TokenizerConfig::load(folder)));
}

std::vector<std::string> vocab_seeds() {
  const std::string opt = "tokenizer/opt-files/";
  return {join_parts({fixture(opt + "vocab.json"), fixture(opt + "merges.txt"),
                      fixture(opt + "tokenizer_config.json")}),
          join_parts({R"({"a": 0, "b": 1, "ab": 2, "<unk>": 3})", "#version: 0.2\na b\n", ""})};
}

void load_sentencepiece_model(std::string_view input, const fs::path& folder) {
  write(folder / "tokenizer.model", input);
  use_tokenizer(*load_sentencepiece(folder / "tokenizer.model", TokenizerConfig{}));
}

std::vector<std::string> sentencepiece_seeds() {
  return {fixture("tokenizer/sentencepiece/tokenizer.model")};
}

void match_regex(std::string_view input, const fs::path&) {
  const auto parts = parts_of(input, 2);
  const Regex regex(parts[0]);
  const std::string text =
      replace_invalid_utf8(parts[1].empty() ? std::string(kTexts[2]) + kTexts[3] : parts[1]);
  std::size_t last = 0;
  regex.for_each_match(text, [&](std::size_t begin, std::size_t end) {
    if (begin > end || end > text.size() || begin < last) contradict("matches overlap");
    last = end;
  });
}

std::vector<std::string> regex_seeds() {
  const char* gpt4 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  return {gpt4, join_parts({R"([^\s\w]|(?<=a)b{2,3}+|[[:alpha:]&&[^x]]|\h)", "abbb 12 \u2581"}),
          R"((?>a|b)*?\x{61}\u0041(?<n>c)\k<n>^$\A\z\Q.\E)"};
}

std::vector<std::unique_ptr<Tokenizer>> load_fixtures() {
  std::vector<std::unique_ptr<Tokenizer>> all;
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(fs::path(SPD_FIXTURES) / "tokenizer")) {
    if (fs::exists(entry.path() / "tokenizer.json") || fs::exists(entry.path() / "vocab.json") ||
        fs::exists(entry.path() / "tokenizer.model")) {
      folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) all.push_back(Tokenizer::load(folder));
  return all;
}

const std::vector<std::unique_ptr<Tokenizer>>& fixture_tokenizers() {
  static const auto all = load_fixtures();
  return all;
}

// A text there and back through every fixture: whole, and as a stream.
void encode_text(std::string_view input, const fs::path&) {
  for (const auto& tokenizer : fixture_tokenizers()) {
    const std::vector<TokenId> ids = tokenizer->encode(input, true);
    check_stream(*tokenizer, ids);
    const std::string text = tokenizer->decode(ids, true);
    if (replace_invalid_utf8(text) != text) contradict("a decoded text is no UTF-8");
  }
}

std::vector<std::string> text_seeds() {
  std::string emoji;
  for (int i = 0; i < 40; ++i) emoji += "\U0001f63a\U0001f984";
  return {fixture_head("tokenizer/mixed.txt", 2000), emoji,
          "<s>[INST] <<SYS>>\n\nYou\t \u00a0\u3000e\u0301 \u0130 \u1e9e<|im_end|>\xf0\x9f\x98 "
          "\xed\xa0\x80"};
}

// Any ids as a stream: the first byte chooses the tokenizer, two bytes are an id.
void decode_stream(std::string_view input, const fs::path&) {
  if (input.empty()) return;
  const auto& all = fixture_tokenizers();
  const Tokenizer& tokenizer = *all[static_cast<unsigned char>(input[0]) % all.size()];
  std::vector<TokenId> ids;
  for (std::size_t i = 1; i + 1 < input.size(); i += 2) {
    const int value =
        static_cast<unsigned char>(input[i]) * 256 + static_cast<unsigned char>(input[i + 1]);
    ids.push_back(static_cast<TokenId>(value % (tokenizer.vocab_size() + 2)));
  }
  check_stream(tokenizer, ids);
}

std::vector<std::string> stream_seeds() {
  std::vector<std::string> seeds;
  for (std::size_t i = 0; i < fixture_tokenizers().size(); ++i) {
    std::string ids(1, static_cast<char>(i));
    for (const TokenId id : fixture_tokenizers()[i]->encode(text_seeds()[1] + " a, b", false)) {
      ids += static_cast<char>(id / 256);
      ids += static_cast<char>(id % 256);
    }
    seeds.push_back(ids);
  }
  return seeds;
}

const std::vector<Conversation>& chats() {
  static const std::vector<Conversation> all = [] {
    std::vector<Conversation> made(3);
    made[0].messages = OrderedJson::parse(R"([{"role": "user", "content": "hi"}])");
    made[1].messages = OrderedJson::parse(R"([{"role": "system", "content": " s "},
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "<think>x</think>\n ok ", "tool_calls": [{"type": "function",
         "id": "abcdefghi", "function": {"name": "f", "arguments": {"x": [1, null]}}}]},
        {"role": "tool", "content": "3", "name": "f", "tool_call_id": "abcdefghi"},
        {"role": "user", "content": "again"}])");
    made[2].messages = OrderedJson::parse(R"([{"role": "user", "content": "hi"},
        {"role": "assistant", "content": "so"}])");
    made[2].arguments = OrderedJson::parse(R"({"enable_thinking": false})");
    made[2].tools = OrderedJson::parse(R"([{"type": "function", "function": {"name": "f",
        "description": "d", "parameters": {"type": "object", "properties": {}}}}])");
    return made;
  }();
  return all;
}

void render_chat(std::string_view input, const fs::path& folder) {
  const auto parts = parts_of(input, 2);
  write(folder / "tokenizer_config.json", parts[0]);
  write_or_remove(folder / "chat_template.jinja", parts[1]);
  ChatTemplate chat = ChatTemplate::load(folder);
  std::size_t refused = 0;
  std::string why;
  for (const Conversation& conversation : chats()) {
    try {
      touch(chat.render(conversation, 0));
    } catch (const Error& error) {  // of this conversation
      why = error.what();
      ++refused;
    }
  }
  if (refused == chats().size()) throw Error(ErrorCode::input, why);
}

std::vector<std::string> known_templates() {
  std::vector<std::string> texts;
  for (const Json& known : Json::parse(fixture("tokenizer/chats.json"))) {
    const Json& files = known.at("files");
    if (!files.contains("tokenizer_config.json")) continue;
    const Json config = files["tokenizer_config.json"];
    if (config.contains("chat_template") && config["chat_template"].is_string()) {
      texts.push_back(config["chat_template"].get<std::string>());
    }
  }
  return texts;
}

// A template and its variables. Few steps: what costs too much is refused, whatever the limit is.
void render_template(std::string_view input, const fs::path&) {
  const auto parts = parts_of(input, 2);
  const jinja::Template parsed = jinja::Template::parse(parts[0], "template");
  OrderedJson variables = OrderedJson::parse(parts[1], nullptr, false);
  if (!variables.is_object()) variables = OrderedJson::object();
  jinja::RenderOptions options;
  options.most_steps = 1'000'000;
  options.most_output = std::size_t{1} << 20;
  const std::string text = parsed.render(variables, options);
  if (text.size() > options.most_output) contradict("more output than the limit allows");
  touch(text);
}

std::vector<std::string> template_seeds() {
  const std::string variables =
      R"({"messages": [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "é"}],
"add_generation_prompt": true, "bos_token": "<s>", "n": 3, "x": [1, 2.5, null, {"k": "v"}]})";
  std::vector<std::string> seeds = {
      join_parts(
          {"{% for m in messages %}{{ m['role'] + m.content | trim }}{% endfor %}", variables}),
      join_parts({"{%- set ns = namespace(a=0) -%}{%- for i in range(n) if i != 1 %}{% set ns.a = "
                  "ns.a + loop.index0 %}{%- if loop.last %}{% break %}{% endif %}{% endfor %}"
                  "{{ ns.a ~ x | tojson(indent=2) }}{# c #}",
                  variables}),
      join_parts({"{% macro f(a, b='x') %}{{ a[::-1] ~ b.upper().split('X') }}{% endmacro %}"
                  "{{ f('abc') }}{{ x | selectattr('k', 'defined') | list | length }}"
                  "{{ 'a' if messages[0].role in ['user'] and not n is none else 2 ** 3 // 2 }}"
                  "{% filter upper %}b{% endfilter %}{{ strftime_now('%d %b %Y') }}",
                  variables}),
      join_parts({"{{ raise_exception('no: ' + x[3].k) }}", variables})};
  for (const std::string& text : known_templates()) seeds.push_back(join_parts({text, variables}));
  return seeds;
}

std::vector<std::string> chat_seeds() {
  std::vector<std::string> seeds;
  for (const Json& known : Json::parse(fixture("tokenizer/chats.json"))) {
    const Json& files = known.at("files");
    if (!files.contains("tokenizer_config.json")) continue;
    std::string text = files["tokenizer_config.json"].dump();
    if (files.contains("chat_template.jinja")) {
      text = join_parts({text, files["chat_template.jinja"].get<std::string>()});
    }
    seeds.push_back(text);
  }
  return seeds;
}

constexpr const char* kComponents =
    "type Sequence ByteLevel BPE Metaspace Split Replace Prepend Strip NFC NFKC NFD NFKD Lowercase "
    "Digits Punctuation Whitespace WhitespaceSplit ByteFallback Fuse TemplateProcessing "
    "RobertaProcessing pattern String Regex content behavior Isolated Removed MergedWithPrevious "
    "MergedWithNext Contiguous invert replacement prepend_scheme add_prefix_space use_regex "
    "trim_offsets byte_fallback unk_token fuse_unk ignore_merges dropout added_tokens id special "
    "lstrip rstrip single_word normalized vocab merges normalizers pretokenizers decoders "
    "processors start stop left right individual_digits <0x0A> \u0120 \u2581";
constexpr const char* kConfigKeys =
    "tokenizer_class add_bos_token add_eos_token add_prefix_space legacy bos_token eos_token "
    "unk_token pad_token additional_special_tokens added_tokens_decoder content special lstrip "
    "rstrip single_word normalized chat_template name default template <s> </s> 0 7 65536";
constexpr const char* kRegexWords =
    "\\p{L} \\p{N} \\p{Lu} \\P{M} \\s \\S \\w \\W \\d \\D \\h \\R \\X \\K \\C \\b \\B \\A \\z \\Z "
    "\\G "
    "[[:alpha:]] [^ ] [ ] && ( (?: (?i: (?= (?! (?<= (?<! (?> (?<n> (?|  (?# ) * + ? *? ++ {2,3} "
    "{1,100000} | ^ $ . \\k<n> \\1 \\x{10ffff} \\u0041 \\Q \\E (?R) (*SKIP) (*UTF) \\N \\p{^L} "
    "\\pL";
constexpr const char* kJinjaWords =
    "{% %} {{ }} {%- -%} {# #} if elif else endif for in endfor set endset macro endmacro call "
    "endcall filter endfilter break continue generation endgeneration namespace messages message "
    "role content system user assistant add_generation_prompt bos_token eos_token tools loop.first "
    "loop.last loop.index0 loop.previtem | trim tojson length default join first last map "
    "selectattr rejectattr list items upper replace indent is defined none string mapping not and "
    "or == != + ~ [0] [1:] [::-1] .split( .strip() .startswith( raise_exception( strftime_now( "
    "range( true false none <|im_start|> <|im_end|> [INST] <<SYS>>";

}  // namespace

std::vector<Target> tokenizer_targets() {
  return {
      {"tokenizer_json", load_json, json_seeds, kComponents},
      {"tokenizer_config", load_config, config_seeds, kConfigKeys, 4},
      {"vocab_files", load_vocab, vocab_seeds, "#version: 0.2", 3},
      {"sentencepiece", load_sentencepiece_model, sentencepiece_seeds},
      {"regex", match_regex, regex_seeds, kRegexWords, 2},
      {"text", encode_text, text_seeds,
       "<s> </s> <|im_end|> <|endoftext|> \u2581 \U0001f63a e\u0301"},
      {"stream_decoder", decode_stream, stream_seeds},
      {"template", render_template, template_seeds, kJinjaWords, 2},
      {"chat", render_chat, chat_seeds, kJinjaWords, 2},
  };
}

}  // namespace spd::fuzz
