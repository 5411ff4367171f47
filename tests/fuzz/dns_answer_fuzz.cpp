// Answers of name servers: an input is what follows an honest header's id and question, so that it
// gets past them. Whatever it says, what is made of it is within its bounds.
#include <string>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "runtime/resolve/message.hpp"

using namespace weir::fuzz;
using namespace weir::detail;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t head = 9;  // type; flags; counts of answers, authorities, additional ones
  if (size < head) return 0;
  constexpr record_type types[] = {record_type::a, record_type::aaaa, record_type::srv,
                                   record_type::ptr};
  const question q{"www.example.org", types[data[0] % 4]};
  const auto query = encode_query(q, 0x4711);
  std::vector<std::byte> message(query);
  message[2] = std::byte(data[1] | 0x80);
  message[3] = std::byte(data[2]);
  for (std::size_t i = 0; i < 6; ++i) message[6 + i] = std::byte(data[3 + i]);
  for (std::size_t i = head; i < size; ++i) message.push_back(std::byte(data[i]));

  answer got;
  const auto what = read_answer(message, query, q, got);
  claim(got.addresses.size() <= max_records && got.services.size() <= max_records &&
            got.names.size() <= max_records,
        "no more records than the bound");
  claim(got.lifetime >= weir::duration(0) && got.lifetime <= longest_lifetime,
        "a lifetime within its bounds");
  for (const auto& name : got.names) claim(host_name(name) == name, "names of hosts");
  for (const auto& one : got.services) claim(host_name(one.target) == one.target, "targets, too");
  for (const auto& one : got.addresses)
    claim(one.is_v4() == (q.type == record_type::a), "addresses of the family asked for");
  if (what == verdict::answered && !got.error)
    claim(!got.addresses.empty() || !got.services.empty() || !got.names.empty(),
          "an answer has records");

  // The same bytes as a whole message: foreign, unless they happen to echo the question.
  (void)read_answer(std::as_bytes(std::span(data, size)), query, q, got);

  // What is only passed on gives addresses within the same bounds, or nothing.
  for (const auto whole :
       {std::span<const std::byte>(message), std::as_bytes(std::span(data, size))})
    if (const auto passed = read_passed_answer(whole))
      claim(host_name(passed->name) == passed->name && !passed->said.addresses.empty() &&
                passed->said.addresses.size() <= max_records,
            "a host's name, and addresses of it");
  return 0;
}
