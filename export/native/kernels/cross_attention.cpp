// Cross-attention whose keys and values are computed once for each context and cached: they stay the same over all steps
// of a request, and all unconditional rows share one context.
#include <algorithm>
#include <cstring>
#include <memory>

#include "attention.h"
#include "registry.h"

namespace native {
namespace {

constexpr int64_t kContexts = kMaxRows;  // that are cached: as many as a call has rows at most

// Only to find candidates: contexts of equal hash are compared as a whole.
inline uint64_t hash(const float* values, int64_t floats) {
  uint64_t lanes[4] = {1, 2, 3, 4};
  int64_t i = 0;
  for (; i + 8 <= floats; i += 8)
    for (int j = 0; j < 4; j++) {
      uint64_t word;
      std::memcpy(&word, values + i + 2 * j, 8);
      lanes[j] = (lanes[j] ^ word) * 0x9e3779b97f4a7c15u;
      lanes[j] ^= lanes[j] >> 32;
    }
  for (; i < floats; i++) {
    uint32_t word;
    std::memcpy(&word, values + i, 4);
    lanes[0] = (lanes[0] ^ word) * 0x9e3779b97f4a7c15u;
  }
  return lanes[0] ^ (lanes[1] * 3) ^ (lanes[2] * 5) ^ (lanes[3] * 7);
}

// Keys and values of all cross-attentions of a network for the most recent contexts, and those of each row of the call.
// Shared by the operators of a program.
struct Conditions final : State {
  struct Heads {
    int64_t heads, d, at, each;  // offset of the first head's keys and values, and floats from head to head
  };
  struct Entry {
    uint64_t hash = 0;
    uint64_t used = 0;
    std::unique_ptr<float[]> context, made;
  };
  int64_t tokens = 0, floats = 0;
  std::vector<Heads> blocks;
  std::vector<Entry> entries;
  std::vector<const float*> rows;
  uint64_t clock = 0;
};

// Looks up the context of each row, and computes its keys and values if it is new.
class Condition final : public Operator {
 public:
  explicit Condition(Reader& r)
      : cache_(r.shared<Conditions>()), context_(r.source()), tokens_(r.count(1)), dim_(r.count(1)) {
    require(cache_.blocks.empty() && r.per_call(), "a program has one condition, which is of the whole call");
    const int64_t blocks = r.count(1, 4096);
    int64_t at = 0;
    for (int64_t i = 0; i < blocks; i++) {
      const int64_t heads = r.count(1), d = r.count(1);
      require(heads * d <= kMaxSize, "an operator's size is out of range");
      const int64_t each = d * padded(tokens_) + tokens_ * padded(d);
      require(each <= kMaxSize && at + heads * each <= int64_t(1) << 30, "an operator's size is out of range");
      cache_.blocks.push_back({heads, d, at, each});
      at += heads * each;
      n_ += 2 * heads * d;
    }
    panels_ = (n_ + kPanel - 1) / kPanel;
    w_ = r.weights(panels_ * kPanel * dim_);
    table_ = r.weights(tokens_ * panels_ * kPanel);
    fits(context_, 0, tokens_ * dim_);
    cache_.tokens = tokens_;
    cache_.floats = at;
    cache_.entries.resize(kContexts);
    cache_.rows.resize(kContexts);
  }

  int64_t scratch() const override { return tokens_ * n_ + kLanes; }

  void run(const Frame& frame) override {
    const Rows context = frame.rows_of(context_);
    cache_.clock++;
    for (int64_t r = 0; r < frame.rows; r++) cache_.rows[r] = entry(context.row(r), frame.scratch).made.get();
  }

