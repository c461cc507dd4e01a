#include "kernels/device/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <mutex>
#include <set>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"

namespace spd {

void init_logging(int rank, const std::string& level) {
  auto parsed = spdlog::level::warn;
  if (!level.empty()) {
    parsed = spdlog::level::from_str(level);
    if (parsed == spdlog::level::off && level != "off") {
      throw Error(ErrorCode::usage, fmt::format("unknown log level \"{}\"", level),
                  "use debug, info, warn, error or off");
    }
  }
  auto logger = std::make_shared<spdlog::logger>(
      "spd", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern(fmt::format("[%H:%M:%S.%e %l rank {}] %v", rank));
  logger->set_level(parsed);
  spdlog::set_default_logger(std::move(logger));
}

void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) spdlog::warn("{}", printable(text));
}

}  // namespace spd
