// Which of a host's flows the other shards of its device must be told of, and the telling: an entry
// in the directory for each flow that does not live where its hash says. Without other shards there
// is nothing to tell.
#pragma once

#include "stack/share/group_table.hpp"
#include "weir/stack/counters.hpp"

namespace weir::stack::share {

class flow_claims {
 public:
  static constexpr unsigned nobody = flow_directory::none;

  /// `among`: null where a host has its device to itself.
  flow_claims(table* among, unsigned shard, host_counters& counters)
      : among_(among), shard_(shard), counters_(counters) {}

  /// A flow begins here: whose it is now, which is another's where that shard was faster. Those
  /// that anybody finds by their hash need no entry. Nobody's: it needs one, and there is no room.
  unsigned claim(const flow_key& flow, bool places_freely) {
    if (among_ == nullptr) return shard_;
    const auto hash = among_->hash(flow);
    const bool at_home = among_->home(hash) == shard_;
    if (at_home && !places_freely) return shard_;
    const auto owner = among_->directory().claim(hash, shard_);
    if (owner != nobody) return owner;
    counters_.add(counter::flow_directory_full);
    return at_home ? shard_ : nobody;
  }
  /// The flow has ended.
  void forget(const flow_key& flow) {
    if (among_ != nullptr) among_->directory().erase(among_->hash(flow), shard_);
  }

 private:
  table* among_;
  unsigned shard_;
  host_counters& counters_;
};

}  // namespace weir::stack::share
