// Which shard a flow lives on, for those who do not know it: read when a segment meets no flow on
// its own shard, written when a flow begins, moves or ends. A table of fixed size in words of 64
// bits, 56 of a keyed hash and 8 of the shard, each of two buckets of eight words long: looking up
// and forgetting are a few atomic accesses in two cache lines, without a lock; only making or
// moving an entry takes one, of many. A full pair of buckets turns a flow away, which then goes
// where no entry is needed. That two flows have the same 56 bits is as likely as a forged one
// (2^-56): it costs a reset.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>  // lint: allow, where shards meet
#include <new>

namespace weir::stack::share {

class flow_directory {
 public:
  static constexpr unsigned none = 0xffffffff;

  /// Room for `flows`, at a load of one half.
  explicit flow_directory(std::size_t flows)
      : buckets_(std::bit_ceil(flows * 2 / slots + 1)),
        words_(static_cast<std::uint64_t*>(std::calloc(buckets_ * slots, sizeof(std::uint64_t)))) {
    if (words_ == nullptr) throw std::bad_alloc();
  }

  /// The shard of the flow with this hash; none when there is no entry.
  unsigned find(std::uint64_t hash) const {
    auto* word = locate(hash);
    return word == nullptr ? none : shard_of(at(*word).load(std::memory_order_relaxed), hash);
  }
  bool has_room(std::uint64_t hash) const {
    for (auto* bucket : {first(hash), second(hash)})
      for (std::size_t i = 0; i < slots; ++i)
        if (at(bucket[i]).load(std::memory_order_relaxed) == 0) return true;
    return false;
  }
  /// The flow lives on `shard` from now on. False: there is no room for it.
  bool assign(std::uint64_t hash, unsigned shard) {
    const auto wanted = entry(hash, shard);
    std::lock_guard lock(stripe_of(hash));
    if (auto* word = locate(hash)) {
      auto before = at(*word).load(std::memory_order_relaxed);
      while (tag_of(before) == tag_of(wanted))
        if (at(*word).compare_exchange_weak(before, wanted, std::memory_order_acq_rel)) return true;
    }
    return insert(hash, wanted);
  }
  /// The flow lives on `shard` unless it lives somewhere already: where it does now; none when
  /// there is no room for it.
  unsigned claim(std::uint64_t hash, unsigned shard) {
    std::lock_guard lock(stripe_of(hash));
    const auto owner = find(hash);
    if (owner != none) return owner;
    return insert(hash, entry(hash, shard)) ? shard : none;
  }
  /// Forgets the flow if it is said to live on `shard`; nothing happens otherwise.
  void erase(std::uint64_t hash, unsigned shard) {
    const auto wanted = entry(hash, shard);
    for (auto* bucket : {first(hash), second(hash)}) {
      for (std::size_t i = 0; i < slots; ++i) {
        if (at(bucket[i]).load(std::memory_order_relaxed) != wanted) continue;
        auto expected = wanted;
        at(bucket[i]).compare_exchange_strong(expected, 0, std::memory_order_acq_rel);
      }
    }
  }
  /// Entries, by looking at every word: for tests and reports.
  std::size_t count() const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < buckets_ * slots; ++i)
      if (at(words_.get()[i]).load(std::memory_order_relaxed) != 0) ++n;
    return n;
  }

 private:
  static constexpr std::size_t slots = 8;  // one cache line
  static constexpr std::size_t stripes = 64;

  struct release {
    void operator()(std::uint64_t* words) const { std::free(words); }
  };
  static std::atomic_ref<std::uint64_t> at(std::uint64_t& word) {
    return std::atomic_ref<std::uint64_t>(word);
  }
  static std::uint64_t tag_of(std::uint64_t word) { return word & ~std::uint64_t{0xff}; }
  // The shard plus one: an empty word is 0.
  static std::uint64_t entry(std::uint64_t hash, unsigned shard) {
    return tag_of(hash) | (shard + 1);
  }
  static unsigned shard_of(std::uint64_t word, std::uint64_t hash) {
    // Replaced since it was located: as if it had not been there.
    if (tag_of(word) != tag_of(hash) || (word & 0xff) == 0) return none;
    return static_cast<unsigned>(word & 0xff) - 1;
  }
  std::uint64_t* first(std::uint64_t hash) const {
    return &words_.get()[(hash >> 8 & (buckets_ - 1)) * slots];
  }
  std::uint64_t* second(std::uint64_t hash) const {
    const auto mixed = (hash >> 8) * 0x9e3779b97f4a7c15ull;
    return &words_.get()[(mixed >> 32 & (buckets_ - 1)) * slots];
  }
  std::mutex& stripe_of(std::uint64_t hash) { return stripes_[hash >> 8 & (stripes - 1)]; }
  bool insert(std::uint64_t hash, std::uint64_t wanted) {
    for (auto* bucket : {first(hash), second(hash)}) {
      for (std::size_t i = 0; i < slots; ++i) {
        std::uint64_t empty = 0;
        if (at(bucket[i]).compare_exchange_strong(empty, wanted, std::memory_order_acq_rel))
          return true;
      }
    }
    return false;
  }
  std::uint64_t* locate(std::uint64_t hash) const {
    for (auto* bucket : {first(hash), second(hash)}) {
      for (std::size_t i = 0; i < slots; ++i) {
        const auto word = at(bucket[i]).load(std::memory_order_acquire);
        if (word != 0 && tag_of(word) == tag_of(hash)) return &bucket[i];
      }
    }
    return nullptr;
  }

  // Who makes an entry holds one of these, so that no flow gets two from two shards at once.
  std::array<std::mutex, stripes> stripes_;
  std::size_t buckets_;
  std::unique_ptr<std::uint64_t, release> words_;  // pages that nobody touched cost nothing
};

}  // namespace weir::stack::share
