// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [2, 48, 44, 45], "strides": [95040, 1980, 45, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [2, 48, 44, 45], "strides": [95040, 1980, 45, 1]}}, {"source": ["arg", 1], "spec": {"dtype": "float32", "name": "arg1", "shape": [48, 1, 3, 3], "strides": [9, 9, 3, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "arg1", "out0", "workspace"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 21184}
// depthwise
//   input  arg0: float32[2, 48, 44, 45]
//   input  arg1: float32[48, 1, 3, 3]
//   output out0: float32[2, 48, 44, 45]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
#include <kw/window.h>
static void k0([[maybe_unused]] const float* arg0, [[maybe_unused]] const float* arg1, [[maybe_unused]] float* out0, char* scratch) {
  typedef kw::window::Window<3, 3, 1, 1, 1, 1, 6, 3, false> Window;
  const int64_t units_ = 96;
  const int64_t extent_[2] = {46, 47}, size_[2] = {44, 45};
  const int64_t stride_[2] = {45, 1};
  const kw::gemm::Axes<1> plane_table_{{1}, {0}};
  const kw::gemm::Axes<1> weight_table_{{9}, {1}};
  int64_t planes_[1], weights_[9];
  plane_table_.table(0, 1, planes_);
  weight_table_.table(0, 9, weights_);
  auto finish_ = [&](int64_t batch_, const float* tile_, int64_t m_, int rows_, int64_t n_, int columns_) {
  const int64_t a4 = (batch_) % 2;
  const int64_t a5 = (batch_) / 2;
  for (int i_ = 0; i_ < rows_; ++i_) {
  const int64_t a6 = m_ + i_;
  const float* at_ = tile_ + i_ * 48;
  int64_t a7 = n_, end_ = n_ + columns_;
  for (; a7 + kw::W <= end_; a7 += kw::W, at_ += kw::W) {
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a4 * 95040 + a5 * 1980 + a6 * 45 + a7, acc_, kw::W);
  }
  if (a7 < end_) {
  const int count_ = static_cast<int>(end_ - a7);
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a4 * 95040 + a5 * 1980 + a6 * 45 + a7, acc_, count_);
  at_ += count_;
  }
  }
  };
  const int most_ = kw::min(2, kw::max_threads());
  const int threads_ = int64_t(190080) * 9 < 1048576 ? 1 : int(kw::min<int64_t>(most_, units_));
  kw::parallel(threads_, [&](int thread_, int count_) {
  float* const plane_ = reinterpret_cast<float*>(scratch) + thread_ * 2640;
  float* const w_ = plane_ + 2620;
  bool first_ = true;
  for (int64_t unit_ = units_ * thread_ / count_; unit_ < units_ * (thread_ + 1) / count_; ++unit_) {
  [[maybe_unused]] const int64_t a4 = (unit_) % 2;
  [[maybe_unused]] const int64_t a5 = (unit_) / 2;
  const int64_t start_[2] = {-1, -1};
  kw::gemm::pad<2>(plane_, arg0 + a4 * 95040 + a5 * 1980, extent_, start_, size_, stride_, float(0.0), 0, 46, first_);
  first_ = false;
  const auto* from_ = arg1 + a5 * 9;
  for (int i_ = 0; i_ < 9; ++i_) w_[i_] = kw::get(from_ + weights_[i_]);
  for (int64_t row_ = 0; row_ < 44; row_ += 6)
  for (int64_t column_ = 0; column_ < 45; column_ += 48) {
  alignas(64) float tile_[288];
  Window::run(tile_, plane_ + row_ * 47 + column_ * 1 + 0, 47, w_, planes_, 1);
  finish_(unit_, tile_, row_, int(kw::min<int64_t>(6, 44 - row_)), column_, int(kw::min<int64_t>(48, 45 - column_)));
  }
  }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 4) return kw::answer(result, 5);
  const int64_t arg0_shape[] = {2, 48, 44, 45}, arg0_strides[] = {95040, 1980, 45, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 4, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t arg1_shape[] = {48, 1, 3, 3}, arg1_strides[] = {9, 9, 3, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 4, arg1_shape, arg1_strides)) return kw::answer(result, 2);
  auto* arg1 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[1])));
  const int64_t out0_shape[] = {2, 48, 44, 45}, out0_strides[] = {95040, 1980, 45, 1};
  if (!kw::matches(kw::tensor(args[2]), kw::kFloat32, 4, out0_shape, out0_strides)) return kw::answer(result, 3);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[2])));
  char* workspace = kw::data(kw::tensor(args[3]));
  k0(arg0, arg1, out0, workspace + 0);
  return kw::answer(result, 0);
}
