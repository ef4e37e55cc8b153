#include "rasterize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "parallel.h"
#include "simd.h"

namespace legs4d {
namespace {

constexpr int kBlocksX = kTile / kLanes;
constexpr int kBlocks = kTile * kBlocksX;  // vectors in a tile: its left half row by row, then its right half
constexpr int kChunk = 1024;               // Gaussians that a thread takes at once

// Stable order of non-negative floats, whose bits sort as integers do.
void sort_by_depth(const std::vector<Splat>& splats, std::vector<int32_t>* order) {
  const size_t n = splats.size();
  std::vector<uint64_t> keys(n), swap(n);
  for (size_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &splats[i].depth, 4);
    keys[i] = (static_cast<uint64_t>(bits) << 32) | i;
  }
  for (int shift = 32; shift < 64; shift += 11) {
    size_t start[2049] = {};
    for (uint64_t key : keys) ++start[((key >> shift) & 2047) + 1];
    for (int d = 0; d < 2048; ++d) start[d + 1] += start[d];
    for (uint64_t key : keys) swap[start[(key >> shift) & 2047]++] = key;
    keys.swap(swap);
  }
  order->resize(n);
  for (size_t i = 0; i < n; ++i) (*order)[i] = static_cast<int32_t>(keys[i]);
}

// The state of a tile's rays while splats are laid over them, nearest first.
struct Rays {
  int left, top;
  floatv x[kBlocksX];  // pixel centres
  float y[kTile];
  floatv transmittance[kBlocks];
  intv live[kBlocks];
  uint32_t live_blocks = 0;

