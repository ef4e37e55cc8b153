#include "score.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "half.h"
#include "parallel.h"
#include "simd.h"

namespace legs4d {
namespace {

constexpr int kAtOnce = 2 * kLanes;  // codes; a phrase's number is loaded once for both vectors
constexpr int kPhrases = 4;          // multiplied at once: 8 sums stay in registers
constexpr int kItem = 4096;          // codes of a work item
constexpr float kLeastSquare = 1e-12f;

inline floatv square_root(floatv v) {
#if defined(__AVX__)
  return (floatv)_mm256_sqrt_ps((__m256)v);
#else
  for (int i = 0; i < kLanes; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}

// Rows of 8 numbers become columns.
inline void transpose(floatv* r) {
#if defined(__AVX__)
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps((__m256)r[i], (__m256)r[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps((__m256)r[i], (__m256)r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = (floatv)_mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    r[i + 4] = (floatv)_mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
#else
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const float kept = r[i][j];
      r[i][j] = r[j][i];
      r[j][i] = kept;
    }
#endif
}

// The compiler would read a value anew from memory for every product that it is in, and reading is what a product waits for.
inline void keep_in_register(floatv& v) {
#if defined(__AVX__)
  asm("" : "+x"(v));
#else
  (void)v;
#endif
}

// Directions as they are multiplied: in groups of kPhrases, [group, K, kPhrases], padded with 0.
std::vector<float> grouped(const ScoreQuery& query) {
  const int all = query.prompts + query.canonical + 1, groups = (all + kPhrases - 1) / kPhrases;
  std::vector<float> out(static_cast<size_t>(groups) * query.dim * kPhrases, 0.0f);
  for (int p = 0; p < all; ++p)
    for (int k = 0; k < query.dim; ++k)
      out[(static_cast<size_t>(p / kPhrases) * query.dim + k) * kPhrases + p % kPhrases] =
          query.directions[static_cast<size_t>(p) * query.dim + k];
  return out;
}

class Scorer {
 public:
  Scorer(const ScoreQuery& query, const std::vector<float>& directions)
      : query_(query),
        directions_(directions),
        padded_dim_((query.dim + kLanes - 1) / kLanes * kLanes),
        codes_(2 * padded_dim_),
        products_(2 * directions.size() / query.dim) {}

  // kAtOnce codes (fewer exist: `count`), one a lane.
  void load(const uint16_t* from, int count) {
    for (int half = 0; half < 2; ++half) {
      square_[half] = floatv{};
      for (int k = 0; k < padded_dim_; k += kLanes) {
        floatv* to = &codes_[half * padded_dim_ + k];
        if (half * kLanes + kLanes <= count && k + kLanes <= query_.dim)
          for (int i = 0; i < kLanes; ++i) to[i] = load_halves(from + (half * kLanes + i) * query_.dim + k);
        else
          for (int i = 0; i < kLanes; ++i) to[i] = load_part(from, half * kLanes + i, count, k);
        transpose(to);
        floatv parts[4];  // four chains of additions instead of one, which would have to wait for itself
        for (int i = 0; i < 4; ++i) parts[i] = to[i] * to[i] + to[i + 4] * to[i + 4];
        square_[half] += (parts[0] + parts[1]) + (parts[2] + parts[3]);
      }
    }
  }

  void multiply() {
    const int groups = static_cast<int>(products_.size() / (2 * kPhrases));
    for (int g = 0; g < groups; ++g) {
      floatv sums[2][kPhrases] = {};
      const float* d = directions_.data() + static_cast<size_t>(g) * query_.dim * kPhrases;
      const floatv *first = codes_.data(), *second = first + padded_dim_;
      for (int k = 0; k < query_.dim; ++k, d += kPhrases) {
        floatv z0 = first[k], z1 = second[k];
        keep_in_register(z0);
        keep_in_register(z1);
        for (int p = 0; p < kPhrases; ++p) {
          sums[0][p] += z0 * d[p];
          sums[1][p] += z1 * d[p];
        }
      }
      for (int p = 0; p < kPhrases; ++p)
        for (int half = 0; half < 2; ++half) products_[2 * (g * kPhrases + p) + half] = sums[half][p];
    }
  }

  // By how much the cosine with prompt q exceeds the greatest with a canonical phrase, in excess[q · stride], of one half's
  // codes.
  void compare(int half, floatv* excess, int stride) const {
    const int phrases = query_.prompts + query_.canonical;
    floatv square = square_[half] + 2.0f * products_[2 * phrases + half] + query_.mean_square;
    square = square > kLeastSquare ? square : splat(kLeastSquare);
    const floatv scale = 1.0f / square_root(square);
    auto cosine = [&](int p) {
      const floatv c = min((products_[2 * p + half] + query_.offsets[p]) * scale, splat(1.0f));
      return c > -1.0f ? c : splat(-1.0f);
    };
    floatv rival = cosine(query_.prompts);
    for (int p = query_.prompts + 1; p < phrases; ++p) {
      const floatv other = cosine(p);
      rival = other > rival ? other : rival;
    }
    for (int q = 0; q < query_.prompts; ++q) excess[static_cast<size_t>(q) * stride] = cosine(q) - rival;
  }

 private:
  // Numbers k .. k + 7 of a code, 0 past its end and past the last code.
  floatv load_part(const uint16_t* from, int code, int count, int k) const {
    if (code >= count) return floatv{};
    const uint16_t* at = from + static_cast<int64_t>(code) * query_.dim + k;
    if (k + kLanes <= query_.dim) return load_halves(at);
    floatv v{};
    for (int i = 0; k + i < query_.dim; ++i) v[i] = half_to_float(at[i]);
    return v;
  }

  const ScoreQuery& query_;
  const std::vector<float>& directions_;
  int padded_dim_;
  std::vector<floatv> codes_;     // [half, K]: number k of 8 codes
  std::vector<floatv> products_;  // [phrase, half]
  floatv square_[2];
};

// exp(-|x|), without overflow.
inline floatv decay(floatv x) {
  const floatv away = x > 0.0f ? -x : x;
  return exp_negative(away < -80.0f ? splat(-80.0f) : away);
}

// `lanes` floats of memory, the rest 0.
inline floatv load_some(const float* from, int lanes) {
  if (lanes == kLanes) return load(from);
  floatv v{};
  for (int i = 0; i < lanes; ++i) v[i] = from[i];
  return v;
}

// Multiplies codes begin .. end - 1, and calls body(half, first, lanes) for up to kLanes of them at a time.
template <typename Body>
void multiply_codes(Scorer& scorer, const uint16_t* codes, int dim, int64_t begin, int64_t end, const Body& body) {
  for (int64_t n = begin; n < end; n += kAtOnce) {
    scorer.load(codes + n * dim, static_cast<int>(std::min<int64_t>(kAtOnce, end - n)));
    scorer.multiply();
    for (int half = 0; half < 2; ++half) {
      const int64_t first = n + half * kLanes;
      const int lanes = static_cast<int>(std::min<int64_t>(kLanes, end - first));
      if (lanes > 0) body(half, first, lanes);
    }
  }
}

inline unsigned bits_of(intv mask) {
#if defined(__AVX__)
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask));
#else
  unsigned bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= (mask[i] ? 1u : 0u) << i;
  return bits;
#endif
}

// For every set of lanes, the lanes that are in it, in order; a byte each, the rest 0.
struct LaneLists {
  uint64_t lists[256] = {};

  constexpr LaneLists() {
    for (unsigned bits = 0; bits < 256; ++bits)
      for (int lane = 0, found = 0; lane < kLanes; ++lane)
        if (bits >> lane & 1) lists[bits] |= static_cast<uint64_t>(lane) << 8 * found++;
  }
};
constexpr LaneLists kLaneLists;

// Some codes, as far as they have been scored. Prompt after prompt then passes over them: what it needs stays near.
class SpreadBlock {
 public:
  static constexpr int kCodes = 256;  // a place among them is a byte

  explicit SpreadBlock(int prompts) : excess_(static_cast<size_t>(prompts) * kCodes / kLanes) {}

  // The codes that come now, `size` of them; arrays of theirs.
  void begin(const float* weight, const uint8_t* group, int size) {
    weight_ = weight;
    size_ = size;
    for (int i = 0; i < size; ++i) first_bin_[i] = group[i] ? kStrengthBins : 0;
  }

  // Where the excess of the codes from place `at` belongs, for the first prompt, and how far on for the next.
  floatv* excess(int at) { return &excess_[at / kLanes]; }
  static constexpr int kStride = kCodes / kLanes;

  // Adds a prompt's strengths, but for those that are 0, to its histograms [2, kStrengthBins, 2].
  void count(int prompt, float temperature, double* histograms) {
    float excess[kCodes];
    std::memcpy(excess, &excess_[prompt * kStride], sizeof excess);
    // Most prompts fit few codes: these are found without a branch for each, which nobody could foresee, and put together.
    uint8_t strong[kCodes + kLanes];
    int found = 0;
    for (int at = 0; at < size_; at += kLanes) {
      const unsigned bits = bits_of(load(excess + at) > 0.0f) & ((1u << std::min(kLanes, size_ - at)) - 1);
      const uint64_t places = kLaneLists.lists[bits] + static_cast<uint64_t>(at) * 0x0101010101010101u;
      std::memcpy(strong + found, &places, sizeof places);
      found += __builtin_popcount(bits);
    }
    float values[kCodes] = {};
    int32_t bins[kCodes];
    for (int j = 0; j < found; ++j) values[j] = excess[strong[j]];
    for (int j = 0; j < found; j += kLanes) {
      const floatv e = exp_negative(min(temperature * load(values + j), splat(80.0f)) * -1.0f);
      const floatv value = (1.0f - e) / (1.0f + e);  // 2 · relevancy - 1
      const intv bin =
          __builtin_convertvector(min(value * static_cast<float>(kStrengthBins), splat(kStrengthBins - 1.0f)), intv);
      store(values + j, value);
      std::memcpy(bins + j, &bin, sizeof bin);
    }
    for (int j = 0; j < found; ++j) {
      const int i = strong[j];
      const double w = weight_[i];  // 0 where no camera saw the Gaussian
      pair* to = reinterpret_cast<pair*>(histograms) + first_bin_[i] + bins[j];
      *to += pair{w, w * values[j]};
    }
  }

 private:
  typedef double pair __attribute__((vector_size(16), aligned(8)));

  const float* weight_ = nullptr;
  int size_ = 0;
  int32_t first_bin_[kCodes];
  std::vector<floatv> excess_;  // [prompt, kCodes]
};

// Weight of what is in each group; `total` is added to.
void add_weights(const float* weight, const uint8_t* group, int64_t begin, int64_t end, double* total) {
  double sums[2][kLanes] = {};  // several chains of additions, as one would wait for itself
  for (int64_t n = begin; n < end; n += kLanes)
    for (int i = 0; i < std::min<int64_t>(kLanes, end - n); ++i) {
      sums[0][i] += group[n + i] ? 0.0 : weight[n + i];
      sums[1][i] += group[n + i] ? weight[n + i] : 0.0;
    }
  for (int which = 0; which < 2; ++which)
    for (double sum : sums[which]) total[which] += sum;
}

}  // namespace

void score_codes(const uint16_t* codes, const float* confidence, int64_t count, const ScoreQuery& query, int threads,
                 float* out) {
  const std::vector<float> directions = grouped(query);
  const int items = static_cast<int>((count + kItem - 1) / kItem);
  parallel_for(items, threads, [&](int item) {
    Scorer scorer(query, directions);
    std::vector<floatv> excess(query.prompts);
    const int64_t begin = static_cast<int64_t>(item) * kItem, end = std::min<int64_t>(count, begin + kItem);
    multiply_codes(scorer, codes, query.dim, begin, end, [&](int half, int64_t first, int lanes) {
      scorer.compare(half, excess.data(), 1);
      const floatv seen = load_some(confidence + first, lanes);
      for (int q = 0; q < query.prompts; ++q) {
        const floatv x = query.temperature * excess[q], e = decay(x);
        const floatv value = seen > 0.0f ? (x > 0.0f ? splat(1.0f) : e) / (1.0f + e) : floatv{};
        float* to = out + q * count + first;
        if (lanes == kLanes)
          store(to, value);
        else
          for (int i = 0; i < lanes; ++i) to[i] = value[i];
      }
    });
  });
}

void spread_strengths(const uint16_t* codes, const float* confidence, const uint8_t* group, int64_t count,
                      const ScoreQuery& query, int threads, double* histograms) {
  constexpr int kParts = 8;  // each with histograms of its own, added in order at the end
  const std::vector<float> directions = grouped(query);
  const size_t each = static_cast<size_t>(query.prompts) * 4 * kStrengthBins;
  std::vector<double> totals(kParts * 2);
  std::vector<std::vector<double>> counted(kParts);
  const int64_t blocks = (count + kAtOnce - 1) / kAtOnce;
  parallel_for(kParts, threads, [&](int part) {
    const int64_t begin = blocks * part / kParts * kAtOnce;
    const int64_t end = std::min<int64_t>(count, blocks * (part + 1) / kParts * kAtOnce);
    if (begin >= end) return;
    counted[part].resize(each);
    add_weights(confidence, group, begin, end, &totals[2 * part]);
    Scorer scorer(query, directions);
    SpreadBlock block(query.prompts);
    for (int64_t first = begin; first < end; first += SpreadBlock::kCodes) {
      const int64_t last = std::min<int64_t>(end, first + SpreadBlock::kCodes);
      block.begin(confidence + first, group + first, static_cast<int>(last - first));
      multiply_codes(scorer, codes, query.dim, first, last, [&](int half, int64_t at, int) {
        scorer.compare(half, block.excess(static_cast<int>(at - first)), SpreadBlock::kStride);
      });
      for (int q = 0; q < query.prompts; ++q) block.count(q, query.temperature, &counted[part][q * 4 * kStrengthBins]);
    }
  });
  for (int which = 0; which < 2 * query.prompts; ++which) {  // a prompt's group 0, its group 1, the next prompt's
    double* to = histograms + static_cast<size_t>(which) * 2 * kStrengthBins;
    double weak = 0.0;
    for (int part = 0; part < kParts; ++part) {
      if (counted[part].empty()) continue;
      const double* from = &counted[part][static_cast<size_t>(which) * 2 * kStrengthBins];
      double strong = 0.0;
      for (int i = 0; i < 2 * kStrengthBins; i += 2) {
        to[i] += from[i];
        to[i + 1] += from[i + 1];
        strong += from[i];
      }
      weak += totals[2 * part + which % 2] - strong;
    }
    to[0] += std::max(0.0, weak);
  }
}

}  // namespace legs4d
