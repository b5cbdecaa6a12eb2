// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [2, 70, 14, 40], "strides": [39200, 560, 40, 1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [2, 8, 14, 40], "strides": [4480, 560, 40, 1]}}, {"source": ["arg", 1], "spec": {"dtype": "float32", "name": "arg1", "shape": [70, 8, 3, 3], "strides": [72, 9, 3, 1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "arg1", "out0", "workspace"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 662080}
// convolution
//   input  arg0: float32[2, 8, 14, 40]
//   input  arg1: float32[70, 8, 3, 3]
//   output out0: float32[2, 70, 14, 40]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
static void k0([[maybe_unused]] const float* arg0, [[maybe_unused]] const float* arg1, [[maybe_unused]] float* out0, char* scratch) {
  typedef kw::gemm::Tile<float, 14, 2, 72, 1024, false, 2, false, false> Tile;
  const int64_t depth_ = 72, steps_ = kw::ceil_div(depth_, Tile::EACH);
  const kw::gemm::Shape shape_{1, 70, 1120, steps_, depth_, 72, 1024, 966};
  const int64_t work_ = shape_.batch * shape_.m * shape_.n * depth_;
  const int threads_ = work_ < 1048576 ? 1 : kw::min(2, kw::max_threads());
  auto* const b_copy_ = reinterpret_cast<float*>(scratch);
  char* const after_b_ = scratch + 43264;
  char* const rest_ = after_b_;
  const int64_t b_extent_[] = {2, 8, 16, 42}, b_size_[] = {2, 8, 14, 40}, b_stride_[] = {4480, 560, 40, 1};
  const int64_t b_start_[] = {0, 0, -1, -1};
  kw::parallel_for(256, threads_ > 1 ? 1 : 256, [&](int64_t from_, int64_t to_) { kw::gemm::pad<4>(b_copy_, arg0 + 0, b_extent_, b_start_, b_size_, b_stride_, float(0.0), from_, to_); });
  auto enter_ = [&](int thread_, int64_t batch_) {
  (void)thread_; (void)batch_; };
  const kw::gemm::Operand<float, true, 1, 1, 1> a_{arg1, 0, 0, 5040, {{1}, {0}}, {{70}, {72}}, {{72}, {1}}};
  const kw::gemm::Operand<float, false, 1, 3, 3> b_{b_copy_, 0, 0, 10816, {{1}, {0}}, {{2, 14, 40}, {5376, 42, 1}}, {{8, 3, 3}, {672, 42, 1}}};
  auto finish_ = [&](int64_t batch_, const float* tile_, int64_t m_, int rows_, int64_t n_, int columns_) {
  for (int i_ = 0; i_ < rows_; ++i_) {
  const int64_t a6 = m_ + i_;
  const float* at_ = tile_ + i_ * 32;
  int64_t a7_a8 = (n_) % 560;
  int64_t a5 = (n_) / 560;
  for (int left_ = columns_;;) {
  const int64_t run_ = kw::min<int64_t>(left_, 560 - a7_a8), end_ = a7_a8 + run_;
  for (; a7_a8 + kw::W <= end_; a7_a8 += kw::W, at_ += kw::W) {
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a5 * 39200 + a6 * 560 + a7_a8, acc_, kw::W);
  }
  if (a7_a8 < end_) {
  const int count_ = static_cast<int>(end_ - a7_a8);
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a5 * 39200 + a6 * 560 + a7_a8, acc_, count_);
  at_ += count_;
  }
  left_ -= run_;
  if (left_ <= 0) break;
  a7_a8 = 0;
  ++a5;
  }
  }
  };
  kw::gemm::product<Tile, true>(shape_, threads_, rest_, enter_, a_, b_, finish_);
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 4) return kw::answer(result, 5);
  const int64_t arg0_shape[] = {2, 8, 14, 40}, arg0_strides[] = {4480, 560, 40, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 4, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t arg1_shape[] = {70, 8, 3, 3}, arg1_strides[] = {72, 9, 3, 1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 4, arg1_shape, arg1_strides)) return kw::answer(result, 2);
  auto* arg1 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[1])));
  const int64_t out0_shape[] = {2, 70, 14, 40}, out0_strides[] = {39200, 560, 40, 1};
  if (!kw::matches(kw::tensor(args[2]), kw::kFloat32, 4, out0_shape, out0_strides)) return kw::answer(result, 3);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[2])));
  char* workspace = kw::data(kw::tensor(args[3]));
  k0(arg0, arg1, out0, workspace + 0);
  return kw::answer(result, 0);
}
