// The fit of a missing sum against the same formula in numpy (scripts/fixtures/fit.py).
#include "runtime/repair/prediction_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"

namespace spd {
namespace {

using Rows = std::vector<std::vector<double>>;

std::vector<float> flat(const Rows& rows) {
  std::vector<float> values;
  for (const auto& row : rows) values.insert(values.end(), row.begin(), row.end());
  return values;
}

class PredictionFits : public testing::Test {
 protected:
  nlohmann::json fixture_ = nlohmann::json::parse(
      std::ifstream(std::filesystem::path(SPD_FIXTURES) / "prediction_fit.json"));
  Rows input_ = fixture_["input"], inner_ = fixture_["inner"], missing_ = fixture_["missing"];
  std::vector<double> weight_ = fixture_["weight"];
  std::int64_t tokens_ = static_cast<std::int64_t>(input_.size());
  std::int64_t inputs_ = static_cast<std::int64_t>(input_[0].size());
  std::int64_t inners_ = static_cast<std::int64_t>(inner_[0].size());
  std::int64_t hidden_ = static_cast<std::int64_t>(missing_[0].size());

  // In two portions, as windows come.
  PredictionFit fitted() {
    PredictionFit fit(inputs_, inners_, hidden_, DType::f32);
    const auto x = flat(input_), h = flat(inner_), m = flat(missing_);
    const std::int64_t half = tokens_ / 2;
    for (const auto& [first, count] :
         {std::pair{std::int64_t{0}, half}, std::pair{half, tokens_ - half}}) {
      fit.add(ConstActivations(x.data(), tokens_, inputs_).row_range(first, count),
              ConstActivations(h.data(), tokens_, inners_).row_range(first, count),
              ConstActivations(m.data(), tokens_, hidden_).row_range(first, count),
              std::span(weight_).subspan(first, count));
    }
    return fit;
  }
};

TEST_F(PredictionFits, AgreeWithNumpy) {
  PredictionFit fit = fitted();
  fit.solve(fixture_["ridge"].get<double>());
  for (const auto& expected : fixture_["fits"]) {
    const auto k = expected["k"].get<std::int64_t>();
    const Rows coefficients = expected["coefficients"];
    const std::vector<double> constant = expected["constant"];
    const Prediction prediction = fit.prediction(k, SyncLevel::node);
    EXPECT_EQ(prediction.k(), k);
    EXPECT_EQ(prediction.level, SyncLevel::node);
    for (std::int64_t j = 0; j < hidden_; ++j) {
      EXPECT_NEAR(prediction.mean.values[j], constant[j], 1e-4 * (1.0 + std::abs(constant[j])));
      for (std::int64_t i = 0; i < inputs_ + inners_; ++i) {
        double ours = 0.0;
        for (std::int64_t c = 0; c < k; ++c) {
          ours += prediction.to_hidden.row(j)[c] *
                  (i < inputs_ ? prediction.from_input.row(c)[i]
                               : prediction.from_inner.row(c)[i - inputs_]);
        }
        EXPECT_NEAR(ours, coefficients[i][j], 1e-4) << "k " << k << " at " << i << ", " << j;
      }
    }
  }
}

TEST_F(PredictionFits, RefuseWhatIsNotFinite) {
  missing_[3][1] = std::nan("");
  PredictionFit fit = fitted();
  EXPECT_THROW(fit.solve(0.1), Error);
  PredictionFit nothing(inputs_, inners_, hidden_, DType::f32);
  EXPECT_THROW(nothing.solve(0.1), Error);
}

}  // namespace
}  // namespace spd
