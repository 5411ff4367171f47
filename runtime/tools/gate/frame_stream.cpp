// Cutting the stream into frames, and the queue of those that leave.
#include "runtime/tools/gate/frame_stream.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "stack/device/vnet_header.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/ethernet.hpp"
#include "weir/scope.hpp"

namespace weir::gate {
namespace {

constexpr std::size_t length_bytes = 4, tag_bytes = 4;  // of a VLAN, which the stack drops itself
constexpr std::size_t least = stack::wire::ethernet_header;
constexpr std::size_t room = 256 * 1024;  // read at once; more than the longest frame
// A frame goes to the stack with a device's header before it: over its length, and over the end of
// the frame before, which is done with by then.
constexpr std::size_t before = stack::vnet_header_size - length_bytes;

}  // namespace

class frame_stream::port final : public detail::packet_port {
 public:
  explicit port(std::shared_ptr<frame_stream> of) : of_(std::move(of)) {}
  ~port() override { of_->receiver_ = nullptr; }
  bool send(std::span<const std::span<const std::byte>> parts) override { return of_->send(parts); }
  const detail::packet_port_counters& counters() const override { return of_->counters_; }

 private:
  std::shared_ptr<frame_stream> of_;
};

frame_stream::frame_stream(shard& here, std::uint16_t mtu)
    : here_(here), longest_(least + tag_bytes + mtu) {}

std::unique_ptr<detail::packet_port> frame_stream::open_port(detail::packet_receiver& receiver) {
  receiver_ = &receiver;
  return std::make_unique<port>(shared_from_this());
}

task<std::string> frame_stream::carry(unix_stream& machine) {
  connected_ = true;
  scope outwards(here_);
  outwards.spawn(send_frames(machine));
  auto why = co_await take_frames(machine);
  connected_ = false;
  outwards.cancel();
  co_await outwards.join();
  waiting_.clear();
  some_wait_.reset();
  co_return why;
}

task<std::string> frame_stream::take_frames(unix_stream& machine) {
  std::vector<std::byte> bytes(before + room);
  std::size_t have = 0;
  std::string why;
  while (why.empty()) {
    auto got = co_await machine.read_some(std::span(bytes).subspan(before + have)).nothrow();
    if (got.ec) co_return got.ec == std::errc::operation_canceled ? "" : got.ec.message();
    if (got.n == 0) co_return have == 0 ? "" : "it ended within a frame";
    have += got.n;
    const auto taken = deliver(std::span(bytes).subspan(before, have), why);
    have -= taken;
    std::memmove(bytes.data() + before, bytes.data() + before + taken, have);
  }
  co_return why;
}

std::size_t frame_stream::deliver(std::span<std::byte> bytes, std::string& why) {
  std::size_t at = 0;
  while (bytes.size() - at >= length_bytes) {
    const std::size_t length = stack::wire::get32(bytes.data() + at);
    if (length < least || length > longest_) {
      why = fmt::format("a frame of {} bytes, where {} to {} can be: does it speak QEMU's way?",
                        length, least, longest_);
      break;
    }
    if (bytes.size() - at < length_bytes + length) break;
    auto* const frame = bytes.data() + at + length_bytes - stack::vnet_header_size;
    std::memset(frame, 0, stack::vnet_header_size);
    const std::span<const std::byte> whole(frame, stack::vnet_header_size + length);
    counters_.add_received({&whole, 1});
    if (receiver_ != nullptr) receiver_->receive({&whole, 1});
    at += length_bytes + length;
  }
  return at;
}

bool frame_stream::send(std::span<const std::span<const std::byte>> parts) {
  std::size_t size = 0;
  for (const auto& part : parts) size += part.size();
  size -= stack::vnet_header_size;
  if (!connected_ || waiting_.size() + length_bytes + size > most_waiting) {
    ++counters_.send_failed;
    return false;
  }
  std::array<std::byte, length_bytes> length;
  stack::wire::put32(length.data(), static_cast<std::uint32_t>(size));
  waiting_.insert(waiting_.end(), length.begin(), length.end());
  std::size_t skipped = stack::vnet_header_size;
  for (const auto& part : parts) {
    const auto gone = std::min(skipped, part.size());
    waiting_.insert(waiting_.end(), part.begin() + static_cast<std::ptrdiff_t>(gone), part.end());
    skipped -= gone;
  }
  ++counters_.frames_out;
  counters_.bytes_out += size;
  some_wait_.set();
  return true;
}

// What comes while one write is under way goes with the next.
task<> frame_stream::send_frames(unix_stream& machine) {
  std::vector<std::byte> leaving;
  for (;;) {
    co_await some_wait_.wait();
    some_wait_.reset();
    std::swap(leaving, waiting_);
    auto sent = co_await machine.write_all(leaving).nothrow();
    if (sent.ec) break;  // the reader sees that it has gone
    leaving.clear();
  }
}

}  // namespace weir::gate
