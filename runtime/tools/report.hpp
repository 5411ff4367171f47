// What weir-probe found, in an order of its own, printed for people or as JSON from the same facts.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace probe {

using value = std::variant<bool, std::int64_t, std::string>;

struct fact {
  std::string key;    ///< of JSON
  std::string label;  ///< for people
  probe::value value;
  std::string remark;       ///< for people: what it means, what to do. In JSON where has_reason
  bool has_reason = false;  ///< a thing that can be usable or not: {"usable": ..., "reason": ...}
};

struct group {
  std::string key;
  std::string title;
  std::vector<fact> facts;
};

struct report {
  std::string kernel;
  std::vector<group> groups;

  std::string to_json() const;
  std::string to_text() const;
};

}  // namespace probe
