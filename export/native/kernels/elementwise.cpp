// Padding in time, and SiLU on its own.
#include <algorithm>

#include "registry.h"

namespace native {
namespace {

// (T, C) -> (before + T + after, C), padded with zeros.
class Pad final : public Operator {
 public:
  explicit Pad(Reader& r)
      : in_(r.source()), frames_(r.count(1)), channels_(r.count(1)), before_(r.count()), after_(r.count()),
        out_(r.target()) {
    fits(in_, 0, frames_ * channels_);
    fits(out_, 0, (before_ + frames_ + after_) * channels_);
  }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++) {
      float* to = out.row(r);
      std::fill_n(to, before_ * channels_, 0.0f);
      std::copy_n(in.row(r), frames_ * channels_, to + before_ * channels_);
      std::fill_n(to + (before_ + frames_) * channels_, after_ * channels_, 0.0f);
    }
  }

 private:
  Buffer in_;
  int64_t frames_, channels_, before_, after_;
  Buffer out_;
};

class Silu final : public Operator {
 public:
  explicit Silu(Reader& r) : in_(r.source()), floats_(r.count(1)), out_(r.target()) {
    fits(in_, 0, floats_);
    fits(out_, 0, floats_);
  }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    for (int64_t r = 0; r < frame.rows; r++)
      for (int64_t c = 0; c < floats_; c += kLanes)
        store(out.row(r) + c, silu(load(in.row(r) + c, floats_ - c)), floats_ - c);
  }

 private:
  Buffer in_;
  int64_t floats_;
  Buffer out_;
};

REGISTER_OPERATOR("pad", Pad)
REGISTER_OPERATOR("silu", Silu)

}  // namespace
}  // namespace native
