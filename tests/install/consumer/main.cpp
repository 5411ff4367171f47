// A program outside weir's tree: includes an installed header, links the installed archives, and
// says so.
#include <weir/stack/address.hpp>

#include <cstdio>

int main() {
  const auto address = weir::ip_address::parse("127.0.0.1");
  if (!address || !(*address == weir::ip_address::loopback_v4())) return 1;
  std::printf("consumer: %s\n", address->to_string().c_str());
  return 0;
}
