// See group_table.hpp and weir/stack/shards.hpp.
#include "stack/share/group_table.hpp"

#include <algorithm>
#include <stdexcept>

namespace weir::stack {
namespace share {
namespace {

/// A connection that nobody takes says more about a shard than one that is being served.
constexpr std::uint64_t unaccepted_weight = 16;

endpoint wildcard_of(const endpoint& e) {
  return {e.address.is_v4() ? ip_address() : ip_address::v6({}), e.port};
}

std::uint64_t mix(std::uint64_t hash, std::uint64_t shard) {
  auto x = hash ^ (shard + 1) * 0x9e3779b97f4a7c15ull;  // splitmix64's finalizer
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

}  // namespace

bool placement::has(unsigned shard) const {
  return std::find(members.begin(), members.end(), shard) != members.end();
}

snapshot::snapshot(siphash_key key, std::vector<placement> all) : key_(key), all_(std::move(all)) {
  for (std::uint32_t i = 0; i < all_.size(); ++i)
    index_.insert(hash_endpoint<1, 3>(key_, all_[i].of->local), i);
}

const placement* snapshot::find(const endpoint& local) const {
  const auto i = index_.find(hash_endpoint<1, 3>(key_, local),
                             [&](std::uint32_t at) { return all_[at].of->local == local; });
  return i == hash_index::none ? nullptr : &all_[i];
}

const placement* snapshot::find(const endpoint& local, std::uint64_t id) const {
  const auto* there = find(local);
  return there != nullptr && there->of->id == id ? there : nullptr;
}

const placement* snapshot::match(const endpoint& local) const {
  if (all_.empty()) return nullptr;
  const auto* specific = find(local);
  return specific != nullptr ? specific : find(wildcard_of(local));
}

table::table(unsigned shards, const std::array<std::uint8_t, 32>& secret, std::size_t flows)
    : secret_(secret),
      flow_hash_(derive_key(secret, 101)),
      group_hash_(derive_key(secret, 102)),
      directory_(flows),
      slots_(shards) {
  process_owner_key_ = static_cast<owner_key>(derive_key(secret, 103).k0 | 1);
  current_ = std::make_shared<const snapshot>(group_hash_, std::vector<placement>{});
}

std::shared_ptr<const snapshot> table::current(std::uint64_t& version) const {
  std::lock_guard lock(mutex_);
  version = version_.load(std::memory_order_relaxed);
  return current_;
}

void table::replace(std::vector<placement> all) {
  current_ = std::make_shared<const snapshot>(group_hash_, std::move(all));
  version_.fetch_add(1, std::memory_order_release);
}

std::error_code table::refusal(unsigned shard, const endpoint& local,
                               const listen_options& options) const {
  const auto in_use = std::make_error_code(std::errc::address_in_use);
  for (const auto& other : current_->all()) {
    const auto& there = *other.of;
    if (there.local.port != local.port || there.local.address.family() != local.address.family())
      continue;
    const bool same = there.local.address == local.address;
    if (!same && !there.local.address.is_unspecified() && !local.address.is_unspecified()) continue;
    // Without the key nobody takes connections from those who are there, by joining or by standing
    // on a more specific address.
    if (options.owner_key == owner_key::none || options.owner_key != there.owner_key) return in_use;
    if (!same) continue;
    if (auto refused =
            refusal_to_join({there.owner_key, there.sharing, there.policy},
                            {options.owner_key, options.sharing, options.policy}, other.has(shard)))
      return refused;
  }
  return {};
}

std::error_code table::join(unsigned shard, const endpoint& local, const listen_options& asked) {
  auto options = asked;
  if (options.owner_key == owner_key::none && options.sharing != sharing_mode::exclusive)
    options.owner_key = process_owner_key_;
  std::lock_guard lock(mutex_);
  if (auto error = refusal(shard, local, options)) return error;
  auto all = current_->all();
  const auto at = std::find_if(all.begin(), all.end(),
                               [&](const placement& p) { return p.of->local == local; });
  if (at != all.end()) {
    at->members.push_back(static_cast<std::uint16_t>(shard));
  } else {
    auto made = std::make_shared<group>();
    made->local = local;
    made->id = ++groups_made_;
    made->owner_key = options.owner_key;
    made->sharing = options.sharing;
    made->policy = options.policy;
    all.push_back({std::move(made), {static_cast<std::uint16_t>(shard)}});
  }
  replace(std::move(all));
  return {};
}

void table::leave(unsigned shard, const endpoint& local) {
  std::lock_guard lock(mutex_);
  auto all = current_->all();
  const auto at = std::find_if(all.begin(), all.end(),
                               [&](const placement& p) { return p.of->local == local; });
  if (at == all.end()) return;
  std::erase(at->members, static_cast<std::uint16_t>(shard));
  if (at->members.empty()) all.erase(at);
  replace(std::move(all));
}

bool table::taken(const endpoint& local) const {
  std::lock_guard lock(mutex_);
  return std::any_of(current_->all().begin(), current_->all().end(), [&](const placement& p) {
    const auto& there = p.of->local;
    return there.port == local.port && there.address.family() == local.address.family() &&
           (there.address == local.address || there.address.is_unspecified() ||
            local.address.is_unspecified());
  });
}

unsigned table::home(std::uint64_t hash) const {
  unsigned best = 0;
  for (unsigned i = 1; i < size(); ++i)
    if (mix(hash, i) > mix(hash, best)) best = i;
  return best;
}

// The home if it is a member; else who comes next by the same order. A member that joins or leaves
// moves nobody but those that it gets or had (rendezvous hashing).
unsigned table::pick_by_hash(const placement& where, std::uint64_t hash) {
  auto best = where.members.front();
  for (auto m : where.members)
    if (mix(hash, m) > mix(hash, best)) best = m;
  return best;
}

std::uint64_t table::load_of(unsigned shard) const {
  const auto& s = slots_[shard];
  return std::uint64_t{s.flows.load(std::memory_order_relaxed)} + s.inbox.pending() +
         unaccepted_weight * s.unaccepted.load(std::memory_order_relaxed);
}

unsigned table::pick(const placement& where, std::uint64_t hash) {
  if (where.of->sharing != sharing_mode::sharded || where.members.size() == 1)
    return where.members.front();
  if (where.of->policy == sharding_policy::hash) return pick_by_hash(where, hash);
  const auto count = where.members.size();
  const auto turn = where.of->turn.fetch_add(1, std::memory_order_relaxed);
  if (where.of->policy == sharding_policy::round_robin) return where.members[turn % count];
  // Equals are taken in turn.
  auto best = where.members[turn % count];
  for (std::size_t i = 1; i < count; ++i) {
    const auto m = where.members[(turn + i) % count];
    if (load_of(m) < load_of(best)) best = m;
  }
  // Until it says itself what it has: others that choose meanwhile shall not all choose the same.
  slots_[best].flows.fetch_add(1, std::memory_order_relaxed);
  return best;
}

void table::publish(unsigned shard, std::size_t flows, std::size_t unaccepted) {
  auto& s = slots_[shard];
  s.flows.store(static_cast<std::uint32_t>(flows), std::memory_order_relaxed);
  s.unaccepted.store(static_cast<std::uint32_t>(unaccepted), std::memory_order_relaxed);
}

}  // namespace share

shard_set::shard_set(unsigned shards, const std::array<std::uint8_t, 32>& secret,
                     std::size_t flows) {
  if (shards == 0 || shards > max_shards)
    throw std::invalid_argument("a device is shared by 1 to 255 shards");
  table_ = std::make_unique<share::table>(shards, secret, flows);
  datagrams_ = std::make_unique<share::table>(shards, secret, 1);  // datagrams have no flows
}
shard_set::~shard_set() = default;

unsigned shard_set::size() const { return table_->size(); }
void shard_set::set_waker(unsigned shard, shard_waker* waker) {
  table_->inbox_of(shard).set_waker(waker);
}

std::vector<group_info> shard_set::groups() const {
  std::uint64_t version = 0;
  const auto now = table_->current(version);
  std::vector<group_info> out;
  for (const auto& p : now->all())
    out.push_back({p.of->local, p.of->sharing, p.of->policy, {p.members.begin(), p.members.end()}});
  return out;
}

}  // namespace weir::stack
