// Whose a segment is that meets no flow here. It is handed on once; only where its target left the
// group meanwhile, or its flow moved on, a second time. Whoever gets a segment of a flow that is
// said to be its own and is not there drops it: the flow is on its way, and the peer repeats.
#include "stack/host/shard_link.hpp"

#include <algorithm>

namespace weir::stack {
namespace {

constexpr unsigned max_hops = 2;
constexpr auto nobody = share::flow_directory::none;

}  // namespace

shard_link::shard_link(host_core& core, share::flow_claims& claims, flows& flows,
                       passive_opens& opens, shard_set* shards, unsigned shard)
    : core_(core),
      claims_(claims),
      flows_(flows),
      opens_(opens),
      share_(shards == nullptr ? nullptr : &shards->inside()),
      shard_(shard) {
  if (share_ == nullptr) return;
  opens_.watch_shared_queues(*this);
  share_->inbox_of(shard_).open(true);
}

const share::snapshot& shard_link::view() {
  if (view_ == nullptr || share_->version() != view_version_)
    view_ = share_->current(view_version_);
  return *view_;
}

// --- Listening.

void shard_link::joined(std::uint32_t index) {
  auto& l = opens_[index];
  l.group = view().find(l.local)->of;
  if (l.group->sharing == sharing_mode::shared) l.shared = std::make_unique<shared_queue>();
}

std::uint32_t shard_link::members(const endpoint& local) {
  const auto* where = share_ == nullptr ? nullptr : view().find(local);
  return where == nullptr ? 1 : static_cast<std::uint32_t>(where->members.size());
}

void shard_link::publish() {
  if (share_ != nullptr)
    share_->publish(shard_, flows_.size() + flows_.handshakes(), opens_.unaccepted());
}

// --- What arrives.

unsigned shard_link::member_for(const share::placement& where, std::uint64_t hash) {
  const auto wanted = share_->pick(where, hash);
  const auto home = share_->home(hash);
  if (wanted == home || share_->directory().has_room(hash)) return wanted;
  // No entry could be made for it: it goes where it is found without one.
  core_.counters.add(counter::flow_directory_full);
  return share::table::pick_by_hash(where, hash);
}

bool shard_link::hand_over(instant now, const flow_key& flow, const wire::tcp_segment& segment,
                           unsigned hops, std::uint32_t& listener) {
  clock_ = now;
  const auto hash = share_->hash(flow);
  const bool opening = segment.has(wire::syn) && !segment.has(wire::ack);
  const auto owner = share_->directory().find(hash);
  if (owner != nobody && owner != shard_) {
    if (forward(owner, segment, hops)) return true;
    share_->directory().erase(hash, owner);  // that shard has gone
  } else if (owner == shard_ && !opening) {
    core_.counters.add(counter::handovers_early);
    return true;
  }
  const auto* where = view().match(flow.local);
  auto target = shard_;
  if (opening) {
    if (where == nullptr) return false;
    const bool mine = where->has(shard_) && (hops > 0 || owner == shard_);
    if (!mine) target = member_for(*where, hash);
  } else if (hops == 0) {
    target = share_->home(hash);
    if (where != nullptr && !where->has(target) &&
        opens_.cookie_is_good(now, *where->of, flow, segment))
      target = share::table::pick_by_hash(*where, hash);
  }
  if (opening && target == shard_) {
    const auto has_it = claims_.claim(flow, where->of->places_freely());
    if (has_it != shard_) {
      // Without an entry it is found at home; if nobody listens there, the client tries again.
      const auto to = has_it == nobody ? share_->home(hash) : has_it;
      const bool found = has_it != nobody || where->has(to);
      if (!found || !forward(to, segment, hops)) core_.counters.add(counter::handovers_dropped);
      return true;
    }
  }
  if (target != shard_ && forward(target, segment, hops)) return true;
  if (where != nullptr && where->has(shard_)) listener = opens_.exact(where->of->local);
  return false;
}

/// What goes with the item: where what nobody knows is forwarded to another program, all of the
/// packet that has arrived, since the shard that would know decides; else the payload.
std::span<const std::byte> shard_link::whole_packet(share::handover& item,
                                                    std::span<const std::byte> payload) const {
  const auto& packet = core_.arrived;
  if (packet.empty()) return payload;
  item.headers =
      payload.empty() ? packet.size() : static_cast<std::size_t>(payload.data() - packet.data());
  return packet.first(item.headers + payload.size());
}

/// False: there is no such shard any more.
bool shard_link::forward(unsigned target, const wire::tcp_segment& segment, unsigned hops) {
  if (hops >= max_hops) {
    core_.counters.add(counter::handovers_dropped);
    return true;
  }
  share::handover item;
  item.what = share::handover::kind::segment;
  item.hops = static_cast<std::uint8_t>(hops + 1);
  item.segment = segment;
  item.segment.payload = {};
  const auto bytes = whole_packet(item, segment.payload);
  switch (share_->inbox_of(target).post(std::move(item), bytes)) {
    case share::posted::closed: return false;
    case share::posted::full: core_.counters.add(counter::handovers_dropped); return true;
    case share::posted::yes: break;
  }
  core_.counters.add(segment.has(wire::syn) ? counter::syns_handed_over
                                            : counter::segments_handed_over);
  return true;
}

bool shard_link::hand_over(const icmp_report& report, unsigned hops) {
  if (hops > 0) return false;
  const auto hash = share_->hash({report.local, report.remote});
  auto owner = share_->directory().find(hash);
  if (owner == nobody) owner = share_->home(hash);
  if (owner == shard_) return false;
  share::handover item;
  item.what = share::handover::kind::icmp;
  item.hops = 1;
  item.report = report;
  const auto bytes = whole_packet(item, {});
  if (share_->inbox_of(owner).post(std::move(item), bytes) != share::posted::yes) return false;
  core_.counters.add(counter::segments_handed_over);
  return true;
}

void shard_link::take_handovers(instant now, handover_receiver& receiver) {
  if (share_ == nullptr) return;
  clock_ = std::max(clock_, now);
  share_->inbox_of(shard_).take(handed_over_);
  for (auto& item : handed_over_.items) take(now, item, receiver);
  core_.arrived = {};
  handed_over_.clear();
}

void shard_link::take(instant now, share::handover& item, handover_receiver& receiver) {
  using enum share::handover::kind;
  core_.counters.add(counter::handovers_taken);
  const auto bytes =
      std::span<const std::byte>(handed_over_.bytes).subspan(item.payload_at, item.payload_size);
  const auto payload = bytes.subspan(item.headers);
  core_.arrived = item.headers == 0 ? std::span<const std::byte>() : bytes;
  core_.arrived_as = {.checksum_good = true, .gso_size = item.segment.gso_size};
  switch (item.what) {
    case segment:
      item.segment.payload = payload;
      return receiver.on_segment(now, item.segment, item.hops);
    case datagram:
      item.datagram.payload = payload;
      return receiver.on_datagram(now, item.datagram, item.hops);
    case icmp: return receiver.on_icmp(now, item.report, item.hops);
    case connection:
    case half_open: return adopt(now, item);
    case want:
    case unwant:
    case forget: return on_want(now, item);
  }
}

}  // namespace weir::stack
