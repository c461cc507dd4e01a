#include "tests/cuda_emulation/libraries.h"

#include <cublasLt.h>

#include <map>
#include <set>

namespace cuda_emulation {

namespace {

std::set<std::string>& hidden() {
  static auto* const files = new std::set<std::string>;
  return *files;
}

template <class Function>
void* address(Function* function) {
  return reinterpret_cast<void*>(function);
}

const std::map<std::string, void*>& functions() {
  static const auto* const all = new std::map<std::string, void*>{
      {"cublasLtCreate", address(cublasLtCreate)},
      {"cublasLtDestroy", address(cublasLtDestroy)},
      {"cublasLtGetStatusString", address(cublasLtGetStatusString)},
      {"cublasLtMatmulDescCreate", address(cublasLtMatmulDescCreate)},
      {"cublasLtMatmulDescSetAttribute", address(cublasLtMatmulDescSetAttribute)},
      {"cublasLtMatmulDescDestroy", address(cublasLtMatmulDescDestroy)},
      {"cublasLtMatrixLayoutCreate", address(cublasLtMatrixLayoutCreate)},
      {"cublasLtMatrixLayoutDestroy", address(cublasLtMatrixLayoutDestroy)},
      {"cublasLtMatmulPreferenceCreate", address(cublasLtMatmulPreferenceCreate)},
      {"cublasLtMatmulPreferenceSetAttribute", address(cublasLtMatmulPreferenceSetAttribute)},
      {"cublasLtMatmulPreferenceDestroy", address(cublasLtMatmulPreferenceDestroy)},
      {"cublasLtMatmulAlgoGetHeuristic", address(cublasLtMatmulAlgoGetHeuristic)},
      {"cublasLtMatmul", address(cublasLtMatmul)},
  };
  return *all;
}

}  // namespace

bool has_library(const std::string& file) {
  return file == "libcublasLt.so.13" && hidden().count(file) == 0;
}

void hide_library(const std::string& file) { hidden().insert(file); }
void show_libraries() { hidden().clear(); }

void* library_function(const std::string& name) {
  const auto found = functions().find(name);
  return found == functions().end() ? nullptr : found->second;
}

}  // namespace cuda_emulation
