// A source of weights: a checkpoint, or random numbers (to time shapes whose weights are not at
// hand).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/operators.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config.h"

namespace spd {

/// Reads one matrix row by row, so that a shard touches only the rows it needs.
class RowReader {
 public:
  virtual ~RowReader() = default;
  virtual DType dtype() const = 0;
  /// Row `row`, [cols] elements of dtype(). Valid until the next call or the reader's end.
  virtual const std::byte* row(std::int64_t row) = 0;
};

class WeightSource {
 public:
  WeightSource() = default;
  WeightSource(const WeightSource&) = delete;
  WeightSource& operator=(const WeightSource&) = delete;
  virtual ~WeightSource() = default;

  virtual bool contains(const std::string& name) const = 0;
  /// A tensor as [rows, cols] (cols = 0: a vector of `rows` elements, read as one row).
  /// Throws input Error where it is missing or has another shape.
  virtual std::unique_ptr<RowReader> open(const std::string& name, std::int64_t rows,
                                          std::int64_t cols) = 0;
  /// The tensor as a table in host memory that lives as long as the source.
  virtual HostTable table(const std::string& name, std::int64_t rows, std::int64_t cols) = 0;
  /// Throws input Error where what was read may have been changed meanwhile.
  virtual void check_unchanged() const {}
};

/// Weights of a Hugging Face directory. Pages are released once a reader is done with them.
std::unique_ptr<WeightSource> make_checkpoint_source(Checkpoint checkpoint);

/// Small random weights of `config.dtype` for any tensor asked for: the same for any split.
std::unique_ptr<WeightSource> make_random_source(const ModelConfig& config, std::uint64_t seed);

}  // namespace spd
