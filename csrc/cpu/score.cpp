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
        const floatv z0 = first[k], z1 = second[k];
        for (int p = 0; p < kPhrases; ++p) {
          sums[0][p] += z0 * d[p];
          sums[1][p] += z1 * d[p];
        }
      }
      for (int p = 0; p < kPhrases; ++p)
        for (int half = 0; half < 2; ++half) products_[2 * (g * kPhrases + p) + half] = sums[half][p];
    }
  }

  // relevancy[q] of one half's codes.
  void finish(int half, floatv* relevancy) const {
    const int phrases = query_.prompts + query_.canonical;
    floatv square = square_[half] + 2.0f * products_[2 * phrases + half] + query_.mean_square;
    square = square > kLeastSquare ? square : splat(kLeastSquare);
    const floatv scale = 1.0f / square_root(square);
    auto cosine = [&](int p) {
      const floatv c = (products_[2 * p + half] + query_.offsets[p]) * scale;
      return c > 1.0f ? splat(1.0f) : c < -1.0f ? splat(-1.0f) : c;
    };
    floatv rival = cosine(query_.prompts);
    for (int p = query_.prompts + 1; p < phrases; ++p) {
      const floatv other = cosine(p);
      rival = other > rival ? other : rival;
    }
    for (int q = 0; q < query_.prompts; ++q) {
      const floatv x = query_.temperature * (cosine(q) - rival);
      // A logistic function that cannot overflow.
      const floatv away = x > 0.0f ? -x : x;
      const floatv e = exp_negative(away < -80.0f ? splat(-80.0f) : away);
      relevancy[q] = (x > 0.0f ? splat(1.0f) : e) / (1.0f + e);
    }
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

}  // namespace

void score_codes(const uint16_t* codes, const float* confidence, int64_t count, const ScoreQuery& query, int threads,
                 float* out) {
  const std::vector<float> directions = grouped(query);
  const int items = static_cast<int>((count + kItem - 1) / kItem);
  parallel_for(items, threads, [&](int item) {
    Scorer scorer(query, directions);
    std::vector<floatv> relevancy(query.prompts);
    const int64_t end = std::min<int64_t>(count, (item + 1ll) * kItem);
    for (int64_t n = static_cast<int64_t>(item) * kItem; n < end; n += kAtOnce) {
      scorer.load(codes + n * query.dim, static_cast<int>(std::min<int64_t>(kAtOnce, end - n)));
      scorer.multiply();
      for (int half = 0; half < 2; ++half) {
        const int64_t first = n + half * kLanes;
        const int lanes = static_cast<int>(std::min<int64_t>(kLanes, end - first));
        if (lanes <= 0) break;
        scorer.finish(half, relevancy.data());
        floatv seen{};
        if (lanes == kLanes)
          seen = load(confidence + first);
        else
          for (int i = 0; i < lanes; ++i) seen[i] = confidence[first + i];
        for (int q = 0; q < query.prompts; ++q) {
          const floatv value = seen > 0.0f ? relevancy[q] : floatv{};
          float* to = out + q * count + first;
          if (lanes == kLanes)
            store(to, value);
          else
            for (int i = 0; i < lanes; ++i) to[i] = value[i];
        }
      }
    }
  });
}

void histogram_strength(const float* relevancy, const float* weight, const uint8_t* group, int64_t count, int prompts,
                        int threads, uint16_t* strength, double* histograms) {
  parallel_for(prompts, threads, [&](int q) {
    double* all = histograms + static_cast<size_t>(q) * 4 * kStrengthBins;
    double idle[2] = {};  // weight of what has no strength, which is most: kept out of memory
    for (int64_t n = 0; n < count; n += kLanes) {
      const int lanes = static_cast<int>(std::min<int64_t>(kLanes, count - n));
      floatv value{};
      if (lanes == kLanes)
        value = load(relevancy + q * count + n);
      else
        for (int i = 0; i < lanes; ++i) value[i] = relevancy[q * count + n + i];
      value = value * 2.0f - 1.0f;
      value = value > 0.0f ? min(value, splat(1.0f)) : floatv{};
      floatv scaled = min(value * static_cast<float>(kStrengthBins), splat(kStrengthBins - 1.0f));
      float values[kLanes], bins[kLanes];
      store(values, value);
      store(bins, scaled);
      store_unit_halves(value, lanes, strength + q * count + n);
      for (int i = 0; i < lanes; ++i) {
        const double w = weight[n + i];
        const int which = group[n + i] != 0;
        if (values[i] == 0.0f) {
          idle[which] += w;
          continue;
        }
        double* bin = all + 2 * (which * kStrengthBins + static_cast<int>(bins[i]));
        bin[0] += w;
        bin[1] += w * values[i];
      }
    }
    all[0] += idle[0];
    all[2 * kStrengthBins] += idle[1];
  });
}

}  // namespace legs4d