  Rays(int tile_x, int tile_y, const ImageSettings& image) : left(tile_x * kTile), top(tile_y * kTile) {
    for (int b = 0; b < kBlocksX; ++b)
      for (int i = 0; i < kLanes; ++i) x[b][i] = left + b * kLanes + i + 0.5f;
    for (int i = 0; i < kTile; ++i) y[i] = top + i + 0.5f;
    for (int k = 0; k < kBlocks; ++k) {
      transmittance[k] = splat(1.0f);
      live[k] = (x[k / kTile] < static_cast<float>(image.width)) & (top + k % kTile < image.height ? ~intv{} : intv{});
      if (any(live[k])) live_blocks |= 1u << k;
    }
  }
};

// Blocks of a tile's left half, a bit a row, then of its right half, in which a splat can count: an ellipse fills little
// of its bounding box. A pixel more on either side, against rounding.
inline uint32_t reachable_blocks(const Splat& s, int left, int top) {
  const int y0 = std::max(s.y0 - top, 0), y1 = std::min(s.y1 - top, kTile - 1);
  const uint32_t rows = (2u << y1) - (1u << y0);
  const int middle = left + kLanes;
  if (s.x1 < middle) return rows;
  if (s.x0 >= middle) return rows << kTile;
  const float over_a = 1.0f / s.a, slope = -s.b * over_a;
  const float edge = middle - s.x;
  uint32_t found = 0;
  floatv row;
  for (int i = 0; i < kLanes; ++i) row[i] = top + i + 0.5f - s.y;
  for (int y = 0; y < kTile; y += kLanes, row += static_cast<float>(kLanes)) {
    const floatv inside = s.reach * s.a - s.determinant * row * row;
    const floatv half = sqrt(select(inside > 0.0f, inside, floatv{})) * over_a + 1.5f, center = slope * row - edge;
    found |= lanes_set(center - half < 0.0f) << y | lanes_set(center + half > 0.0f) << (y + kTile);
  }
  return found & (rows | rows << kTile);
}

struct Contribution {
  size_t block;
  floatv dx, alpha, weight;  // weight = alpha · transmittance, 0 where the splat does not count
  float dy;
  intv counts, clamped;
};

// Lays one splat over the tile's rays; calls visit(contribution, transmittance before it) for each vector it touches.
template <typename Visit>
inline void composite(const Splat& s, Rays* rays, const Visit& visit) {
  // Locals, as the compiler cannot know that `visit` leaves the splat as it is.
  const float half_a = 0.5f * s.a, b = s.b, half_c = 0.5f * s.c, center_y = s.y, opacity = s.opacity;
  const floatv center_x = splat(s.x);
  for (uint32_t blocks = reachable_blocks(s, rays->left, rays->top) & rays->live_blocks; blocks; blocks &= blocks - 1) {
    const uint32_t k = lowest_bit(blocks);
    Contribution c;
    c.block = k;
    c.dy = rays->y[k % kTile] - center_y;
    c.dx = rays->x[k / kTile] - center_x;
    const floatv sigma = c.dx * (half_a * c.dx + b * c.dy) + half_c * c.dy * c.dy;
    const floatv raw = opacity * exp_negative(-min(sigma, splat(80.0f)));
    c.alpha = min(raw, splat(kAlphaMax));
    c.clamped = raw > kAlphaMax;
    c.counts = rays->live[k] & (c.alpha >= kAlphaMin) & (sigma >= 0.0f);
    const floatv before = rays->transmittance[k];
    const floatv after = before * (1.0f - c.alpha);
    const intv ended = c.counts & (after <= kTransmittanceMin);
    if (any(ended)) {
      rays->live[k] &= ~ended;
      c.counts &= ~ended;
      if (!any(rays->live[k])) rays->live_blocks &= ~(1u << k);
    }
    c.weight = select(c.counts, c.alpha * before, floatv{});
    rays->transmittance[k] = select(c.counts, after, before);
    visit(c, before);
  }
}

struct TileRange {
  const int32_t *begin, *end;
};

TileRange tile_range(const CameraSplats& camera, int tile) {
  const int32_t* all = camera.tile_splats.data();
  return {all + camera.tile_start[tile], all + camera.tile_start[tile + 1]};
}

// D = 0 means a number of channels known only when running.
template <int D>
void render_tile(const CameraSplats& camera, TileRange range, const ImageSettings& image, int tile_x, int tile_y,
                 int channels, const float* background, std::vector<floatv>* scratch, float* out, float* transmittance) {
  const int d_count = D ? D : channels;
  Rays rays(tile_x, tile_y, image);
  scratch->assign(static_cast<size_t>(kBlocks) * d_count, floatv{});
  floatv* sums = scratch->data();
  for (const int32_t* i = range.begin; i != range.end && rays.live_blocks; ++i) {
    const float* values = camera.channels.data() + static_cast<size_t>(*i) * d_count;
    composite(camera.splats[*i], &rays, [&](const Contribution& c, floatv) {
      floatv* sum = sums + c.block * d_count;
      for (int d = 0; d < d_count; ++d) sum[d] += c.weight * values[d];
    });
  }
  for (int k = 0; k < kBlocks; ++k) {
    const int y = rays.top + k % kTile, x = rays.left + k / kTile * kLanes;
    if (y >= image.height) continue;
    for (int i = 0; i < kLanes && x + i < image.width; ++i) {
      const size_t pixel = static_cast<size_t>(y) * image.width + x + i;
      const float rest = rays.transmittance[k][i];
      transmittance[pixel] = rest;
      for (int d = 0; d < d_count; ++d)
        out[pixel * d_count + d] = sums[k * d_count + d][i] + (background ? rest * background[d] : 0.0f);
    }
  }
}

// Writes to gradients[splat] and channel_gradients[splat, D] of the band that owns the tile.
template <int D>
void differentiate_tile(const CameraSplats& camera, TileRange range, const ImageSettings& image, int tile_x, int tile_y,
                        int channels, const float* background, std::vector<floatv>* scratch, const float* out,
                        const float* transmittance, const float* out_gradient, const float* transmittance_gradient,
                        SplatGradient* gradients, float* channel_gradients) {
  const int d_count = D ? D : channels;
  Rays rays(tile_x, tile_y, image);
  // Per vector: gradient of each channel; then per vector: what alpha itself is worth, and the loss's share (linear in
  // the output) that splats further behind still contribute.
  scratch->assign(static_cast<size_t>(kBlocks) * (d_count + 2) + d_count, floatv{});
  floatv *pixel_gradients = scratch->data(), *alpha_worth = pixel_gradients + kBlocks * d_count,
         *remaining = alpha_worth + kBlocks, *channel_sums = remaining + kBlocks;
  for (int k = 0; k < kBlocks; ++k) {
    const int y = rays.top + k % kTile, x = rays.left + k / kTile * kLanes;
    if (y >= image.height) continue;
    for (int i = 0; i < kLanes && x + i < image.width; ++i) {
      const size_t pixel = static_cast<size_t>(y) * image.width + x + i;
      const float rest = transmittance[pixel];
      float worth = -transmittance_gradient[pixel], share = 0;
      for (int d = 0; d < d_count; ++d) {
        const float g = out_gradient[pixel * d_count + d], behind = background ? background[d] : 0.0f;
        pixel_gradients[k * d_count + d][i] = g;
        worth -= g * behind;
        share += g * (out[pixel * d_count + d] - rest * behind);
      }
      alpha_worth[k][i] = worth;
      remaining[k][i] = share + worth * (1.0f - rest);
    }
  }
  for (const int32_t* i = range.begin; i != range.end && rays.live_blocks; ++i) {
    const Splat& s = camera.splats[*i];
    const float* values = camera.channels.data() + static_cast<size_t>(*i) * d_count;
    if (camera.frozen[*i]) {
      composite(s, &rays, [&](const Contribution& c, floatv) {
        const floatv* g = pixel_gradients + c.block * d_count;
        floatv worth = alpha_worth[c.block];
        for (int d = 0; d < d_count; ++d) worth += g[d] * values[d];
        remaining[c.block] -= c.weight * worth;
      });
      continue;
    }
    floatv moment0{}, moment_x{}, moment_y{}, moment_xx{}, moment_xy{}, moment_yy{};
    for (int d = 0; d < d_count; ++d) channel_sums[d] = floatv{};
    bool touched = false;
    composite(s, &rays, [&](const Contribution& c, floatv before) {
      const floatv* g = pixel_gradients + c.block * d_count;
      floatv worth = alpha_worth[c.block];
      for (int d = 0; d < d_count; ++d) {
        worth += g[d] * values[d];
        channel_sums[d] += c.weight * g[d];
      }
      remaining[c.block] -= c.weight * worth;
      // output = Σ before + alpha · before · value + (1 - alpha) · (what is behind, seen through alpha = 0).
      const floatv v_alpha = before * worth - remaining[c.block] / (1.0f - c.alpha);
      const floatv v_sigma = select(c.counts & ~c.clamped, -c.alpha * v_alpha, floatv{});
      const floatv x = v_sigma * c.dx;
      moment0 += v_sigma;
      moment_x += x;
      moment_y += v_sigma * c.dy;
      moment_xx += x * c.dx;
      moment_xy += x * c.dy;
      moment_yy += v_sigma * (c.dy * c.dy);
      touched = true;
    });
    if (!touched) continue;
    const float mx = sum(moment_x), my = sum(moment_y);
    SplatGradient& g = gradients[*i];
    g.x -= s.a * mx + s.b * my;
    g.y -= s.b * mx + s.c * my;
    g.a += 0.5f * sum(moment_xx);
    g.b += sum(moment_xy);
    g.c += 0.5f * sum(moment_yy);
    g.opacity -= sum(moment0) / s.opacity;
    float* to = channel_gradients + static_cast<size_t>(*i) * d_count;
    for (int d = 0; d < d_count; ++d) to[d] += sum(channel_sums[d]);
  }
}

template <typename Call>
void with_channel_count(int channels, const Call& call) {
  switch (channels) {
    case 3: return call(std::integral_constant<int, 3>{});
    case 4: return call(std::integral_constant<int, 4>{});
    case 5: return call(std::integral_constant<int, 5>{});
    default: return call(std::integral_constant<int, 0>{});
  }
}

}  // namespace

