// The engine as a backend of Triton: inputs are read from, and outputs written to, the client's shared memory; data is
// copied only where several requests of a batch are joined.
//
// A file `engine.txt` in the version folder names the program, the number of workers, and the tensors with their shapes.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "triton_api.h"
#include "worker_pool.h"

namespace {

// An error whose message and code the client is told.
struct Refusal : std::runtime_error {
  Refusal(TRITONSERVER_Error_Code code, const std::string& message) : std::runtime_error(message), code(code) {}
  TRITONSERVER_Error_Code code;
};

void check(TRITONSERVER_Error* error) {
  if (error == nullptr) return;
  const std::string message = TRITONSERVER_ErrorMessage(error);
  TRITONSERVER_ErrorDelete(error);
  throw Refusal(kInternal, message);
}

void ignore(TRITONSERVER_Error* error) {
  if (error != nullptr) TRITONSERVER_ErrorDelete(error);
}

template <class F>
TRITONSERVER_Error* guarded(F&& f) {
  try {
    f();
    return nullptr;
  } catch (const Refusal& refusal) {
    return TRITONSERVER_ErrorNew(refusal.code, refusal.what());
  } catch (const std::exception& error) {
    return TRITONSERVER_ErrorNew(kInternal, error.what());
  }
}

uint64_t now() {
  return uint64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(
                      std::chrono::steady_clock::now().time_since_epoch())
                      .count());
}

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;  // of a row
  int64_t floats() const {
    int64_t product = 1;
    for (int64_t n : shape) product *= n;
    return product;
  }
};

struct Layout {
  std::string program;
  int64_t workers = 0;
  std::vector<Tensor> inputs, outputs;

  explicit Layout(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("there is no engine.txt in the version folder");
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string kind;
      words >> kind;
      if (kind == "program") {
        std::getline(words >> std::ws, program);
      } else if (kind == "workers") {
        words >> workers;
      } else if (kind == "input" || kind == "output") {
        Tensor tensor;
        words >> tensor.name;
        for (int64_t n; words >> n;) tensor.shape.push_back(n);
        (kind == "input" ? inputs : outputs).push_back(tensor);
      } else {
        throw std::runtime_error("engine.txt has an unknown line: " + kind);
      }
    }
    if (workers < 1 || workers > 1024 || inputs.empty() || outputs.size() != 1)
      throw std::runtime_error("engine.txt is incomplete");
  }
};

struct Model {
  Layout layout;
  native::WorkerPool pool;

  explicit Model(const std::string& folder)
      : layout(folder + "/engine.txt"), pool(layout.program.c_str(), layout.workers) {
    if (pool.inputs() != int64_t(layout.inputs.size()))
      throw std::runtime_error("the program has another number of inputs than engine.txt");
    for (int64_t i = 0; i <= pool.inputs(); i++) {
      const Tensor& tensor = i < pool.inputs() ? layout.inputs[i] : output();
      if (tensor.floats() != pool.floats(i))
        throw std::runtime_error("'" + tensor.name + "' has another size in the program than in engine.txt");
    }
  }

  const Tensor& output() const { return layout.outputs[0]; }
};

// One request: the addresses of its inputs and of its output, or its error.
class Request {
 public:
  Request(TRITONBACKEND_Request* request, const Model& model) : request_(request) {
    error_ = guarded([&] {
      bool cancelled = false;
      check(TRITONBACKEND_RequestIsCancelled(request, &cancelled));
      if (cancelled) throw Refusal(kCancelled, "the request was cancelled");
      for (const Tensor& tensor : model.layout.inputs) inputs_.push_back(read(tensor));
      prepare_response(model.output());
    });
  }
  Request(const Request&) = delete;
  Request(Request&& other) = delete;

  bool valid() const { return error_ == nullptr; }
  int64_t rows() const { return rows_; }
  const std::vector<const float*>& inputs() const { return inputs_; }
  float* output() const { return output_; }
  void fail() { error_ = TRITONSERVER_ErrorNew(kInternal, "inference failed"); }

