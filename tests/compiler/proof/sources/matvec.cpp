// kernelwright-plan: {"buffers": [{"dtype": "float32", "name": "out0", "shape": [7000], "strides": [1]}], "constants": [], "inputs": [{"source": ["arg", 0], "spec": {"dtype": "float32", "name": "arg0", "shape": [7000, 50], "strides": [50, 1]}}, {"source": ["arg", 1], "spec": {"dtype": "float32", "name": "arg1", "shape": [50], "strides": [1]}}], "literals": [], "mutations": [], "results": ["out0"], "steps": [{"args": ["arg0", "arg1", "out0", "workspace"], "entry": "run0", "kind": "EntryCall"}], "symbols": [], "treespec": null, "workspace": 1344}
// matvec
//   input  arg0: float32[7000, 50]
//   input  arg1: float32[50]
//   output out0: float32[7000]
#include <kw/abi.h>
#include <kw/vec.h>
#include <kw/math.h>
#include <kw/reduce.h>
#include <kw/gemm.h>

// kernel
#include <kw/matvec.h>
static void k0([[maybe_unused]] const float* arg0, [[maybe_unused]] const float* arg1, [[maybe_unused]] float* out0, char* scratch) {
  const int64_t k_size_ = 50, n_size_ = 7000, blocks_ = kw::ceil_div(n_size_, 64);
  const int64_t units_ = 1 * blocks_;
  const int threads_ = units_ * 64 * k_size_ < 131072 ? 1 : int(kw::min<int64_t>(kw::min(2, kw::max_threads()), kw::max<int64_t>(1, units_)));
  const kw::gemm::Axes<1> a_batch_{{1}, {0}};
  const kw::gemm::Axes<1> a_free_{{1}, {0}};
  const kw::gemm::Axes<1> a_k_{{50}, {1}};
  const kw::gemm::Axes<1> b_batch_{{1}, {0}};
  const kw::gemm::Axes<1> b_free_{{7000}, {50}};
  const kw::gemm::Axes<1> b_k_{{50}, {1}};
  auto finish_ = [&](int64_t batch_, const float* tile_, int64_t m_, int rows_, int64_t n_, int columns_) {
  for (int i_ = 0; i_ < rows_; ++i_) {
  const float* at_ = tile_ + i_ * 64;
  int64_t a4 = n_, end_ = n_ + columns_;
  for (; a4 + kw::W <= end_; a4 += kw::W, at_ += kw::W) {
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a4, acc_, kw::W);
  }
  if (a4 < end_) {
  const int count_ = static_cast<int>(end_ - a4);
  const auto acc_ = kw::load(at_);
  kw::store(out0 + a4, acc_, count_);
  at_ += count_;
  }
  }
  };
  kw::parallel(threads_, [&](int thread_, int count_) {
  float* const a_ = reinterpret_cast<float*>(scratch) + thread_ * 160;
  float* const tile_ = a_ + 80;
  int64_t entered_ = -1;
  for (int64_t unit_ = units_ * thread_ / count_; unit_ < units_ * (thread_ + 1) / count_; ++unit_) {
  const int64_t batch_ = unit_ / blocks_, n_ = unit_ % blocks_ * 64;
  const int columns_ = int(kw::min<int64_t>(64, n_size_ - n_));
  int64_t b_base_;
  b_batch_.table(batch_, 1, &b_base_);
  const auto* const from_ = arg0 + b_base_ + 0;
  if (batch_ != entered_) {
  entered_ = batch_;
  int64_t a_base_, rows_[1], steps_[256];
  a_batch_.table(batch_, 1, &a_base_);
  a_free_.table(0, 1, rows_);
  for (int64_t k_ = 0; k_ < k_size_; k_ += 256) {
  const int64_t kc_ = kw::min<int64_t>(256, k_size_ - k_);
  a_k_.table(k_, kc_, steps_);
  for (int i_ = 0; i_ < 1; ++i_) {
  float* const to_ = a_ + i_ * k_size_ + k_;
  int64_t j_ = 0;
  for (; j_ < kc_; ++j_) to_[j_] = kw::get(arg1 + a_base_ + 0 + rows_[i_] + steps_[j_]);
  }
  }
  }
  int64_t columns_at_[64];
  b_free_.table(n_, columns_, columns_at_);
  kw::matvec::dot<1>(tile_, 64, a_, k_size_, from_, columns_at_, columns_, k_size_);
  finish_(batch_, tile_, 0, 1, n_, columns_);
  }
  });
}

// entries
extern "C" KW_EXPORT int __tvm_ffi_run0(void*, const kw::Argument* args, int32_t count, kw::Argument* result) {
  if (count != 4) return kw::answer(result, 5);
  const int64_t arg0_shape[] = {7000, 50}, arg0_strides[] = {50, 1};
  if (!kw::matches(kw::tensor(args[0]), kw::kFloat32, 2, arg0_shape, arg0_strides)) return kw::answer(result, 1);
  auto* arg0 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[0])));
  const int64_t arg1_shape[] = {50}, arg1_strides[] = {1};
  if (!kw::matches(kw::tensor(args[1]), kw::kFloat32, 1, arg1_shape, arg1_strides)) return kw::answer(result, 2);
  auto* arg1 = reinterpret_cast<const float*>(kw::data(kw::tensor(args[1])));
  const int64_t out0_shape[] = {7000}, out0_strides[] = {1};
  if (!kw::matches(kw::tensor(args[2]), kw::kFloat32, 1, out0_shape, out0_strides)) return kw::answer(result, 3);
  auto* out0 = reinterpret_cast<float*>(kw::data(kw::tensor(args[2])));
  char* workspace = kw::data(kw::tensor(args[3]));
  k0(arg0, arg1, out0, workspace + 0);
  return kw::answer(result, 0);
}
