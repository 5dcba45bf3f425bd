// The interface of the engine: see engine.cpp.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {

// Of program files; floats per vector that they must be packed for.
int64_t choreo_native_version();
int64_t choreo_native_lanes();

// A handle, or null with a message in `error`. Its calls are one at a time, and each is one thread.
void* choreo_native_open(const char* path, char* error, int64_t size);

// Evaluate rows: inputs are (rows, ...) each, one after the other, and so is the output. 0, or 1 with a message.
int choreo_native_run(void* handle, int64_t rows, const float* const* inputs, float* output, char* error, int64_t size);

// Inputs of the program, and rows that go through it together.
int64_t choreo_native_inputs(void* handle);
int64_t choreo_native_block_rows(void* handle);

// Seconds that each operator took since the last call of this, which also starts the measuring; how many there are.
int64_t choreo_native_profile(void* handle, double* seconds, int64_t count);

void choreo_native_close(void* handle);
}
#pragma GCC visibility pop
