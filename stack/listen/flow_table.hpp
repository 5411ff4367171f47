// The one table in which a segment finds its flow: established, half-open or in TIME_WAIT. It
// stores a tag of the keyed hash and where the entry lives; the entry itself holds the key. One
// probe in the common case.
#pragma once

#include <cstdint>

#include "stack/base/flow_key.hpp"
#include "stack/base/hash_index.hpp"

namespace weir::stack {

/// Where a flow lives: its kind and its index in that kind's slab.
class flow_ref {
 public:
  enum class kind : std::uint8_t { connection, half_open, time_wait, none };

  constexpr flow_ref() = default;
  constexpr flow_ref(kind k, std::uint32_t index)
      : raw_(static_cast<std::uint32_t>(k) << 30 | index) {}
  static constexpr flow_ref from_raw(std::uint32_t raw) {
    flow_ref out;
    out.raw_ = raw;
    return out;
  }
  constexpr std::uint32_t raw() const { return raw_; }
  constexpr kind what() const { return static_cast<kind>(raw_ >> 30); }
  constexpr std::uint32_t index() const { return raw_ & 0x3fffffffu; }
  constexpr explicit operator bool() const { return what() != kind::none; }

 private:
  std::uint32_t raw_ = hash_index::none;
};

class flow_table {
 public:
  explicit flow_table(siphash_key key) : key_(key) {}

  /// `key_of(flow_ref)` tells an entry's key.
  template <class KeyOf>
  flow_ref find(const flow_key& flow, KeyOf&& key_of) const {
    return flow_ref::from_raw(index_.find(
        hash(flow), [&](std::uint32_t raw) { return key_of(flow_ref::from_raw(raw)) == flow; }));
  }
  void insert(const flow_key& flow, flow_ref at) { index_.insert(hash(flow), at.raw()); }
  void replace(const flow_key& flow, flow_ref from, flow_ref to) {
    index_.replace(hash(flow), from.raw(), to.raw());
  }
  void erase(const flow_key& flow, flow_ref at) { index_.erase(hash(flow), at.raw()); }
  std::size_t size() const { return index_.size(); }

  /// For whoever looks up several flows: their hashes, where each begins to be looked for (asked
  /// into the cache), and the entry that it will probably be.
  std::uint64_t hash(const flow_key& flow) const { return flow.hash<1, 3>(key_); }
  [[gnu::always_inline]] void fetch(std::uint64_t hash) const { index_.fetch(hash); }
  flow_ref likely(std::uint64_t hash) const {
    return flow_ref::from_raw(index_.find(hash, [](std::uint32_t) { return true; }));
  }

 private:
  siphash_key key_;
  hash_index index_;
};

}  // namespace weir::stack
