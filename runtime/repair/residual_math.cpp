#include "runtime/repair/residual_math.h"

namespace spd {

std::vector<float> to_host(Device& device, ConstActivations view, Stream& stream) {
  std::vector<float> values(view.rows * view.cols);
  for (std::int64_t row = 0; row < view.rows; ++row) {
    device.download(values.data() + row * view.cols, view.row(row), view.cols * sizeof(float),
                    stream);
  }
  stream.synchronize();
  return values;
}

double mean_square(const float* row, std::int64_t size) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < size; ++i) sum += static_cast<double>(row[i]) * row[i];
  return sum / static_cast<double>(size);
}

double relative_error(const std::vector<float>& a, const std::vector<float>& b,
                      std::int64_t hidden) {
  const auto tokens = static_cast<std::int64_t>(a.size()) / hidden;
  double sum = 0.0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    double difference = 0.0;
    for (std::int64_t i = t * hidden; i < (t + 1) * hidden; ++i) {
      difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    }
    const double size = mean_square(b.data() + t * hidden, hidden) * static_cast<double>(hidden);
    sum += difference / (size + 1e-12);
  }
  return sum / static_cast<double>(tokens);
}

std::vector<float> true_stream(Engine& engine, const SyncPassage& passage, Stream& stream) {
  Device& device = engine.operators().device();
  auto truth = to_host(device, passage.delta, stream);
  engine.context().comms.world->all_reduce(truth.data(), truth.size(), stream, {"calibration"});
  const auto base = to_host(device, passage.base, stream);
  for (std::size_t i = 0; i < base.size(); ++i) truth[i] += base[i];
  return truth;
}

}  // namespace spd
