// The part of Triton's backend interface that is used here: tritonbackend.h and tritonserver.h, version 1, of
// github.com/triton-inference-server/core. The server that loads this library provides the functions; in other processes
// they are missing, and nothing calls them.
#pragma once

#include <cstdint>

extern "C" {

struct TRITONSERVER_Error;
struct TRITONBACKEND_Backend;
struct TRITONBACKEND_Model;
struct TRITONBACKEND_ModelInstance;
struct TRITONBACKEND_Request;
struct TRITONBACKEND_Response;
struct TRITONBACKEND_Input;
struct TRITONBACKEND_Output;

enum TRITONSERVER_Error_Code : int { kInternal = 1, kInvalidArgument = 3, kUnsupported = 5, kCancelled = 7 };
enum TRITONSERVER_DataType : int { kFloat32 = 11 };
enum TRITONSERVER_MemoryType : int { kCpu = 0, kCpuPinned = 1, kGpu = 2 };
enum TRITONSERVER_LogLevel : int { kLogError = 2 };
constexpr uint32_t kReleaseAll = 1, kFinalResponse = 1;
constexpr uint32_t kApiMajor = 1, kApiMinor = 19;

#define FROM_TRITON __attribute__((weak, visibility("default")))

FROM_TRITON TRITONSERVER_Error* TRITONSERVER_ErrorNew(TRITONSERVER_Error_Code code, const char* message);
FROM_TRITON void TRITONSERVER_ErrorDelete(TRITONSERVER_Error* error);
FROM_TRITON const char* TRITONSERVER_ErrorMessage(TRITONSERVER_Error* error);
FROM_TRITON TRITONSERVER_Error* TRITONSERVER_LogMessage(TRITONSERVER_LogLevel level, const char* file, int line,
                                                        const char* message);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ApiVersion(uint32_t* major, uint32_t* minor);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ModelRepository(TRITONBACKEND_Model* model, int* kind,
                                                              const char** location);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ModelVersion(TRITONBACKEND_Model* model, uint64_t* version);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ModelState(TRITONBACKEND_Model* model, void** state);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ModelSetState(TRITONBACKEND_Model* model, void* state);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ModelInstanceModel(TRITONBACKEND_ModelInstance* instance,
                                                                 TRITONBACKEND_Model** model);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportStatistics(TRITONBACKEND_ModelInstance* instance,
                                                                            TRITONBACKEND_Request* request,
                                                                            bool success, uint64_t exec_start,
                                                                            uint64_t compute_start,
                                                                            uint64_t compute_end, uint64_t exec_end);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportBatchStatistics(TRITONBACKEND_ModelInstance* instance,
                                                                                 uint64_t rows, uint64_t exec_start,
                                                                                 uint64_t compute_start,
                                                                                 uint64_t compute_end,
                                                                                 uint64_t exec_end);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_RequestIsCancelled(TRITONBACKEND_Request* request, bool* cancelled);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_RequestInput(TRITONBACKEND_Request* request, const char* name,
                                                           TRITONBACKEND_Input** input);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_RequestRelease(TRITONBACKEND_Request* request, uint32_t flags);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_InputProperties(TRITONBACKEND_Input* input, const char** name,
                                                              TRITONSERVER_DataType* kind, const int64_t** shape,
                                                              uint32_t* dims, uint64_t* bytes, uint32_t* buffers);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_InputBuffer(TRITONBACKEND_Input* input, uint32_t index,
                                                          const void** buffer, uint64_t* bytes,
                                                          TRITONSERVER_MemoryType* memory, int64_t* memory_id);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ResponseNew(TRITONBACKEND_Response** response,
                                                          TRITONBACKEND_Request* request);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response* response,
                                                             TRITONBACKEND_Output** output, const char* name,
                                                             TRITONSERVER_DataType kind, const int64_t* shape,
                                                             uint32_t dims);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(TRITONBACKEND_Output* output, void** buffer, uint64_t bytes,
                                                           TRITONSERVER_MemoryType* memory, int64_t* memory_id);
FROM_TRITON TRITONSERVER_Error* TRITONBACKEND_ResponseSend(TRITONBACKEND_Response* response, uint32_t flags,
                                                           TRITONSERVER_Error* error);

#undef FROM_TRITON
}
