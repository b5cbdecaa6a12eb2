// The C entry of a kernel: tvm-ffi's packed calling convention, declared here so that a build needs no other header.
// An entry is
//   extern "C" KW_EXPORT int __tvm_ffi_NAME(void*, const kw::Argument* args, int32_t count, kw::Argument* result)
// and answers through `result` with 0, or with 1 + the position of the argument that is outside the kernel's domain.
#pragma once
#include "base.h"

#define KW_EXPORT __attribute__((visibility("default")))

namespace kw {

struct DataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct Tensor {  // DLTensor
  void* data;
  int32_t device_type, device_id;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null means row-major
  uint64_t byte_offset;
};
struct Argument {
  int32_t type;
  uint32_t padding;
  union {
    int64_t integer;
    double real;
    void* pointer;
  };
};

// DLDataTypeCode in the upper byte, bits in the lower.
enum Dtype : int {
  kFloat64 = 0x240,
  kFloat32 = 0x220,
  kFloat16 = 0x210,
  kBFloat16 = 0x410,
  kInt64 = 0x040,
  kInt32 = 0x020,
  kInt16 = 0x010,
  kInt8 = 0x008,
  kUInt8 = 0x108,
  kBool = 0x608,
};

KW_INLINE const Tensor* tensor(const Argument& a) {
  // 7: a bare DLTensor*; 70: a tvm-ffi tensor object, whose DLTensor follows the 24-byte object header.
  if (a.type == 7) return static_cast<const Tensor*>(a.pointer);
  return a.type == 70 ? reinterpret_cast<const Tensor*>(static_cast<const char*>(a.pointer) + 24) : nullptr;
}

KW_INLINE char* data(const Tensor* t) { return static_cast<char*>(t->data) + t->byte_offset; }

KW_INLINE int answer(Argument* result, int64_t value) {
  result->type = 1;
  result->padding = 0;
  result->integer = value;
  return 0;
}

// Is t a tensor of exactly this dtype, shape and layout? Strides of dimensions of size 1, and of empty tensors, do not matter.
inline bool matches(const Tensor* t, int dtype, int ndim, const int64_t* shape, const int64_t* strides) {
  if (!t || t->device_type != 1 || t->ndim != ndim || (t->dtype.code << 8 | t->dtype.bits) != dtype) return false;
  for (int d = 0; d < ndim; ++d)
    if (t->shape[d] != shape[d]) return false;
  for (int d = 0; d < ndim; ++d)
    if (shape[d] == 0) return true;
  int64_t compact = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    int64_t stride = t->strides ? t->strides[d] : compact;
    if (shape[d] != 1 && stride != strides[d]) return false;
    compact *= shape[d];
  }
  return true;
}

}  // namespace kw
