// Working memory that grows to the largest request and is reused.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace spd {

/// 64-byte aligned, uninitialised. Not for concurrent use.
class Scratch {
 public:
  /// Room for `count` elements; what was there before is lost if it has to grow.
  template <class T = float>
  T* reserve(std::size_t count) {
    constexpr std::size_t kLine = 64;
    const std::size_t bytes = (count * sizeof(T) + kLine - 1) / kLine * kLine;
    if (bytes > bytes_) {
      data_.reset();
      bytes_ = 0;
      data_.reset(std::aligned_alloc(kLine, bytes));
      if (!data_) throw std::bad_alloc();
      bytes_ = bytes;
    }
    return static_cast<T*>(data_.get());
  }
  template <class T = float>
  T* data() const {
    return static_cast<T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };
  std::unique_ptr<void, Free> data_;
  std::size_t bytes_ = 0;
};

}  // namespace spd