 private:
  Conditions::Entry& entry(const float* context, float* scratch) {
    const int64_t floats = tokens_ * dim_;
    const uint64_t key = hash(context, floats);
    Conditions::Entry* oldest = &cache_.entries[0];
    for (Conditions::Entry& one : cache_.entries) {
      if (one.used && one.hash == key && std::memcmp(one.context.get(), context, floats * sizeof(float)) == 0) {
        one.used = cache_.clock;
        return one;
      }
      if (one.used < oldest->used) oldest = &one;
    }
    // A call has no more rows than there are entries, and uses the newest: it never replaces an entry of its own.
    Conditions::Entry& one = *oldest;
    one.used = 0;
    if (!one.made) {
      one.context = std::make_unique<float[]>(floats);
      one.made = std::make_unique<float[]>(cache_.floats + kLanes);
    }
    // Everything is computed from the copy: the caller's memory may be shared, and change once the call is abandoned.
    std::copy_n(context, floats, one.context.get());
    make(one.context.get(), scratch, one.made.get());
    one.hash = hash(one.context.get(), floats);
    one.used = cache_.clock;
    return one;
  }

  void make(const float* context, float* products, float* out) const {
    for (int64_t panel = 0; panel < panels_; panel++) {
      const int64_t column = panel * kPanel, columns = std::min<int64_t>(kPanel, n_ - column);
      for_each_tile(tokens_, [&](int64_t first, int64_t rows) {
        multiply(Tile{context + first * dim_, dim_, w_ + column * dim_, kPanel, dim_, products + first * n_ + column, n_,
                      columns, nullptr, table_ + first * panels_ * kPanel + column, panels_ * kPanel, nullptr, 0},
                 rows);
      });
    }
    int64_t column = 0;
    for (const Conditions::Heads& block : cache_.blocks) {
      const int64_t c = block.heads * block.d, width = padded(block.d);
      for (int64_t h = 0; h < block.heads; h++) {
        const float *keys = products + column + h * block.d, *values = keys + c;
        float* to = out + block.at + h * block.each;
        transpose(keys, n_, tokens_, block.d, to);
        to += block.d * padded(tokens_);
        for (int64_t t = 0; t < tokens_; t++) std::copy_n(values + t * n_, block.d, to + t * width);
      }
      column += 2 * c;
    }
  }

  Conditions& cache_;
  Buffer context_;
  int64_t tokens_, dim_, n_ = 0, panels_ = 0;
  const float *w_ = nullptr, *table_ = nullptr;
};

// Attention of the positions of a row (T, C) to its context. The keys and values are those of block `block` of the
// program's condition.
class CrossAttention final : public Operator {
 public:
  explicit CrossAttention(Reader& r)
      : conditions_(r.shared<Conditions>()), in_(r.source()), frames_(r.count(1)), block_(r.count(0)), mask_(r), out_(r.target()) {
    require(block_ < int64_t(conditions_.blocks.size()), "an attention has no condition");
    const auto& [heads, d, at, each] = conditions_.blocks[block_];
    fits(in_, 0, frames_ * heads * d);
    fits(out_, 0, frames_ * heads * d);
  }
  int64_t scratch() const override { return padded(conditions_.tokens) * (1 + frames_) + kLanes; }
  void run(const Frame& frame) override {
    const Rows in = frame.rows_of(in_), out = frame.rows_of(out_);
    const auto& [heads, d, at, each] = conditions_.blocks[block_];
    const int64_t c = heads * d, tokens = conditions_.tokens;
    float *bias = frame.scratch, *scores = bias + padded(tokens);
    for (int64_t r = 0; r < frame.rows; r++) {
      mask_.bias(frame, r, tokens, bias);
      const float* const* made = &conditions_.rows[frame.first + r];
      for (int64_t h = 0; h < heads; h++) {
        const float* kt = *made + at + h * each;
        const float* next = h + 1 < heads ? kt + each : made[r + 1 < frame.rows] + at;
        attend(Head{in.row(r) + h * d, c, frames_, d, tokens, kt, kt + d * padded(tokens), padded(d), bias,
                    out.row(r) + h * d, c, next, each},
               scores);
      }
    }
  }

 private:
  const Conditions& conditions_;
  Buffer in_;
  int64_t frames_, block_;
  KeyMask mask_;
  Buffer out_;
};

REGISTER_OPERATOR("condition", Condition)
REGISTER_OPERATOR("cross_attention", CrossAttention)

}  // namespace
}  // namespace native