  // Send the response, report statistics and release the request, which must not be used afterwards.
  void finish(TRITONBACKEND_ModelInstance* instance, uint64_t began, uint64_t computing, uint64_t computed) {
    const bool success = valid();
    if (response_ == nullptr) ignore(TRITONBACKEND_ResponseNew(&response_, request_));
    if (response_ != nullptr) ignore(TRITONBACKEND_ResponseSend(response_, kFinalResponse, error_));
    ignore(TRITONBACKEND_ModelInstanceReportStatistics(instance, request_, success, began, computing, computed, now()));
    ignore(TRITONBACKEND_RequestRelease(request_, kReleaseAll));
    // Sending takes ownership of the response, but not of the error.
    ignore(error_);
  }

 private:
  const float* read(const Tensor& tensor) {
    TRITONBACKEND_Input* input = nullptr;
    check(TRITONBACKEND_RequestInput(request_, tensor.name.c_str(), &input));
    TRITONSERVER_DataType kind;
    const int64_t* shape = nullptr;
    uint32_t dims = 0, buffers = 0;
    uint64_t bytes = 0;
    check(TRITONBACKEND_InputProperties(input, nullptr, &kind, &shape, &dims, &bytes, &buffers));
    const bool fits = kind == kFloat32 && dims == tensor.shape.size() + 1 &&
                      std::equal(tensor.shape.begin(), tensor.shape.end(), shape + 1);
    if (!fits) throw Refusal(kInvalidArgument, "input '" + tensor.name + "' has another type or shape");
    if (rows_ == 0) rows_ = shape[0];
    if (rows_ < 1 || shape[0] != rows_ || bytes != uint64_t(rows_ * tensor.floats()) * sizeof(float))
      throw Refusal(kInvalidArgument, "input '" + tensor.name + "' has another number of rows or bytes");
    return contiguous(input, buffers, bytes);
  }

  // The input as one contiguous array: in place if it is one, otherwise a copy.
  const float* contiguous(TRITONBACKEND_Input* input, uint32_t buffers, uint64_t bytes) {
    char* to = nullptr;
    for (uint32_t i = 0; i < buffers; i++) {
      const void* from = nullptr;
      uint64_t size = 0;
      TRITONSERVER_MemoryType memory = kCpu;
      int64_t memory_id = 0;
      check(TRITONBACKEND_InputBuffer(input, i, &from, &size, &memory, &memory_id));
      if (memory == kGpu) throw Refusal(kUnsupported, "inputs on a GPU are not supported");
      if (buffers == 1 && size == bytes && reinterpret_cast<uintptr_t>(from) % alignof(float) == 0)
        return static_cast<const float*>(from);
      if (to == nullptr) {
        copies_.push_back(std::make_unique<float[]>(bytes / sizeof(float)));
        to = reinterpret_cast<char*>(copies_.back().get());
      }
      if (size > bytes) throw Refusal(kInvalidArgument, "an input has more bytes than its shape");
      std::memcpy(to, from, size);
      to += size;
      bytes -= size;
    }
    if (bytes != 0) throw Refusal(kInvalidArgument, "an input has fewer bytes than its shape");
    return copies_.back().get();
  }

  void prepare_response(const Tensor& tensor) {
    std::vector<int64_t> shape{rows_};
    shape.insert(shape.end(), tensor.shape.begin(), tensor.shape.end());
    check(TRITONBACKEND_ResponseNew(&response_, request_));
    TRITONBACKEND_Output* output = nullptr;
    check(TRITONBACKEND_ResponseOutput(response_, &output, tensor.name.c_str(), kFloat32, shape.data(),
                                       uint32_t(shape.size())));
    void* buffer = nullptr;
    TRITONSERVER_MemoryType memory = kCpu;
    int64_t memory_id = 0;
    const uint64_t bytes = uint64_t(rows_ * tensor.floats()) * sizeof(float);
    check(TRITONBACKEND_OutputBuffer(output, &buffer, bytes, &memory, &memory_id));
    if (memory == kGpu || reinterpret_cast<uintptr_t>(buffer) % alignof(float) != 0)
      throw Refusal(kUnsupported, "outputs on a GPU or at unaligned addresses are not supported");
    output_ = static_cast<float*>(buffer);
  }

