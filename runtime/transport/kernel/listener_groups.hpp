// Which listeners of this program stand on one kernel address: `shared` ones have one socket among
// them, `sharded` ones a socket each (SO_REUSEPORT), and either kind hands on what it accepted and
// cannot keep when it goes. Used when listeners begin and end, never per connection; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "runtime/transport/kernel/kernel_socket.hpp"

namespace weir {
class shard;
}

namespace weir::detail::kernel {

class listener_groups {
 public:
  /// Keeps a shared socket open until its listener has joined. If it does not come so far, the last
  /// to let go leaves nothing behind that listens without anybody to accept.
  class hold {
   public:
    hold() = default;
    hold(const hold&) = delete;
    hold& operator=(const hold&) = delete;
    ~hold() {
      if (of_ != nullptr) of_->let_go(local_);
    }

   private:
    friend class listener_groups;
    listener_groups* of_ = nullptr;
    endpoint local_;
  };
  /// A descriptor of the one socket on `local`: a copy where it is open already, else what `open`
  /// gives.
  result<unique_fd> share(const endpoint& local, const std::function<result<unique_fd>()>& open,
                          hold& until_joined);

  /// From now on `adopt` gets, on `owner`, the connections that others of the address leave. Gives
  /// the member's number.
  std::uint64_t join(const endpoint& local, shard& owner,
                     std::function<void(std::uint64_t member, int fd)> adopt);
  /// The member goes: nothing is posted to its shard any more. The last of a shared socket closes
  /// it.
  void leave(std::uint64_t member);
  /// Members of the address.
  std::size_t count(const endpoint& local);
  /// Hands an accepted connection to a member of the address, in turn. False: there is none, and
  /// the connection is still the caller's.
  bool give_away(const endpoint& local, int fd);
  /// The same with everything that waits in a socket's accept queue; the kernel would reset it on
  /// close. Gives the number.
  std::size_t give_away_queue(const endpoint& local, int listening_fd);

 private:
  struct member {
    std::uint64_t number;
    endpoint local;
    shard* owner;
    std::function<void(std::uint64_t, int)> adopt;
  };
  struct shared_socket {
    endpoint local;
    unique_fd fd;
    unsigned holds = 0;
  };

  void let_go(const endpoint& local);
  void close_unused(const endpoint& local);

  std::mutex mutex_;
  std::vector<member> members_;
  std::vector<shared_socket> sockets_;
  std::uint64_t last_ = 0;
  std::size_t turn_ = 0;
};

}  // namespace weir::detail::kernel
