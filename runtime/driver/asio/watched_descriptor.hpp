// A descriptor in the driver's set: at most one wait for reading and one for writing. Transfers
// nothing itself.
//
// The set tells each change once (EPOLLET) and is asked again only where a change may have been
// told to nobody: who reads until the kernel has nothing, and then waits for more, costs no system
// call by waiting.
//
// Life: counted references. The owner holds one, the set another while it hands out what came. So
// an owner may drop its reference at any time.
#pragma once

#include <cstdint>
#include <system_error>

namespace weir::detail {

class asio_driver;
class ready_set;

class watched_descriptor {
 public:
  explicit watched_descriptor(asio_driver& driver) : driver_(&driver) {}
  watched_descriptor(const watched_descriptor&) = delete;
  watched_descriptor& operator=(const watched_descriptor&) = delete;

  /// Takes `fd` into the set. On an error it is still the caller's.
  std::error_code assign(int fd);
  /// -1 once it was closed or released.
  int fd() const { return fd_; }

  /// readable() or writable() follows, once, from a turn of the driver: soon if it is so already.
  /// Asking again meanwhile changes nothing.
  void wait_readable() { wait(reading_); }
  void wait_writable();
  /// The same for who has just been told by the kernel that there is nothing more, or no more room.
  void wait_for_more() { wait_on(reading_); }
  void wait_for_room();

  /// Takes the descriptor out of the set, without or with closing it. No readable() or writable()
  /// comes any more.
  int release() noexcept;
  void close() noexcept;

  void retain() noexcept { ++references_; }
  void drop() noexcept {
    if (--references_ == 0) delete this;
  }

 protected:
  /// Also at an error or a hang-up; may come without a cause.
  virtual void readable() = 0;
  virtual void writable() = 0;
  virtual ~watched_descriptor() = default;

  asio_driver& driver() const { return *driver_; }
  /// True once after something came that nobody waited for.
  bool take_news() noexcept {
    const bool news = reading_.news;
    reading_.news = false;
    return news;
  }
  /// The peer's end or an error was told: of these nothing is told a second time.
  bool end_told() const { return end_told_; }

 private:
  friend class ready_set;

  /// One direction.
  struct direction {
    bool waiting = false;
    bool news = false;  // told while nobody waited
  };

  void wait(direction& of);
  void wait_on(direction& of);
  void ask_again();
  std::uint32_t wanted() const;
  /// Of the set, which holds a reference.
  void told(std::uint32_t events);

  asio_driver* driver_;
  int fd_ = -1;
  std::uint32_t references_ = 1;
  direction reading_;
  direction writing_;
  bool writes_ = false;        // the set tells of room, too
  bool always_ready_ = false;  // as a file, which is in no set
  bool end_told_ = false;
};

}  // namespace weir::detail