Rendering::Rendering(const GaussianArrays& gaussians, std::vector<View> views, ImageSettings image, bool depth_channel,
                     const uint8_t* frozen, const uint8_t* active_tiles, int threads)
    : views_(std::move(views)),
      image_(image),
      channels_(gaussians.num_channels + depth_channel),
      tiles_x_((image.width + kTile - 1) / kTile),
      tiles_y_((image.height + kTile - 1) / kTile),
      threads_(threads),
      depth_channel_(depth_channel),
      cameras_(views_.size()) {
  std::vector<Covariance> covariances(gaussians.count);
  parallel_for((gaussians.count + kChunk - 1) / kChunk, threads, [&](int chunk) {
    world_covariances(gaussians.quats, gaussians.scales, chunk * kChunk, std::min(gaussians.count, (chunk + 1) * kChunk),
                      covariances.data());
  });
  parallel_for(num_cameras(), threads, [&](int camera) {
    prepare(camera, gaussians, covariances, frozen,
            active_tiles ? active_tiles + static_cast<size_t>(camera) * tiles_x_ * tiles_y_ : nullptr);
  });
}

void Rendering::prepare(int camera, const GaussianArrays& gaussians, const std::vector<Covariance>& covariances,
                        const uint8_t* frozen, const uint8_t* active_tiles) {
  CameraSplats& c = cameras_[camera];
  // Several cameras are prepared side by side, one in pieces.
  const int helpers = num_cameras() == 1 ? threads_ : 1, chunks = (gaussians.count + kChunk - 1) / kChunk;
  std::vector<std::vector<Splat>> parts(chunks);
  parallel_for(chunks, helpers, [&](int chunk) {
    for (int n = chunk * kChunk; n < std::min(gaussians.count, (chunk + 1) * kChunk); ++n) {
      Splat s;
      if (!project(views_[camera], image_, gaussians.means + 3 * n, covariances[n], gaussians.opacities[n], &s)) continue;
      s.gaussian = n;
      parts[chunk].push_back(s);
    }
  });
  std::vector<Splat> seen;
  for (const std::vector<Splat>& part : parts) seen.insert(seen.end(), part.begin(), part.end());
  parts.clear();
  std::vector<int32_t> order;
  sort_by_depth(seen, &order);
  const size_t count = seen.size();
  c.splats.resize(count);
  c.channels.resize(count * channels_);
  c.frozen.resize(count);
  c.by_gaussian.resize(count);
  const int given = gaussians.num_channels;
  parallel_for(static_cast<int>((count + kChunk - 1) / kChunk), helpers, [&](int chunk) {
    for (size_t i = static_cast<size_t>(chunk) * kChunk; i < std::min(count, static_cast<size_t>(chunk + 1) * kChunk); ++i) {
      const Splat& s = c.splats[i] = seen[order[i]];
      c.by_gaussian[order[i]] = static_cast<int32_t>(i);
      c.frozen[i] = frozen && frozen[s.gaussian];
      float* channels = c.channels.data() + i * channels_;
      std::memcpy(channels, gaussians.channels + static_cast<size_t>(s.gaussian) * given, given * sizeof(float));
      if (depth_channel_) channels[given] = s.depth;
    }
  });
  const int tiles = tiles_x_ * tiles_y_;
  auto for_each_tile = [&](const Splat& s, auto&& visit) {
    for (int ty = s.y0 / kTile; ty <= s.y1 / kTile; ++ty)
      for (int tx = s.x0 / kTile; tx <= s.x1 / kTile; ++tx)
        if (!active_tiles || active_tiles[ty * tiles_x_ + tx]) visit(ty * tiles_x_ + tx);
  };
  c.tile_start.assign(tiles + 1, 0);
  for (const Splat& s : c.splats) for_each_tile(s, [&](int tile) { ++c.tile_start[tile + 1]; });
  for (int t = 0; t < tiles; ++t) c.tile_start[t + 1] += c.tile_start[t];
  c.tile_splats.resize(c.tile_start[tiles]);
  std::vector<int32_t> next(c.tile_start.begin(), c.tile_start.end() - 1);
  for (size_t i = 0; i < count; ++i)
    for_each_tile(c.splats[i], [&](int tile) { c.tile_splats[next[tile]++] = static_cast<int32_t>(i); });
}

