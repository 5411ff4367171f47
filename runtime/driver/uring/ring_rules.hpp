// What a ring may be asked for: all that the kernel takes, or, to try out here what happens on
// another machine, no more than an older release knows (`uring.profile`), and not what is hidden
// (`uring.hide`). Rings are set up and registered with here only, and while something is forbidden
// every entry is looked at before it is submitted: a forbidden use ends the program with a line
// that names it.
#pragma once

#include <string>

#include "runtime/config/uring_features.hpp"
#include "runtime/driver/uring/io_uring_constants.hpp"
#include "weir/config.hpp"

namespace weir::detail {

class ring_rules {
 public:
  /// As the kernel.
  ring_rules() = default;
  explicit ring_rules(const config::uring_section& wanted);
  /// No feature at all, as on Linux 5.11, the oldest that will do.
  static ring_rules oldest();

  /// Whether anything is forbidden: else nothing need be looked at.
  bool limited() const { return limited_; }
  bool allow(bool uring_features::* feature) const { return !(hidden_.*feature); }
  /// "uring.profile 6.1, uring.hide cqe_skip"
  const std::string& words() const { return words_; }

  /// io_uring_setup(2) and io_uring_register(2); a negative errno for a failure. Callers ask only
  /// for what allow() permits: these end the program otherwise.
  int set_up(io_uring& ring, unsigned entries, io_uring_params& parameters) const;
  int register_with(io_uring& ring, unsigned opcode, void* argument, unsigned count) const;
  /// What is about to be submitted, and the flags of the call that does it.
  void check_entry(const io_uring_sqe& entry) const;
  void check_enter(unsigned flags) const;

  /// One thing that is asked for: a bit of some flags, an operation, a registration.
  struct use {
    unsigned value;
    unsigned since;
    bool uring_features::* feature = nullptr;
  };

 private:
  bool permits(const use& u) const;
  void check_bits(const char* what, unsigned bits, const use* begin, const use* end) const;
  [[noreturn]] void offence(const char* what, unsigned value) const;

  unsigned release_ = ~0u;
  uring_features hidden_;
  bool limited_ = false;
  std::string words_;
};

}  // namespace weir::detail
