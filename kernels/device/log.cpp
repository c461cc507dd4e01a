#include "kernels/device/log.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <mutex>
#include <set>

#include "kernels/device/printable.h"

namespace spd {
namespace {

// The message, made fit for a terminal: names from files get into it.
class PrintableMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string text = printable({message.payload.data(), message.payload.size()});
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PrintableMessage>();
  }
};

}  // namespace

void init_logging(int rank) {
  auto logger = std::make_shared<spdlog::logger>(
      "spd", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<PrintableMessage>('*').set_pattern(
      fmt::format("[%H:%M:%S.%e %l rank {}] %*", rank));
  logger->set_formatter(std::move(formatter));
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) spdlog::warn("{}", printable(text));
}

}  // namespace spd
