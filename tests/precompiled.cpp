// Nothing: CMake wants a source for what the tests' precompiled header belongs to.
