// Runs a test body in a child process in a network namespace of its own: no address or route of the
// machine is touched, and nothing is left behind. The body returns an error text, or nothing.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <string>

namespace kernel_test {

struct verdict {
  enum class kind { passed, failed, skipped } what = kind::passed;
  std::string text;
};

verdict in_private_network(const std::function<std::string()>& body);

/// The same with doctest's words: a failure fails the test, a machine that forbids it skips it.
inline void run_in_private_network(const std::function<std::string()>& body) {
  auto done = in_private_network(body);
  if (done.what == verdict::kind::skipped) {
    MESSAGE("not permitted here");
    printf("SKIPPED: %s\n", done.text.c_str());
    return;
  }
  CHECK_MESSAGE(done.what == verdict::kind::passed, done.text);
}

}  // namespace kernel_test
