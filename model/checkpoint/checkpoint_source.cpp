#include "model/checkpoint/weight_source.h"

namespace spd {
namespace {

class MappedReader final : public RowReader {
 public:
  MappedReader(const TensorEntry& entry, std::int64_t row_bytes)
      : entry_(entry), row_bytes_(row_bytes) {}
  MappedReader(const MappedReader&) = delete;
  MappedReader& operator=(const MappedReader&) = delete;
  ~MappedReader() override { Checkpoint::release_pages(entry_); }

  DType dtype() const override { return entry_.dtype; }
  const std::byte* row(std::int64_t row) override { return entry_.data + row * row_bytes_; }

 private:
  const TensorEntry& entry_;
  std::int64_t row_bytes_;
};

class CheckpointSource final : public WeightSource {
 public:
  explicit CheckpointSource(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

  bool contains(const std::string& name) const override { return checkpoint_.contains(name); }

  std::unique_ptr<RowReader> open(const std::string& name, std::int64_t rows,
                                  std::int64_t cols) override {
    const TensorEntry& entry = find(name, rows, cols);
    const std::int64_t width = cols > 0 ? cols : rows;
    return std::make_unique<MappedReader>(entry,
                                          width * static_cast<std::int64_t>(size_of(entry.dtype)));
  }

  HostTable table(const std::string& name, std::int64_t rows, std::int64_t cols) override {
    const TensorEntry& entry = find(name, rows, cols);
    return {entry.data, entry.dtype, rows, cols};
  }

  void check_unchanged() const override { checkpoint_.check_unchanged(); }

 private:
  const TensorEntry& find(const std::string& name, std::int64_t rows, std::int64_t cols) const {
    return cols > 0 ? checkpoint_.at(name, {rows, cols}) : checkpoint_.at(name, {rows});
  }

  Checkpoint checkpoint_;
};

}  // namespace

std::unique_ptr<WeightSource> make_checkpoint_source(Checkpoint checkpoint) {
  return std::make_unique<CheckpointSource>(std::move(checkpoint));
}

}  // namespace spd
