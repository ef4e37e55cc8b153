// Tile-based alpha compositing of projected Gaussians on the CPU, its derivative, and its transpose.
#pragma once
#include <cstdint>
#include <vector>

#include "projection.h"

namespace legs4d {

constexpr int kTile = 16;  // pixels; two vectors wide

// N Gaussians; all arrays row-major float32.
struct GaussianArrays {
  int count;
  const float *means, *quats, *scales, *opacities;  // [N,3] [N,4] [N,3] [N]
  const float* channels;                            // [N,D]: colours, then any features
  int num_channels;
};

struct GaussianGradients {
  float *means, *quats, *scales, *opacities, *channels;  // shaped as the above, zero at the start
  float* screen;      // [N] sum over cameras of the norm of the gradient by the projected centre, pixels
  int32_t* seen;      // [N] cameras in which the Gaussian was projected into the image
};

// What one camera sees, in depth order, and which splats each tile needs.
struct CameraSplats {
  std::vector<Splat> splats;
  std::vector<float> channels;       // [splats, D]
  std::vector<uint8_t> frozen;       // per splat
  std::vector<int32_t> by_gaussian;  // positions in `splats`, ascending by Gaussian
  std::vector<int32_t> tile_start, tile_splats;
};

// One rendering of C cameras. Keeps what its derivative needs.
class Rendering {
 public:
  // `frozen` [N] or null: Gaussians that get no gradient. `active_tiles` [C, tiles] or null: tiles to render.
  Rendering(const GaussianArrays& gaussians, std::vector<View> views, ImageSettings image, bool depth_channel,
            const uint8_t* frozen, const uint8_t* active_tiles, int threads);

  int num_cameras() const { return static_cast<int>(views_.size()); }
  int num_channels() const { return channels_; }  // depth included
  const ImageSettings& image() const { return image_; }
  int64_t num_splats() const;
  int64_t num_tile_splats() const;

  // out [C,H,W,D], transmittance [C,H,W]; background [C,D] or null.
  void forward(const float* background, float* out, float* transmittance) const;

  // Given what forward wrote and the gradients of both outputs.
  void backward(const GaussianArrays& gaussians, const float* background, const float* out, const float* transmittance,
                const float* out_gradient, const float* transmittance_gradient, const GaussianGradients& gradients) const;

  struct Entry {
    int32_t gaussian, row;
    float value;
  };
  // Wᵀ B for one camera: index, weight [H,W,K]; appends entries (several may share a place); adds Wᵀ 1 to `mass` [N].
  void lift(int camera, const int32_t* index, const float* weight, int k, int num_rows, std::vector<Entry>* entries,
            float* mass) const;

 private:
  void prepare(int camera, const GaussianArrays& gaussians, const std::vector<Covariance>& covariances,
               const uint8_t* frozen, const uint8_t* active_tiles);

  std::vector<View> views_;
  ImageSettings image_;
  int channels_, tiles_x_, tiles_y_, threads_;
  bool depth_channel_;
  std::vector<CameraSplats> cameras_;
};

}  // namespace legs4d
