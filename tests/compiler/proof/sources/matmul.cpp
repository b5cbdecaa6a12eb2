// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [70, 45], "strides": [45, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [70, 50], "strides": [50, 1]}}, {"source": ["arg", 1], "spec": {"dtype": "float32", "name": "arg1", "shape": [50, 45], "strides": [45, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "arg1", "out0", "workspace"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 38080}
// matmul
//   input  arg0: float32[70, 50]
//   input  arg1: float32[50, 45]
//   output out0: float32[70, 45]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0([[maybe_unused]] const float* arg0, [[maybe_unused]] const float* arg1, [[maybe_unused]] float* out0, char* scratch) {
  typedef kw::gemm::Tile<float, 9, 3, 50, 48, false, 1, true, false> Tile;
  const int64_t depth_ = 50, steps_ = kw::ceil_div(depth_, Tile::EACH);
  const kw::gemm::Shape shape_{1, 70, 45, steps_, depth_, 50, 48, 963};
  const int64_t work_ = shape_.batch * shape_.m * shape_.n * depth_;
  const int threads_ = work_ < 1048576 ? 1 : kw::min(2, kw::max_threads());
  char* const rest_ = scratch;
  auto enter_ = [&](int thread_, int64_t batch_) {
  (void)thread_; (void)batch_; };
  const kw::gemm::Operand<float, true, 1, 1, 1> a_{arg0, 0, 0, 3500, {{1}, {0}}, {{70}, {50}}, {{50}, {1}}};
  const kw::gemm::Operand<float, false, 1, 1, 1> b_{arg1, 0, 0, 2250, {{1}, {0}}, {{45}, {1}}, {{50}, {45}}};
  auto finish_ = [&](int64_t batch_, const float* tile_, int64_t m_, int rows_, int64_t n_, int columns_) {
  for (int i_ = 0; i_ < rows_; ++i_) {
  const int64_t a5 = m_ + i_;
  const float* at_ = tile_ + i_ * 48;
  int64_t a6 = n_, end_ = n_ + columns_;
  for (; a6 + kw::W <= end_; a6 += kw::W, at_ += kw::W) {
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a5 * 45 + a6, acc_, kw::W);
  }
  if (a6 < end_) {
  const int count_ = static_cast<int>(end_ - a6);
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a5 * 45 + a6, acc_, count_);
  at_ += count_;
  }
  }
  };
  kw::gemm::product<Tile, true>(shape_, threads_, rest_, enter_, a_, b_, finish_);
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 4) return kw::answer(result, 5);
  const int64_t arg0_shape[] = {70, 50}, arg0_strides[] = {50, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t arg1_shape[] = {50, 45}, arg1_strides[] = {45, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 2, arg1_shape, arg1_strides)) return kw::answer(result, 2);
  auto* arg1 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[1])));
  const int64_t out0_shape[] = {70, 45}, out0_strides[] = {45, 1};
  if (!kw::matches(kw::tensor(args[2]), kw::kFloat32, 2, out0_shape, out0_strides)) return kw::answer(result, 3);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[2])));
  char* workspace = kw::data(kw::tensor(args[3]));
  k0(arg0, arg1, out0, workspace + 0);
  return kw::answer(result, 0);
}
