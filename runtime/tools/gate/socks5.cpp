// Each answer is read to its last byte and no further: what follows is the connection's.
#include "runtime/tools/gate/socks5.hpp"

#include <array>
#include <cstring>
#include <span>

namespace weir::gate {
namespace {

constexpr unsigned char version = 5, auth_version = 1;
constexpr unsigned char no_authentication = 0, by_password = 2;
constexpr unsigned char connect = 1;
constexpr unsigned char is_v4 = 1, is_name = 3, is_v6 = 4;
constexpr std::size_t longest_text = 255;

/// Bytes of a request, in order.
class request {
 public:
  request& operator<<(unsigned char byte) {
    bytes_[size_++] = std::byte{byte};
    return *this;
  }
  request& operator<<(std::string_view text) {
    *this << static_cast<unsigned char>(text.size());
    std::memcpy(bytes_.data() + size_, text.data(), text.size());
    size_ += text.size();
    return *this;
  }
  request& operator<<(const endpoint& to) {
    *this << (to.address.is_v4() ? is_v4 : is_v6);
    for (const auto byte : to.address.bytes()) *this << byte;
    return *this << static_cast<unsigned char>(to.port >> 8) << static_cast<unsigned char>(to.port);
  }
  std::span<const std::byte> bytes() const { return std::span(bytes_).first(size_); }

 private:
  std::array<std::byte, 3 + 2 * longest_text> bytes_;
  std::size_t size_ = 0;
};

std::error_code meaning_of(unsigned char reply) {  // RFC 1928 6
  switch (reply) {
    case 0: return {};
    case 2: return std::make_error_code(std::errc::permission_denied);
    case 3: return std::make_error_code(std::errc::network_unreachable);
    case 5: return std::make_error_code(std::errc::connection_refused);
    case 7: return std::make_error_code(std::errc::operation_not_supported);
    case 8: return std::make_error_code(std::errc::address_family_not_supported);
    default: return std::make_error_code(std::errc::host_unreachable);
  }
}

const auto no_socks = std::make_error_code(std::errc::protocol_error);

/// The proxy that goes in the middle of an answer has broken the connection.
std::error_code ended(std::error_code why) {
  return why == error::end_of_stream ? std::make_error_code(std::errc::connection_reset) : why;
}

/// Sends what `asked` has and reads an answer of that size.
task<std::error_code> exchange(any_stream& proxy, std::span<const std::byte> asked,
                               std::span<std::byte> answer) {
  auto wrote = co_await proxy.write_all(asked).nothrow();
  if (wrote.ec) co_return wrote.ec;
  auto read = co_await proxy.read_exactly(answer).nothrow();
  co_return ended(read.ec);
}

task<std::error_code> authenticate(any_stream& proxy, const credentials& who) {
  request asked;
  asked << auth_version << std::string_view(who.user) << std::string_view(who.password);
  std::array<std::byte, 2> answer{};
  auto failed = co_await exchange(proxy, asked.bytes(), answer);
  if (failed) co_return failed;
  if (answer[0] != std::byte{auth_version}) co_return no_socks;
  co_return answer[1] == std::byte{0} ? std::error_code()
                                      : std::make_error_code(std::errc::permission_denied);
}

}  // namespace

task<std::error_code> socks5_connect(any_stream& proxy, const credentials& who,
                                     const endpoint& to) {
  if (who.user.size() > longest_text || who.password.size() > longest_text)
    co_return std::make_error_code(std::errc::invalid_argument);
  request greeting;
  greeting << version;
  if (who.user.empty())
    greeting << 1 << no_authentication;
  else
    greeting << 2 << no_authentication << by_password;
  std::array<std::byte, 2> chosen{};
  auto failed = co_await exchange(proxy, greeting.bytes(), chosen);
  if (failed) co_return failed;
  if (chosen[0] != std::byte{version}) co_return no_socks;
  if (chosen[1] == std::byte{by_password} && !who.user.empty()) {
    failed = co_await authenticate(proxy, who);
    if (failed) co_return failed;
  } else if (chosen[1] != std::byte{no_authentication}) {
    co_return std::make_error_code(std::errc::permission_denied);
  }
  request asked;
  asked << version << connect << 0 << to;
  std::array<std::byte, 5> head{};  // a byte of the address with it: the length of a name
  failed = co_await exchange(proxy, asked.bytes(), head);
  if (failed) co_return failed;
  if (head[0] != std::byte{version}) co_return no_socks;
  if (const auto said = meaning_of(std::to_integer<unsigned char>(head[1]))) co_return said;
  std::size_t left = 0;
  switch (std::to_integer<unsigned char>(head[3])) {
    case is_v4: left = 3; break;
    case is_v6: left = 15; break;
    case is_name: left = std::to_integer<std::size_t>(head[4]); break;
    default: co_return no_socks;
  }
  std::array<std::byte, longest_text + 2> rest;  // where the proxy connects from: nobody's business
  auto read = co_await proxy.read_exactly(std::span(rest).first(left + 2)).nothrow();
  co_return ended(read.ec);
}

}  // namespace weir::gate
