// Processes that a program starts: their streams, their end, and signals to them. And this
// program's own standard streams.
//
//   weir::command sort{.arguments = {"sort", "-n"}};
//   sort.input = sort.output = weir::stdio::pipe();
//   auto child = co_await weir::spawn_process(sort);
//   co_await child.input.write_all("10\n9\n");
//   child.input.close();
//   ...                                            // read child.output to its end
//   auto status = co_await child.wait();
//
// On every back end that runs on a machine; in a simulation operation_not_supported.
#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <vector>

#include "weir/descriptor.hpp"
#include "weir/detail/call.hpp"
#include "weir/detail/operation.hpp"
#include "weir/stack/intrusive.hpp"
#include "weir/stream.hpp"

namespace weir {

/// What a standard stream of a child is.
class stdio {
 public:
  enum class kind : std::uint8_t { inherited, null, pipe, descriptor, output };

  /// That of this program.
  static constexpr stdio inherited() { return {kind::inherited, -1}; }
  /// /dev/null.
  static constexpr stdio null() { return {kind::null, -1}; }
  /// A pipe, whose other end is a stream of the child_process.
  static constexpr stdio pipe() { return {kind::pipe, -1}; }
  /// A copy of this descriptor, which stays the caller's, and is open until the spawn has ended.
  static constexpr stdio descriptor(int fd) { return {kind::descriptor, fd}; }
  /// Of `errors`: wherever the output goes.
  static constexpr stdio output() { return {kind::output, -1}; }

  kind what() const { return what_; }
  int fd() const { return fd_; }

 private:
  constexpr stdio(kind what, int fd) : what_(what), fd_(fd) {}
  kind what_;
  int fd_;
};

/// A program and how it is started.
struct command {
  /// The program first: a path (a relative one is seen from `directory`), or a name that is looked
  /// up in this program's PATH.
  std::vector<std::string> arguments;
  /// "NAME=value", beside this program's own, and instead of those of the same name.
  std::vector<std::string> environment = {};
  bool clean_environment = false;  ///< nothing but `environment`
  std::string directory = {};      ///< where it works; empty: where this program does
  stdio input = stdio::inherited();
  stdio output = stdio::inherited();
  stdio errors = stdio::inherited();
  /// Copies of these are 3, 4, ... there. No other descriptor is open in the child.
  std::vector<int> descriptors = {};
  /// It leads a process group of its own: a terminal's signals do not reach it, and kill() reaches
  /// all that it starts.
  bool own_group = false;
};

/// How a process ended.
struct exit_status {
  int code = 0;         ///< what it returned; 0 where a signal ended it
  int signal = 0;       ///< the signal that ended it, or 0
  bool dumped = false;  ///< the signal left a core dump

  bool success() const { return code == 0 && signal == 0; }
  /// "0", "status 3", "SIGKILL".
  std::string to_string() const;
};

namespace detail {

class child;

struct process_exit_operation : operation, stack::queue_link<> {
  process_exit_operation(child& c, cancel_hook h) : operation(h), process(&c) {}

  child* process;
  exit_status status;
};

class [[nodiscard]] process_exit_awaiter : public process_exit_operation {
 public:
  struct arguments {
    child* process;
  };
  process_exit_awaiter(const arguments& of, duration limit)
      : process_exit_operation(*of.process, &hook<&process_exit_awaiter::request_cancel>) {
    set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(*this); });
  }
  exit_status await_resume() {
    if (auto error = final_error()) throw io_error(error, "wait for a process");
    return status;
  }

 protected:
  result<exit_status> outcome() {
    if (auto error = final_error()) return error;
    return status;
  }

 private:
  /// Of runtime/process/children.cpp.
  static void begin(process_exit_operation& op) noexcept;
  static void request_cancel(operation& op) noexcept;
};

}  // namespace detail

/// A process that was started here. Its end is noticed and the process reaped whether or not
/// anybody waits. When the handle goes first, the process is killed (SIGKILL) and reaped: by the
/// shard, which waits for that at its own end.
class child_process {
 public:
  child_process() = default;
  explicit child_process(detail::child& child) : child_(&child) {}
  child_process(child_process&& other) noexcept
      : input(std::move(other.input)),
        output(std::move(other.output)),
        errors(std::move(other.errors)),
        child_(std::exchange(other.child_, nullptr)) {}
  child_process& operator=(child_process&& other) noexcept {
    if (this != &other) {
      end();
      input = std::move(other.input);
      output = std::move(other.output);
      errors = std::move(other.errors);
      child_ = std::exchange(other.child_, nullptr);
    }
    return *this;
  }
  ~child_process() { end(); }

  explicit operator bool() const { return child_ != nullptr; }

  any_stream input;   ///< where it reads: close() is its end of input. Empty unless a pipe.
  any_stream output;  ///< what it writes
  any_stream errors;  ///< the same on its standard error

  /// Its number. Once it has ended the number may be another's.
  int id() const;
  /// Waits for its end, as often as one likes. Errors: no_child_process (somebody else reaped it:
  /// SIGCHLD is ignored, or the program waits for any child).
  detail::request<detail::process_exit_awaiter> wait() {
    return detail::request<detail::process_exit_awaiter>({&here()});
  }
  /// Sends a signal; false where it has ended. Throws io_error: invalid_argument,
  /// permission_denied.
  bool kill(int signal);
  /// Lets it go on without this program: gives the pidfd, by which whoever takes it waits for the
  /// end and reaps (waitid(2), P_PIDFD). Empty where it has ended.
  unique_fd release();

 private:
  detail::child& here() const {
    assert(child_ != nullptr && "the process was moved from or released");
    return *child_;
  }
  void end() noexcept;

  detail::child* child_ = nullptr;
};

namespace detail {
struct spawn_call {
  using value = child_process;
  const command* what;
  task<result<child_process>> start(std::string& words) const;
  [[noreturn]] void fail(std::error_code error, const std::string& words) const;
};
}  // namespace detail

/// Starts a program. What stands in the way of its first instruction is the result, with the errno
/// of execve(2) or chdir(2): no_such_file_or_directory, permission_denied,
/// executable_format_error, argument_list_too_long, bad_file_descriptor, ... Further errors:
/// invalid_argument (no arguments, a zero byte, an environment entry without '='),
/// too_many_files_open, resource_unavailable_try_again (processes; offload.queue is full),
/// operation_not_supported.
///
/// The child has no descriptor but those that the command names, the signal mask of the calling
/// thread, and the signals as they were before run() and any signal_watch. It is started from the
/// pool of offload(), since that takes as long as the disk has to read the program; a spawn that is
/// cancelled meanwhile succeeds or fails all the same. `what` stays until then: give it a name.
inline detail::request<detail::call_awaiter<detail::spawn_call>> spawn_process(
    const command& what) {
  return detail::request<detail::call_awaiter<detail::spawn_call>>({&what});
}
detail::request<detail::call_awaiter<detail::spawn_call>> spawn_process(command&&) = delete;

/// This program's own standard streams, whatever they are: pipes and terminals, sockets, files
/// (read and written through the pool of offload(), where they stand). The descriptors 0, 1 and 2
/// stay as they are, open and with their flags; who else uses them is neither disturbed nor waited
/// for. Errors: bad_file_descriptor (it is closed), operation_not_supported (in a simulation).
any_stream standard_input(shard& here);
any_stream standard_output(shard& here);
any_stream standard_error(shard& here);
result<any_stream> try_standard_input(shard& here);
result<any_stream> try_standard_output(shard& here);
result<any_stream> try_standard_error(shard& here);

}  // namespace weir
