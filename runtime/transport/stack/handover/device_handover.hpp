// The handing over of one device (input_handover.hpp), both sides of it: asking the program that
// has the device for its queues, and listening for the one that asks for them next. The queues'
// descriptors are passed, so that the device never lacks a reader: what comes while nobody reads
// waits in it. All queues change hands together, since a flow may change its queue.
//
// The socket at which programs ask is passed on too: it never closes, and whoever has the device
// answers at it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "runtime/backend/watch.hpp"
#include "runtime/transport/stack/handover/device_messages.hpp"
#include "runtime/transport/stack/handover/input_handover.hpp"
#include "runtime/transport/watched/unix_address.hpp"
#include "weir/unix_endpoint.hpp"

namespace weir::detail {

/// Where programs ask for the device.
struct asking_place {
  unix_endpoint name;
  unique_fd listening;
};

/// Listens there. Throws config_error.
asking_place open_asking_place(const unix_endpoint& name);

/// One queue, and the links to those who had it before, the newest first.
struct handed_queue {
  unique_fd device;
  std::vector<unique_fd> links;
};

struct inherited_device {
  asking_place place;
  device_facts facts;
  std::vector<handed_queue> queues;
};

/// Asks who listens there, if anybody, for the device. It is read by nobody when this returns.
/// Blocks, some seconds at most. Throws config_error: the facts that must agree do not, or what
/// answers is something else.
std::optional<inherited_device> take_device(const unix_endpoint& from, const device_facts& own);

class device_handover final : public input_handover, private watch_client {
 public:
  /// Programs that may have the device's flows still when one more asks: each is a link.
  static constexpr std::size_t most_predecessors = 16;

  device_handover(asking_place place, device_facts facts);
  ~device_handover() override;
  device_handover(const device_handover&) = delete;
  device_handover& operator=(const device_handover&) = delete;

  /// The next queue, before any transport is attached.
  void add(handed_queue queue);
  /// The links of a queue's predecessors, for transports, which this outlives.
  std::vector<int> links_of(unsigned queue) const;

  // input_handover
  void attach(unsigned queue, input_owner& input, driver& through, shard& owner) override;
  void detach(unsigned queue) noexcept override;
  void given() override;
  void taken_back(unsigned queue) override;

 private:
  enum class phase : std::uint8_t { waits, offered, giving, given };
  struct one {
    handed_queue held;
    unique_fd link;  ///< our end of the link to the one who asked
    input_owner* input = nullptr;
    shard* owner = nullptr;
    bool away = false;  ///< somebody else reads it, or is about to
  };
  struct conversation {
    conversation(unique_fd s, std::unique_ptr<watch> a)
        : socket(std::move(s)), answers(std::move(a)) {}
    unique_fd socket;
    std::unique_ptr<watch> answers;
  };

  // watch_client, of either socket: the work is done in a message of its own.
  void readable() override;
  void writable() override {}

  // On the thread of queue 0's shard.
  void look();
  void look_for_asker();
  void look_for_answer();
  std::error_code offer(int to);
  void give();
  void forget_asker();
  void all_given();
  void look_whether_all_are_back();

  asking_place place_;
  bound_path path_;
  device_facts facts_;
  mutable std::mutex mutex_;  // of what follows, which all shards' threads use
  std::vector<one> queues_;
  std::atomic<phase> phase_ = phase::waits;
  std::size_t given_ = 0;
  // What queue 0's shard alone uses.
  driver* driver_ = nullptr;
  std::unique_ptr<watch> asked_;
  std::optional<conversation> asker_;
};

}  // namespace weir::detail