int64_t Rendering::num_splats() const {
  int64_t total = 0;
  for (const auto& c : cameras_) total += static_cast<int64_t>(c.splats.size());
  return total;
}

int64_t Rendering::num_tile_splats() const {
  int64_t total = 0;
  for (const auto& c : cameras_) total += static_cast<int64_t>(c.tile_splats.size());
  return total;
}

void Rendering::forward(const float* background, float* out, float* transmittance) const {
  const size_t pixels = static_cast<size_t>(image_.width) * image_.height;
  parallel_for(num_cameras() * tiles_y_, threads_, [&](int item) {
    const int camera = item / tiles_y_, ty = item % tiles_y_;
    std::vector<floatv> scratch;
    with_channel_count(channels_, [&](auto d) {
      for (int tx = 0; tx < tiles_x_; ++tx)
        render_tile<d.value>(cameras_[camera], tile_range(cameras_[camera], ty * tiles_x_ + tx), image_, tx, ty, channels_,
                             background ? background + camera * channels_ : nullptr, &scratch,
                             out + camera * pixels * channels_, transmittance + camera * pixels);
    });
  });
}

void Rendering::backward(const GaussianArrays& gaussians, const float* background, const float* out,
                         const float* transmittance, const float* out_gradient, const float* transmittance_gradient,
                         const GaussianGradients& gradients) const {
  const size_t pixels = static_cast<size_t>(image_.width) * image_.height;
  // A band is a range of tile rows of one camera with gradient sums of its own. How many there are depends on the input
  // alone, never on the threads, so that sums are always taken in the same order.
  const int bands = std::clamp(8 / std::max(num_cameras(), 1), 1, tiles_y_);
  struct Band {
    std::vector<SplatGradient> splats;
    std::vector<float> channels;
  };
  std::vector<Band> sums(static_cast<size_t>(num_cameras()) * bands);
  parallel_for(num_cameras() * bands, threads_, [&](int item) {
    const int camera = item / bands, band = item % bands;
    const CameraSplats& c = cameras_[camera];
    sums[item].splats.assign(c.splats.size(), SplatGradient{});
    sums[item].channels.assign(c.splats.size() * channels_, 0.0f);
    std::vector<floatv> scratch;
    with_channel_count(channels_, [&](auto d) {
      for (int ty = tiles_y_ * band / bands; ty < tiles_y_ * (band + 1) / bands; ++ty) {
        go_on();
        for (int tx = 0; tx < tiles_x_; ++tx) {
          const TileRange range = tile_range(c, ty * tiles_x_ + tx);
          if (range.begin == range.end) continue;
          differentiate_tile<d.value>(c, range, image_, tx, ty, channels_,
                                      background ? background + camera * channels_ : nullptr, &scratch,
                                      out + camera * pixels * channels_, transmittance + camera * pixels,
                                      out_gradient + camera * pixels * channels_, transmittance_gradient + camera * pixels,
                                      sums[item].splats.data(), sums[item].channels.data());
        }
      }
    });
  });

  parallel_for((gaussians.count + kChunk - 1) / kChunk, threads_, [&](int chunk) {
    const int begin = chunk * kChunk, end = std::min(gaussians.count, begin + kChunk);
    std::vector<Covariance> covariances(end - begin);
    world_covariances(gaussians.quats + 4 * begin, gaussians.scales + 3 * begin, 0, end - begin, covariances.data());
    std::vector<float> covariance_gradients(6 * (end - begin), 0.0f);
    std::vector<uint8_t> touched(end - begin, 0);
    for (int camera = 0; camera < num_cameras(); ++camera) {
      const CameraSplats& c = cameras_[camera];
      auto position = std::lower_bound(c.by_gaussian.begin(), c.by_gaussian.end(), begin,
                                       [&](int32_t i, int n) { return c.splats[i].gaussian < n; });
      for (; position != c.by_gaussian.end() && c.splats[*position].gaussian < end; ++position) {
        const int32_t i = *position;
        if (c.frozen[i]) continue;
        const int n = c.splats[i].gaussian;
        touched[n - begin] = 1;
        SplatGradient g{};
        float* channel_gradient = gradients.channels + static_cast<size_t>(n) * gaussians.num_channels;
        for (int band = 0; band < bands; ++band) {
          const Band& part = sums[static_cast<size_t>(camera) * bands + band];
          const SplatGradient& p = part.splats[i];
          g.x += p.x, g.y += p.y, g.a += p.a, g.b += p.b, g.c += p.c, g.opacity += p.opacity;
          const float* channels = part.channels.data() + static_cast<size_t>(i) * channels_;
          for (int d = 0; d < gaussians.num_channels; ++d) channel_gradient[d] += channels[d];
          if (depth_channel_) g.depth += channels[gaussians.num_channels];
        }
        gradients.screen[n] += std::sqrt(g.x * g.x + g.y * g.y);
        ++gradients.seen[n];
        project_backward(views_[camera], image_, gaussians.means + 3 * n, covariances[n - begin], gaussians.opacities[n],
                         g, gradients.means + 3 * n, covariance_gradients.data() + 6 * (n - begin),
                         gradients.opacities + n);
      }
    }
    for (int n = begin; n < end; ++n)
      if (touched[n - begin])
        world_covariance_backward(gaussians.quats + 4 * n, gaussians.scales + 3 * n,
                                  covariance_gradients.data() + 6 * (n - begin), gradients.quats + 4 * n,
                                  gradients.scales + 3 * n);
  });
}

