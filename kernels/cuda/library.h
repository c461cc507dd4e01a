// A shared library found at run time, so that one program starts with and without it.
#pragma once

#include <string>
#include <vector>

namespace spd::cuda {

/// Where a library of this file name is looked for, best first: SPD_CUDA_LIB_DIR, ../lib beside the
/// program, the nvidia folders of Python environments, the system's loader (a bare name), the
/// toolkit's folder.
std::vector<std::string> library_candidates(const std::string& file);

class Library {
 public:
  /// Opens the first candidate that can be. Throws device Error naming all places and the loader's
  /// reason. `package` is what to install from PyPI.
  Library(const std::string& file, const std::string& package);
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() = default;  // stays open: its threads and handlers may outlive us

  const std::string& path() const { return path_; }
  /// Throws device Error where the library has no such function.
  template <class Function>
  void bind(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;
  void* handle_ = nullptr;
  std::string path_;
};

}  // namespace spd::cuda
