// Which seeds a seeded test runs, and what is printed when one fails. WEIR_SIM_SEEDS is their
// number (20 by default), WEIR_SIM_SEED runs one alone: that is the command that a failure prints.
// WEIR_SIM_PCAP=FILE captures it.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <string>

namespace sim_test {

inline std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr || *text == 0 ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Runs `scenario` for each seed; it returns an error text, or nothing. Stops at the first seed
/// that fails.
inline void for_each_seed(const char* test_name,
                          const std::function<std::string(std::uint64_t)>& scenario,
                          std::uint64_t by_default = 20) {
  auto only = std::getenv("WEIR_SIM_SEED") != nullptr;
  auto first = only ? number_from("WEIR_SIM_SEED", 1) : 1;
  auto count = only ? 1 : number_from("WEIR_SIM_SEEDS", by_default);
  for (auto seed = first; seed < first + count; ++seed) {
    std::string failure;
    try {
      failure = scenario(seed);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    if (failure.empty()) continue;
    std::cerr << "seed " << seed << " failed: " << failure << "\nreplay: WEIR_SIM_SEED=" << seed
              << " bin/tests/sim_network -tc=" << test_name << '\n';
    FAIL_CHECK("seed " << seed << ": " << failure);
    return;
  }
  CHECK(count > 0);
}

}  // namespace sim_test
