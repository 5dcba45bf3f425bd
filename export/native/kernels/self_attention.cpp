#include "attention.h"
#include "registry.h"

namespace native {
namespace {

// Self-attention over the positions of a row: (T, 3 C), the queries, keys and values of all heads, -> (T, C).
class SelfAttention final : public Operator {
 public:
  explicit SelfAttention(Reader& r)
      : in_(r.source()), frames_(r.count(1)), heads_(r.count(1)), d_(r.count(1)), mask_(r), out_(r.target()) {
    require(heads_ * d_ <= kMaxSize, "an operator's size is out of range");
    fits(in_, 0, frames_ * 3 * heads_ * d_);
    fits(out_, 0, frames_ * heads_ * d_);
  }
  int64_t scratch() const override {
    return padded(frames_) * (1 + d_ + frames_) + frames_ * padded(d_) + kLanes;
  }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    const int64_t c = heads_ * d_, ld = 3 * c, width = padded(frames_);
    float *bias = frame.scratch, *kt = bias + width, *scores = kt + width * d_, *values = scores + width * frames_;
    for (int64_t r = 0; r < frame.rows; r++) {
      mask_.bias(frame, r, frames_, bias);
      for (int64_t h = 0; h < heads_; h++) {
        const float *q = in.row(r) + h * d_, *k = q + c, *v = k + c;
        transpose(k, ld, frames_, d_, kt);
        int64_t ldv = ld;
        if (d_ % kLanes) {  // whole vectors would reach into the next head, and past the end in the last one
          ldv = padded(d_);
          for (int64_t t = 0; t < frames_; t++) std::copy_n(v + t * ld, d_, values + t * ldv);
          v = values;
        }
        attend(Head{q, ld, frames_, d_, frames_, kt, v, ldv, bias, out.row(r) + h * d_, c}, scores);
      }
    }
  }

 private:
  Buffer in_;
  int64_t frames_, heads_, d_;
  KeyMask mask_;
  Buffer out_;
};

REGISTER_OPERATOR("self_attention", SelfAttention)

}  // namespace
}  // namespace native