void Rendering::lift(int camera, const int32_t* index, const float* weight, int k, int num_rows,
                     std::vector<Entry>* entries, float* mass) const {
  const CameraSplats& c = cameras_[camera];
  // A tile's pixels mix few rows; they get numbers local to the tile, and B becomes a small dense matrix [row, pixel].
  std::vector<int32_t> local(num_rows, -1), rows;
  std::vector<floatv> mixture, row_sums;
  for (int ty = 0; ty < tiles_y_; ++ty) {
    go_on();
    for (int tx = 0; tx < tiles_x_; ++tx) {
      const TileRange range = tile_range(c, ty * tiles_x_ + tx);
      if (range.begin == range.end) continue;
      Rays rays(tx, ty, image_);
      rows.clear();
      mixture.clear();
      for (int y = rays.top; y < std::min(rays.top + kTile, image_.height); ++y)
        for (int x = rays.left; x < std::min(rays.left + kTile, image_.width); ++x)
          for (int j = 0; j < k; ++j) {
            const size_t at = (static_cast<size_t>(y) * image_.width + x) * k + j;
            if (index[at] < 0 || weight[at] == 0.0f) continue;
            int32_t& row = local[index[at]];
            if (row < 0) {
              row = static_cast<int32_t>(rows.size());
              rows.push_back(index[at]);
              mixture.resize(rows.size() * kBlocks, floatv{});
            }
            const int column = x - rays.left;
            mixture[row * kBlocks + column / kLanes * kTile + y - rays.top][column % kLanes] += weight[at];
          }
      const int row_count = static_cast<int>(rows.size());
      for (const int32_t* i = range.begin; i != range.end && rays.live_blocks; ++i) {
        floatv total{};
        row_sums.assign(row_count, floatv{});
        composite(c.splats[*i], &rays, [&](const Contribution& part, floatv) {
          total += part.weight;
          for (int r = 0; r < row_count; ++r) row_sums[r] += part.weight * mixture[r * kBlocks + part.block];
        });
        const int32_t gaussian = c.splats[*i].gaussian;
        mass[gaussian] += sum(total);
        for (int r = 0; r < row_count; ++r) {
          const float value = sum(row_sums[r]);
          if (value > 0.0f) entries->push_back({gaussian, rows[r], value});
        }
      }
      for (int32_t row : rows) local[row] = -1;
    }
  }
}

}  // namespace legs4d
