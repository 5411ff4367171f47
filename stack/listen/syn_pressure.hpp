// Which SYNs get a cookie while more of them arrive than a core can answer. Answering costs several
// times what reading does, so that a flood which is answered in full makes the device's queue drop
// most of what comes, clients' packets included; a flood that is only read leaves room for them.
// While the device holds more than was read, and a first crowd has been answered, a SYN is
// therefore answered when it comes the second time, as a client's does after a second (RFC
// 6298 2.1, 5.7) and a forged one does not: the first is noted in two generations of a Bloom
// filter, whose size is all that a flood can take. It decides; sending is the host's. See RFC
// 4987 3.6 for the cookies.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "stack/base/flow_key.hpp"
#include "stack/base/large_memory.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

class syn_pressure {
 public:
  /// Cookies that go out at once after a quiet time: a crowd of clients is no flood.
  static constexpr std::uint32_t burst = 1024;
  /// And more with each turn that left nothing unread.
  static constexpr std::uint32_t per_turn = 64;
  /// A SYN is remembered for one to two of these: a client waits one second before it repeats, and
  /// two before the next time.
  static constexpr duration generation = std::chrono::milliseconds(2500);
  /// Of both generations. Two million SYNs in one: 1 in 300 others is mistaken for a repetition.
  static constexpr std::size_t filter_bytes = std::size_t{8} << 20;

  explicit syn_pressure(siphash_key key) : key_(key) {}

  /// Whether this SYN is answered now; if not, its repetition is.
  bool answers(instant now, const flow_key& flow, std::uint32_t sequence) {
    if (left_ > 0) {
      --left_;
      return true;
    }
    if (!age(now)) return true;  // no memory to remember with: as without all this
    const auto hash = hash_of(flow, sequence);
    auto& both = (*filter_)[hash % lines];
    const auto bits = bits_of(hash);
    if (both[0].holds(bits) || both[1].holds(bits)) return true;
    both[current_].add(bits);
    return false;
  }
  /// answers() will be asked about this one soon. Always inlined, see hash_index::fetch().
  [[gnu::always_inline]] void fetch(const flow_key& flow, std::uint32_t sequence) const {
    if (filter_ != nullptr) __builtin_prefetch(&(*filter_)[hash_of(flow, sequence) % lines], 1);
  }
  /// Whether answers() may say no.
  bool rationed() const { return left_ == 0; }
  /// What came in one batch has been taken; `behind`: more had come.
  void turn_ended(bool behind) {
    if (!behind) left_ = std::min(burst, left_ + per_turn);
  }
  /// What it holds: nothing before the first flood, the same from then on.
  std::size_t memory() const { return filter_ == nullptr ? 0 : filter_bytes; }

 private:
  /// What one generation has of a cache line; a line serves both, so that a SYN costs one miss.
  struct half {
    std::array<std::uint64_t, 4> words{};
    bool holds(const half& bits) const {
      for (std::size_t i = 0; i < words.size(); ++i)
        if ((words[i] & bits.words[i]) != bits.words[i]) return false;
      return true;
    }
    void add(const half& bits) {
      for (std::size_t i = 0; i < words.size(); ++i) words[i] |= bits.words[i];
    }
  };
  struct alignas(64) line : std::array<half, 2> {};
  static constexpr std::size_t lines = filter_bytes / sizeof(line);
  using filter = std::array<line, lines>;
  static_assert(sizeof(line) == 64);

  std::uint64_t hash_of(const flow_key& flow, std::uint32_t sequence) const {
    const auto hash = flow.hash<1, 3>(key_) + sequence * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 32;
  }
  static half bits_of(std::uint64_t hash) {
    half out;
    for (const int shift : {32, 40, 48, 56}) {
      const auto bit = hash >> shift & 255;
      out.words[bit / 64] |= std::uint64_t{1} << bit % 64;
    }
    return out;
  }
  void clear(std::size_t generation_index) {
    for (auto& both : *filter_) both[generation_index] = {};
  }
  bool age(instant now) {
    if (filter_ == nullptr) {
      memory_ = allocate_large(sizeof(filter));
      if (memory_ != nullptr) filter_ = ::new (memory_.get()) filter();
      if (filter_ == nullptr) return false;
      begun_ = now;
    }
    if (now - begun_ < generation) return true;
    if (now - begun_ >= 2 * generation) clear(current_);
    current_ = 1 - current_;
    clear(current_);
    begun_ = now;
    return true;
  }

  siphash_key key_;
  std::uint32_t left_ = burst;
  instant begun_;
  std::size_t current_ = 0;
  large_memory memory_;
  filter* filter_ = nullptr;  // in memory_
};

}  // namespace weir::stack
