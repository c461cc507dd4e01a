// A model loaded on thread ranks, as the subcommands load it.
#pragma once

#include <filesystem>
#include <functional>

#include "runtime/inference/engine.h"
#include "runtime/job/launch.h"

namespace spd {

inline std::filesystem::path fixture_model(const std::string& name) {
  return std::filesystem::path(SPD_FIXTURES) / "models" / name;
}

/// Where scripts/fetch-model.py has put the trained model; tests skip where it is not.
inline std::filesystem::path trained_model() {
  return std::filesystem::path(SPD_SOURCE_DIR) / "models" / "smollm2-135m";
}

/// Calls body(engine) on every rank. The KV cache is f32 unless the options say otherwise.
inline void on_ranks(const LaunchOptions& launch, EngineOptions options, std::int64_t max_length,
                     const std::function<void(Engine&)>& body) {
  launch_virtual(launch, [&](RankContext& context) {
    Engine engine(context, options, max_length);
    body(engine);
  });
}

inline EngineOptions exact_options(const std::filesystem::path& model) {
  EngineOptions options;
  options.model = model;
  options.kv_dtype = DType::f32;
  options.exact = true;
  return options;
}

}  // namespace spd
