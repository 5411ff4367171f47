// What will spoil a measurement on this machine, before it is made. Reads /proc and /sys through
// machine, so that tests give recorded trees; changes nothing.
#pragma once

#include <string>
#include <vector>

#include "load/machine.hpp"

namespace weir::load {

struct finding {
  enum class level : std::uint8_t { good, unknown, spoils };
  std::string subject;  ///< "governor"
  level how = level::good;
  std::string what;    ///< what was found
  std::string change;  ///< what to do; empty where nothing has to be done
};

std::vector<finding> examine(const machine& of);
std::string text_of(const std::vector<finding>& all);

}  // namespace weir::load