  TRITONBACKEND_Request* request_;
  TRITONBACKEND_Response* response_ = nullptr;
  TRITONSERVER_Error* error_ = nullptr;
  int64_t rows_ = 0;
  std::vector<const float*> inputs_;
  std::vector<std::unique_ptr<float[]>> copies_;
  float* output_ = nullptr;
};

using Batch = std::vector<Request*>;

// Evaluate the rows of several requests as one call, so that the weights are not read for every small request.
void evaluate_joined(Model& model, const Batch& batch, int64_t rows) {
  std::vector<std::unique_ptr<float[]>> joined;
  std::vector<const float*> inputs;
  for (size_t i = 0; i < model.layout.inputs.size(); i++) {
    const int64_t floats = model.layout.inputs[i].floats();
    joined.push_back(std::make_unique<float[]>(size_t(rows * floats)));
    float* to = joined.back().get();
    for (const Request* one : batch) to = std::copy_n(one->inputs()[i], one->rows() * floats, to);
    inputs.push_back(joined.back().get());
  }
  const int64_t floats = model.output().floats();
  const auto output = std::make_unique<float[]>(size_t(rows * floats));
  model.pool.run(rows, inputs.data(), output.get());
  const float* from = output.get();
  for (const Request* one : batch) {
    std::copy_n(from, one->rows() * floats, one->output());
    from += one->rows() * floats;
  }
}

void evaluate(Model& model, const Batch& batch, int64_t rows) {
  try {
    if (batch.size() == 1)
      model.pool.run(rows, batch[0]->inputs().data(), batch[0]->output());
    else if (!batch.empty())
      evaluate_joined(model, batch, rows);
  } catch (const std::exception& error) {
    // Clients are not told the message, which may name files of this machine.
    ignore(TRITONSERVER_LogMessage(kLogError, __FILE__, __LINE__, error.what()));
    for (Request* one : batch) one->fail();
  }
}

Model* model_of(TRITONBACKEND_ModelInstance* instance) {
  TRITONBACKEND_Model* model = nullptr;
  void* state = nullptr;
  check(TRITONBACKEND_ModelInstanceModel(instance, &model));
  check(TRITONBACKEND_ModelState(model, &state));
  return static_cast<Model*>(state);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend*) {
  return guarded([] {
    uint32_t major = 0, minor = 0;
    check(TRITONBACKEND_ApiVersion(&major, &minor));
    if (major != kApiMajor || minor < kApiMinor) throw Refusal(kUnsupported, "this version of Triton has another backend interface");
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model) {
  return guarded([&] {
    int kind = 0;
    const char* location = nullptr;
    uint64_t version = 0;
    check(TRITONBACKEND_ModelRepository(model, &kind, &location));
    check(TRITONBACKEND_ModelVersion(model, &version));
    auto state = std::make_unique<Model>(std::string(location) + "/" + std::to_string(version));
    check(TRITONBACKEND_ModelSetState(model, state.get()));
    state.release();
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model) {
  return guarded([&] {
    void* state = nullptr;
    check(TRITONBACKEND_ModelState(model, &state));
    delete static_cast<Model*>(state);
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance,
                                                       TRITONBACKEND_Request** requests, const uint32_t count) {
  const uint64_t began = now();
  Model* model = nullptr;
  if (TRITONSERVER_Error* error = guarded([&] { model = model_of(instance); })) return error;
  // An error returned above leaves the requests to the server. From here on every request gets a response of its own.
  std::vector<std::unique_ptr<Request>> all;
  Batch valid;
  int64_t rows = 0;
  for (uint32_t i = 0; i < count; i++) {
    all.push_back(std::make_unique<Request>(requests[i], *model));
    if (!all.back()->valid()) continue;
    valid.push_back(all.back().get());
    rows += all.back()->rows();
  }
  const uint64_t computing = now();
  evaluate(*model, valid, rows);
  const uint64_t computed = now();
  for (const auto& one : all) one->finish(instance, began, computing, computed);
  ignore(TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, uint64_t(rows), began, computing, computed, now()));
  return nullptr;
}
}  // extern "C"
#pragma GCC visibility pop
