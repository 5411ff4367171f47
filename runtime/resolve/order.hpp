// In which order to try a host's addresses (RFC 6724). Pure: what leads where is given.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "weir/stack/address.hpp"

namespace weir::detail {

struct destination {
  ip_address address;
  bool reachable = true;             ///< false: nothing leads there
  std::optional<ip_address> source;  ///< what packets to it would come from, where known
};

/// Rules 1, 2, 5, 6, 8 and 9 of section 6; 3, 4 and 7 ask what weir does not know (deprecated and
/// home addresses, tunnels). Rule 9 for IPv6 only: for IPv4 it would undo what name servers do to
/// spread load.
void sort_destinations(std::vector<destination>& all);

/// Equals keep their order, as with std::stable_sort, whose buffer clang's checks refuse in this
/// library; there are never many.
template <class T, class Rank>
void sort_in_place(std::vector<T>& all, Rank rank) {
  for (auto i = all.begin(); i != all.end(); ++i)
    std::rotate(std::upper_bound(all.begin(), i, *i,
                                 [&](const T& a, const T& b) { return rank(a) < rank(b); }),
                i, i + 1);
}

}  // namespace weir::detail
