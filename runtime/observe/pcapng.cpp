// See pcapng.hpp. Section numbers are those of draft-ietf-opsawg-pcapng.
#include "runtime/observe/pcapng.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/core/log.hpp"
#include "weir/error.hpp"

namespace weir::detail {
namespace {

constexpr std::uint32_t section_header_block = 0x0a0d0d0a;  // 4.1
constexpr std::uint32_t interface_block = 1;                // 4.2
constexpr std::uint32_t enhanced_packet_block = 6;          // 4.3
constexpr std::uint32_t byte_order_magic = 0x1a2b3c4d;
// LINKTYPE_NULL: a word that tells the family, then the IP packet. Raw IP (101) would do without
// the word, but libpcap refuses a second interface of that type.
constexpr std::uint16_t linktype_null = 0;
constexpr std::uint32_t family_v4 = 2, family_v6 = 30;
constexpr std::uint16_t option_end = 0, option_user_application = 4, option_name = 2,
                        option_resolution = 9, option_packet_flags = 2;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

[[noreturn]] void refuse(const std::string& path, int error) {
  throw io_error({error, std::generic_category()}, "observe.pcap: " + path);
}

/// What everybody sends and receives is for this user's eyes. No link is followed, since the folder
/// may be one that others write to, and nothing but a file is taken: a FIFO without a reader would
/// hold up the start, one with a reader the shard.
int open_private(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                        S_IRUSR | S_IWUSR);
  if (fd < 0) refuse(path, errno);
  struct stat about{};
  int error = ::fstat(fd, &about) == 0 ? 0 : errno;
  if (error == 0 && !S_ISREG(about.st_mode)) error = EINVAL;
  if (error == 0 && about.st_nlink > 1) error = EMLINK;
  // One that was there before may be open to others, and somebody else's.
  if (error == 0 && ::fchmod(fd, S_IRUSR | S_IWUSR) != 0) error = errno;
  if (error == 0 && ::ftruncate(fd, 0) != 0) error = errno;
  if (error == 0) return fd;
  ::close(fd);
  refuse(path, error);
}

}  // namespace

void pcapng_encoder::put16(std::uint16_t value) {
  auto bytes =
      std::as_bytes(std::span(&value, 1));  // the byte order of the machine; the magic tells which
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void pcapng_encoder::put32(std::uint32_t value) {
  auto bytes = std::as_bytes(std::span(&value, 1));
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void pcapng_encoder::put_padded(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  buffer_.resize((buffer_.size() + 3) & ~std::size_t{3});
}

void pcapng_encoder::option(std::uint16_t code, std::span<const std::byte> value) {
  put16(code);
  put16(static_cast<std::uint16_t>(value.size()));
  put_padded(value);
}

// A block is framed by its total length on both ends (3.1).
std::size_t pcapng_encoder::begin(std::uint32_t type) {
  auto start = buffer_.size();
  put32(type);
  put32(0);
  return start;
}

void pcapng_encoder::end(std::size_t start) {
  auto length = static_cast<std::uint32_t>(buffer_.size() - start + 4);
  put32(length);
  std::memcpy(buffer_.data() + start + 4, &length, sizeof length);
}

void pcapng_encoder::section_header(std::string_view application) {
  auto start = begin(section_header_block);
  put32(byte_order_magic);
  put16(1), put16(0);                    // version 1.0
  put32(0xffffffff), put32(0xffffffff);  // section length: not given
  option(option_user_application, as_bytes(application));
  option(option_end, {});
  end(start);
}

void pcapng_encoder::interface_description(std::string_view name, std::uint32_t snap_length) {
  auto start = begin(interface_block);
  put16(linktype_null), put16(0);
  put32(snap_length);
  option(option_name, as_bytes(name));
  const std::byte nanoseconds{9};  // if_tsresol: 10^-9
  option(option_resolution, std::span(&nanoseconds, 1));
  option(option_end, {});
  end(start);
}

void pcapng_encoder::enhanced_packet(std::uint32_t interface_number, std::uint64_t timestamp_ns,
                                     packet_direction direction,
                                     std::span<const std::span<const std::byte>> parts) {
  std::size_t size = 4;
  for (auto part : parts) size += part.size();
  bool v6 = !parts.empty() && !parts[0].empty() && (parts[0][0] >> 4) == std::byte{6};
  auto start = begin(enhanced_packet_block);
  put32(interface_number);
  put32(static_cast<std::uint32_t>(timestamp_ns >> 32));
  put32(static_cast<std::uint32_t>(timestamp_ns));
  put32(static_cast<std::uint32_t>(size));
  put32(static_cast<std::uint32_t>(size));
  put32(v6 ? family_v6 : family_v4);
  for (auto part : parts) buffer_.insert(buffer_.end(), part.begin(), part.end());
  put_padded({});
  std::uint32_t flags =
      direction == packet_direction::received ? 1 : 2;  // 4.3.1: inbound, outbound
  option(option_packet_flags, std::as_bytes(std::span(&flags, 1)));
  option(option_end, {});
  end(start);
}

class pcapng_file::tap final : public packet_tap {
 public:
  tap(pcapng_file& file, std::uint32_t number) : file_(&file), number_(number) {}

  void packet(instant when, packet_direction direction,
              std::span<const std::span<const std::byte>> parts) override {
    if (file_->failed_) return;
    auto stamp = static_cast<std::uint64_t>(when.ns() + file_->epoch_ns_);
    file_->encoder_.enhanced_packet(number_, stamp, direction, parts);
    ++file_->packets_;
    if (file_->oldest_.is_never()) file_->oldest_ = when;
    if (file_->encoder_.buffer().size() >= buffer_limit) file_->flush();
  }
  void idle(instant now) override { file_->idle(now); }

 private:
  pcapng_file* file_;
  std::uint32_t number_;
};

pcapng_file::pcapng_file(const std::string& path, std::int64_t epoch_ns)
    : path_(path), epoch_ns_(epoch_ns) {
  fd_ = open_private(path);
  encoder_.section_header("weir");
}

pcapng_file::~pcapng_file() {
  flush();
  ::close(fd_);
}

std::unique_ptr<packet_tap> pcapng_file::add_interface(const std::string& name) {
  encoder_.interface_description(name, 0);
  return std::make_unique<tap>(*this, interfaces_++);
}

void pcapng_file::idle(instant now) {
  if (!oldest_.is_never() && now - oldest_ >= longest_wait) flush();
}

void pcapng_file::flush() noexcept {
  auto& buffer = encoder_.buffer();
  std::size_t done = 0;
  while (!failed_ && done < buffer.size()) {
    auto n = ::write(fd_, buffer.data() + done, buffer.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      failed_ = true;
      log_line("observe.pcap: writing the capture failed; it ends here");
      break;
    }
    done += static_cast<std::size_t>(n);
  }
  buffer.clear();
  oldest_ = instant::never();
}

}  // namespace weir::detail
