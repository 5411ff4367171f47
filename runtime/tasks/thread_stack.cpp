// A signal's handler on that thread writes down return addresses; the names are looked up here, in
// the symbol tables of the files that are mapped.
#include "runtime/tasks/thread_stack.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>
#include <thread>

namespace weir::detail {
namespace {

constexpr int asking = SIGURG;
constexpr int deepest = 48;
constexpr std::chrono::milliseconds patience{100};

// A handler gets a number and nothing else, so what it needs is static.
constinit std::atomic<bool> somebody = false;
constinit std::atomic<int> asked = 0;     // thread; 0: none
constinit std::atomic<int> written = -1;  // addresses
std::array<void*, deepest> addresses;
struct sigaction before;

extern "C" void weir_tell_stack(int number) {
  int self = ::gettid();
  if (!asked.compare_exchange_strong(self, 0)) {
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN &&
        (before.sa_flags & SA_SIGINFO) == 0)
      before.sa_handler(number);
    return;
  }
  const int saved = errno;
  written.store(::backtrace(addresses.data(), deepest));
  errno = saved;
}

/// The functions of one file, by address.
struct symbols {
  struct function {
    std::uintptr_t from, to;
    const char* name;
  };
  std::string path;
  std::vector<function> sorted;
};

/// Mapped for good: names are needed until the program ends, and pages that nobody reads cost none.
std::string_view mapped(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  struct stat about{};
  void* at = MAP_FAILED;
  if (::fstat(fd, &about) == 0 && about.st_size > 0)
    at = ::mmap(nullptr, static_cast<std::size_t>(about.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED) return {};
  return {static_cast<const char*>(at), static_cast<std::size_t>(about.st_size)};
}

template <class T>
T read_at(std::string_view file, std::size_t offset) {
  T out{};
  if (offset <= file.size() && file.size() - offset >= sizeof out)
    std::memcpy(&out, file.data() + offset, sizeof out);
  return out;
}

bool inside(std::string_view file, const ElfW(Shdr) & part) {
  return part.sh_offset <= file.size() && part.sh_size <= file.size() - part.sh_offset;
}

/// The file's own table, which has local functions too; without it (stripped), that of the dynamic
/// linker.
symbols symbols_of(const char* path) {
  symbols out{.path = path, .sorted = {}};
  auto file = mapped(path);
  if (file.empty()) file = mapped("/proc/self/exe");  // it was started by another name
  const auto head = read_at<ElfW(Ehdr)>(file, 0);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return out;
  const auto section = [&](std::size_t i) {
    return read_at<ElfW(Shdr)>(file, head.e_shoff + i * sizeof(ElfW(Shdr)));
  };
  for (const unsigned wanted : {SHT_SYMTAB, SHT_DYNSYM})
    for (std::size_t i = 0; i < head.e_shnum && out.sorted.empty(); ++i) {
      const auto table = section(i);
      const auto strings = section(table.sh_link);
      if (table.sh_type != wanted || !inside(file, table) || !inside(file, strings)) continue;
      for (std::size_t n = 0; n < table.sh_size / sizeof(ElfW(Sym)); ++n) {
        const auto one = read_at<ElfW(Sym)>(file, table.sh_offset + n * sizeof(ElfW(Sym)));
        if ((one.st_info & 15) != STT_FUNC || one.st_value == 0 || one.st_name >= strings.sh_size)
          continue;
        out.sorted.push_back({one.st_value, one.st_value + one.st_size,
                              file.data() + strings.sh_offset + one.st_name});
      }
    }
  std::sort(out.sorted.begin(), out.sorted.end(),
            [](const auto& x, const auto& y) { return x.from < y.from; });
  return out;
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> words(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  std::string out = words != nullptr ? words.get() : name;
  // "app::session(app::session(weir::tcp_stream)::_ZN...Frame*) [clone .actor]"
  if (const auto clone = out.find(" [clone"); clone != std::string::npos) out.resize(clone);
  if (out.find(".Frame*)") != std::string::npos) {
    constexpr std::string_view nameless = "(anonymous namespace)";
    auto parameters = out.find('(');
    while (out.compare(parameters, nameless.size(), nameless) == 0)
      parameters = out.find('(', parameters + 1);
    out.resize(parameters);
  }
  return out;
}

}  // namespace

struct stack_taker::tables {
  std::vector<symbols> of_files;

  const symbols& of(const char* path) {
    for (auto& one : of_files)
      if (one.path == path) return one;
    return of_files.emplace_back(symbols_of(path));
  }
};

stack_taker::stack_taker() : tables_(std::make_unique<tables>()) {
  void* warm[1];
  ::backtrace(warm, 1);  // loads the unwinder, which a handler must not
}
stack_taker::~stack_taker() = default;

std::vector<void*> stack_taker::take(int thread) {
  if (thread == 0 || somebody.exchange(true)) return {};
  struct sigaction action{};
  action.sa_handler = &weir_tell_stack;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  written = -1;
  asked = thread;
  // A thread that did not answer in time has left the handler there: it is not its own predecessor,
  // or a signal that comes late would be handed from it to itself for ever.
  struct sigaction found{};
  ::sigaction(asking, &action, &found);
  if (found.sa_handler != &weir_tell_stack) before = found;
  bool answered = ::tgkill(::getpid(), thread, asking) == 0;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (answered && written.load() < 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  int still = thread;
  if (asked.compare_exchange_strong(still, 0)) answered = false;
  // It has begun to write: that takes no time to speak of, once it is given a processor.
  while (answered && written.load() < 0)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  std::vector<void*> out;
  // The first two are the handler's own, and the one that the kernel put there. What follows the
  // third are return addresses, which may stand behind a function's last instruction.
  for (int i = 2; answered && i < written.load(); ++i)
    out.push_back(static_cast<char*>(addresses[static_cast<std::size_t>(i)]) - (i == 2 ? 0 : 1));
  // A thread that did not answer may still get the signal: then the handler finds nothing to do.
  if (answered) ::sigaction(asking, &before, nullptr);
  somebody = false;
  return out;
}

std::string stack_taker::name(void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "?";
  const auto& all = tables_->of(info.dli_fname).sorted;
  const auto at =
      reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  auto found = std::upper_bound(all.begin(), all.end(), at,
                                [](std::uintptr_t x, const auto& one) { return x < one.from; });
  if (found != all.begin() && at < (--found)->to) return demangled(found->name);
  return info.dli_sname != nullptr ? demangled(info.dli_sname) : "?";
}

thread_state state_of(int thread) {
  thread_state out;
  const auto task = "/proc/self/task/" + std::to_string(thread);
  std::ifstream stat(task + "/stat");
  std::string text;
  std::getline(stat, text);
  // The name, in parentheses, may hold anything.
  if (const auto end = text.rfind(')'); end != std::string::npos && end + 2 < text.size())
    out.state = text[end + 2];
  std::ifstream schedule(task + "/schedstat");
  std::int64_t cpu = 0, wait = 0;
  if (schedule >> cpu >> wait) out.cpu = duration(cpu), out.cpu_wait = duration(wait);
  return out;
}

}  // namespace weir::detail
