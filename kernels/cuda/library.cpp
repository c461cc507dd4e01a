#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"

#if defined(SPD_CUDA_EMULATED)
#include <libraries.h>  // of tests/cuda_emulation
#endif

namespace spd::cuda {

namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

/// lib/python3.*/site-packages (or dist-packages) below `prefix`, where pip puts packages.
void add_python_folders(const fs::path& prefix, std::vector<fs::path>& folders) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(prefix / "lib", error)) {
    if (!entry.path().filename().string().starts_with("python3")) continue;
    for (const char* packages : {"site-packages", "dist-packages"}) {
      const fs::path nvidia = entry.path() / packages / "nvidia";
      for (const char* part : {"cu13/lib", "nccl/lib", "cublas/lib"}) {
        if (fs::is_directory(nvidia / part, error)) found.push_back(nvidia / part);
      }
    }
  }
  std::sort(found.begin(), found.end());
  folders.insert(folders.end(), found.begin(), found.end());
}

}  // namespace

std::vector<std::string> library_candidates(const std::string& file) {
  std::vector<fs::path> folders;
  if (const std::string given = variable("SPD_CUDA_LIB_DIR"); !given.empty()) {
    folders.emplace_back(given);
  }
  std::error_code error;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", error); !error) {
    folders.push_back(program.parent_path().parent_path() / "lib");
  }
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const std::string prefix = variable(name); !prefix.empty()) {
      add_python_folders(prefix, folders);
    }
  }
  if (const std::string home = variable("HOME"); !home.empty()) {
    add_python_folders(fs::path(home) / ".local", folders);
  }
  add_python_folders("/usr/local", folders);
  std::vector<std::string> candidates;
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / file, error)) candidates.push_back((folder / file).string());
  }
  candidates.push_back(file);
  candidates.push_back("/usr/local/cuda/lib64/" + file);
  return candidates;
}

Library::Library(const std::string& file, const std::string& package) {
#if defined(SPD_CUDA_EMULATED)
  path_ = "emulated " + file;
  if (::cuda_emulation::has_library(file)) return;
#else
  for (const std::string& candidate : library_candidates(file)) {
    handle_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_) {
      path_ = candidate;
      return;
    }
  }
#endif
  const char* const reason = dlerror();
  throw Error(ErrorCode::device,
              fmt::format("cannot load {}: {}", file, printable(reason ? reason : "not found")),
              fmt::format("install it (python3 -m pip install {}) or set SPD_CUDA_LIB_DIR to the "
                          "folder that holds it, or use --device cpu",
                          package));
}

void* Library::symbol(const char* name) const {
#if defined(SPD_CUDA_EMULATED)
  void* const found = ::cuda_emulation::library_function(name);
#else
  void* const found = dlsym(handle_, name);
#endif
  if (!found) {
    throw Error(ErrorCode::device, fmt::format("{} has no function {}", path_, name),
                "install the library of CUDA 13, or use --device cpu");
  }
  return found;
}

}  // namespace spd::cuda
