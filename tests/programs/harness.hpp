// Runs weir's programs from outside, as a person would: real processes, real sockets, a network
// namespace that the test made for itself. Waits end by events; the deadlines here only keep a
// broken program from hanging the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

/// Far beyond what anything here takes on the slowest machine.
constexpr std::chrono::seconds patience{30};

/// Puts the test process (one per test) into a network namespace of its own. False: it prints
/// "SKIPPED: why".
bool own_network();

/// Whether a back end can be used in this network; prints "SKIPPED: why" when not.
bool usable(const std::string& backend);
/// Whether this build has it; the same words where it has not.
bool built_in(const std::string& backend);
/// The back end on kernel sockets for tests that take any: the one that no machine forbids, where
/// it was built in.
extern const char* const kernel_backend;

struct start_options {
  std::vector<std::string> environment = {};  ///< "WEIR_SHARDS=2", added to the test's own
  std::function<void()> before_exec = {};     ///< in the child
};

/// In a child: io_uring_setup(2) fails with this error from now on, as under a container's filter.
void forbid_io_uring(int error);

/// A running program. Killed when the object goes, if it still runs.
class process {
 public:
  process(std::vector<std::string> command, const start_options& options = {});
  ~process();
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  /// Reads stdout until a line begins with this; gives that line. Fails the test at the end of
  /// stdout.
  std::string wait_line(std::string_view beginning);
  /// The same on stderr.
  std::string wait_error_line(std::string_view beginning);
  void signal(int number);
  pid_t pid() const { return pid_; }
  /// Waits for the end; gives the exit code, or 1000 + the signal's number.
  int wait();
  /// Everything that was printed so far; complete after wait().
  const std::string& out() const { return out_.text; }
  const std::string& err() const { return err_.text; }

 private:
  struct stream {
    int fd = -1;
    std::string text;
    std::size_t looked_at = 0;
  };
  std::string wait_line_of(stream& from, std::string_view beginning);
  bool read_more(std::chrono::steady_clock::time_point until);

  pid_t pid_ = -1;
  bool ended_ = false;
  stream out_, err_;
};

/// Runs a program to its end.
struct finished {
  int code;
  std::string out, err;
};
finished run(std::vector<std::string> command, const start_options& options = {});

/// A blocking TCP client. Every failure fails the test.
class client {
 public:
  client(const std::string& address, std::uint16_t port);
  ~client();
  client(client&& other) noexcept;
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  void send(std::string_view bytes);
  /// Sends as much as the peer takes; false when it refuses (reset, closed).
  bool try_send(std::string_view bytes);
  void end_of_stream();
  /// Exactly this many bytes.
  std::string receive(std::size_t size);
  /// Until the end of the stream. A reset is an end as well.
  std::string receive_all();
  /// Goes with a reset.
  void vanish();
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// The port of "listening echo 127.0.0.1:4711 backend=..." and the address.
struct place {
  std::string address;
  std::uint16_t port = 0;
};
place place_of(const std::string& listening_line);

/// One back end, and how a program is started on it here.
struct backend {
  std::string name;
  std::string address;                 ///< where servers can listen
  std::vector<std::string> arguments;  ///< --backend NAME
};
backend backend_called(const std::string& name);

/// command + options of the back end + more.
std::vector<std::string> command_line(const std::string& program, const backend& on,
                                      std::vector<std::string> more);

std::string services();
std::string http_server();
std::string weir_probe();
std::string echo_program();
std::string udp_echo_program();

/// Bytes that a mistake would show in: every position differs from its neighbours, far repeats
/// included.
std::string some_bytes(std::size_t size, std::uint32_t seed = 1);

}  // namespace programs

/// Defines a test that runs on each back end: ON_EVERY_BACKEND(echo_returns_every_byte) { ... `on`
/// is the back end }
#define ON_EVERY_BACKEND(name)                                        \
  static void name(const programs::backend& on);                      \
  TEST_CASE(#name ".asio") { programs::run_test_on("asio", name); }   \
  TEST_CASE(#name ".uring") { programs::run_test_on("uring", name); } \
  TEST_CASE(#name ".stack") { programs::run_test_on("stack", name); } \
  static void name(const programs::backend& on)

namespace programs {
void run_test_on(const std::string& name, void (*test)(const backend&));
}
