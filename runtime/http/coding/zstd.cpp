// zstd (RFC 8878) on libzstd (coding.hpp).
#include <zstd.h>

#include <new>

#include "runtime/http/coding/coding.hpp"

namespace weir::http {
namespace {

constexpr std::size_t step = 16 * 1024;

class zstd_encoder final : public encoder {
 public:
  zstd_encoder() : state_(ZSTD_createCCtx()) {
    if (state_ == nullptr) throw std::bad_alloc();
    // A window of 128 KiB: the memory of a content on its way is half a MiB.
    constexpr int level = 3, window_bits = 17;
    ZSTD_CCtx_setParameter(state_, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(state_, ZSTD_c_windowLog, window_bits);
  }
  ~zstd_encoder() override { ZSTD_freeCCtx(state_); }

  void begin() override { ZSTD_CCtx_reset(state_, ZSTD_reset_session_only); }

  void add(std::span<const std::byte> piece, then what, std::string& out) override {
    const auto how = what == then::end   ? ZSTD_e_end
                     : what == then::all ? ZSTD_e_flush
                                         : ZSTD_e_continue;
    ZSTD_inBuffer in{piece.data(), piece.size(), 0};
    for (;;) {
      const auto from = out.size();
      out.resize(from + step);
      ZSTD_outBuffer to{out.data() + from, step, 0};
      const auto left = ZSTD_compressStream2(state_, &to, &in, how);
      out.resize(from + to.pos);
      if (ZSTD_isError(left) != 0) throw std::bad_alloc();  // nothing else can happen to it
      if (in.pos == in.size && (left == 0 || how == ZSTD_e_continue)) return;
    }
  }

 private:
  ZSTD_CCtx* state_;
};

class zstd_decoder final : public decoder {
 public:
  zstd_decoder() : state_(ZSTD_createDCtx()) {
    if (state_ == nullptr) throw std::bad_alloc();
    // RFC 9659: a window of 8 MiB is what every receiver takes.
    constexpr int most_window_bits = 23;
    ZSTD_DCtx_setParameter(state_, ZSTD_d_windowLogMax, most_window_bits);
  }
  ~zstd_decoder() override { ZSTD_freeDCtx(state_); }

  bool complete() const override { return begun_ && between_; }

  std::optional<std::size_t> read(std::span<const std::byte>& in,
                                  std::span<std::byte> into) override {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer to{into.data(), into.size(), 0};
    if (in.empty() && between_) return 0;
    const auto left = ZSTD_decompressStream(state_, &to, &from);
    if (ZSTD_isError(left) != 0) return std::nullopt;
    begun_ = true;
    between_ = left == 0;
    in = in.subspan(from.pos);
    return to.pos;
  }

 private:
  ZSTD_DCtx* state_;
  bool begun_ = false;
  bool between_ = true;  // frames
};

}  // namespace

std::unique_ptr<encoder> make_zstd_encoder() { return std::make_unique<zstd_encoder>(); }
std::unique_ptr<decoder> make_zstd_decoder() { return std::make_unique<zstd_decoder>(); }

}  // namespace weir::http
