// Libraries that the program would open at run time: what the emulation has in their place.
#pragma once

#include <string>

namespace cuda_emulation {

/// Whether a library of this file name is there; hide_library() takes it away, reset() gives it
/// back.
bool has_library(const std::string& file);
void hide_library(const std::string& file);
void show_libraries();
/// Null: no such function.
void* library_function(const std::string& name);

}  // namespace cuda_emulation
