// System calls that the kernel refuses to the calling thread from now on, by a seccomp filter: how
// tests meet answers that this kernel does not give by itself. A thread cannot be rid of its
// filter: use one that ends with the test.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace support {

/// The low half of an argument, as a filter addresses it.
constexpr std::uint32_t argument(unsigned n) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + n * sizeof(std::uint64_t));
}

/// Refuses call `number` with `error` where argument `n`, compared by `how` (BPF_JEQ, BPF_JSET)
/// with `value`, gives `outcome`. False: the kernel has no filters.
inline bool refuse_call(long number, unsigned n, std::uint16_t how, std::uint32_t value,
                        bool outcome, int error) {
  constexpr std::uint8_t to_refusal = 0, to_permission = 1;
  const std::uint8_t matched = outcome ? to_refusal : to_permission;
  const std::uint8_t unmatched = outcome ? to_permission : to_refusal;
  std::array<sock_filter, 6> code{{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, static_cast<std::uint32_t>(number)},
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, argument(n)},
      {static_cast<std::uint16_t>(BPF_JMP | how | BPF_K), matched, unmatched, value},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  }};
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace support
