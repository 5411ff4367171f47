// Which seeds a seeded test runs, and what is printed when one fails. WEIR_SIM_SEEDS is their
// number (each test has a default), WEIR_SIM_FROM the first of them, WEIR_SIM_SEED runs one alone:
// that is the command that a failure prints. WEIR_SIM_PCAP=FILE captures it. ./dev sim sets them.
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

struct seed_range {
  std::uint64_t first = 1, count = 0;
};

inline seed_range seeds_wanted(std::uint64_t by_default) {
  if (std::getenv("WEIR_SIM_SEED") != nullptr) return {number_from("WEIR_SIM_SEED", 1), 1};
  return {number_from("WEIR_SIM_FROM", 1), number_from("WEIR_SIM_SEEDS", by_default)};
}

/// Whether further seeds run after one has failed (WEIR_SIM_KEEP_GOING): to see how many there are.
inline bool keep_going() { return std::getenv("WEIR_SIM_KEEP_GOING") != nullptr; }

/// The failure, and the command that shows it again.
inline void report_seed(std::uint64_t seed, const std::string& failure) {
  std::cerr << "seed " << seed << " failed: " << failure << "\nreplay: ./dev sim --seed " << seed
            << " --pcap seed-" << seed << ".pcapng\n";
  FAIL_CHECK("seed " << seed << ": " << failure);
}

/// Runs `scenario` for each seed; it returns an error text, or nothing. Stops at the first seed
/// that fails.
inline void for_each_seed(const std::function<std::string(std::uint64_t)>& scenario,
                          std::uint64_t by_default = 20) {
  auto wanted = seeds_wanted(by_default);
  for (auto seed = wanted.first; seed < wanted.first + wanted.count; ++seed) {
    std::string failure;
    try {
      failure = scenario(seed);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    if (failure.empty()) continue;
    report_seed(seed, failure);
    return;
  }
  CHECK(wanted.count > 0);
}

}  // namespace sim_test
