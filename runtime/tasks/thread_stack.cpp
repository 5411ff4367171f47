// A signal's handler on that thread writes down return addresses; the names are looked up here, in
// the symbol tables of the files that are mapped.
#include "tasks/thread_stack.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
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

struct symbols {
  std::vector<char> file;
  const ElfW(Sym) * first = nullptr;
  std::size_t count = 0;
  const char* names = nullptr;
  std::size_t names_size = 0;
};

/// The file's own table, which has local functions too; without it (stripped), that of the dynamic
/// linker.
symbols symbols_of(const char* path) {
  symbols out;
  std::ifstream in(path, std::ios::binary);
  out.file.assign(std::istreambuf_iterator<char>(in), {});
  const auto& bytes = out.file;
  ElfW(Ehdr) head;
  if (bytes.size() < sizeof head) return out;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return out;
  const auto section = [&](std::size_t i) {
    ElfW(Shdr) one{};
    const auto at = head.e_shoff + i * sizeof one;
    if (at + sizeof one <= bytes.size()) std::memcpy(&one, bytes.data() + at, sizeof one);
    return one;
  };
  for (const unsigned wanted : {SHT_SYMTAB, SHT_DYNSYM})
    for (std::size_t i = 0; i < head.e_shnum && out.first == nullptr; ++i) {
      const auto table = section(i);
      if (table.sh_type != wanted) continue;
      const auto strings = section(table.sh_link);
      if (table.sh_offset + table.sh_size > bytes.size() ||
          strings.sh_offset + strings.sh_size > bytes.size())
        continue;
      out.first = reinterpret_cast<const ElfW(Sym)*>(bytes.data() + table.sh_offset);
      out.count = table.sh_size / sizeof(ElfW(Sym));
      out.names = bytes.data() + strings.sh_offset;
      out.names_size = strings.sh_size;
    }
  return out;
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> words(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  std::string out = words != nullptr ? words.get() : name;
  // "app::session(app::session(weir::tcp_stream)::_ZN...Frame*) [clone .actor]"
  if (const auto clone = out.find(" [clone"); clone != std::string::npos) out.resize(clone);
  if (const auto frame = out.find(".Frame*)"); frame != std::string::npos)
    out.resize(out.find('('));
  return out;
}

class name_finder {
 public:
  std::string name(void* address) {
    Dl_info info{};
    if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "?";
    auto& of = table(info.dli_fname);
    const auto at = reinterpret_cast<std::uintptr_t>(address) -
                    reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    for (std::size_t i = 0; i < of.count; ++i) {
      const auto& one = of.first[i];
      if ((one.st_info & 15) != STT_FUNC || at < one.st_value || at >= one.st_value + one.st_size)
        continue;
      if (one.st_name < of.names_size) return demangled(of.names + one.st_name);
    }
    return info.dli_sname != nullptr ? demangled(info.dli_sname) : "?";
  }

 private:
  symbols& table(const char* path) {
    for (auto& [name, one] : tables_)
      if (name == path) return one;
    auto made = symbols_of(path);
    if (made.file.empty()) made = symbols_of("/proc/self/exe");  // it was started by another name
    return tables_.emplace_back(path, std::move(made)).second;
  }
  std::vector<std::pair<std::string, symbols>> tables_;
};

}  // namespace

stack_taker::stack_taker() {
  if (somebody.exchange(true)) return;
  taken_ = true;
  void* warm[1];
  ::backtrace(warm, 1);  // loads the unwinder, which a handler must not
  struct sigaction action{};
  action.sa_handler = &weir_tell_stack;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(asking, &action, &before);
}

stack_taker::~stack_taker() {
  if (!taken_) return;
  struct sigaction now{};
  ::sigaction(asking, nullptr, &now);
  if (now.sa_handler == &weir_tell_stack) ::sigaction(asking, &before, nullptr);
  somebody = false;
}

std::vector<std::string> stack_taker::of(int thread) {
  if (!taken_ || thread == 0) return {};
  written = -1;
  asked = thread;
  if (::tgkill(::getpid(), thread, asking) != 0) return {};
  const auto until = std::chrono::steady_clock::now() + patience;
  while (written.load() < 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  int still = thread;
  if (asked.compare_exchange_strong(still, 0)) return {};  // it is deaf: it hears no more of this
  while (written.load() < 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  std::vector<std::string> out;
  name_finder names;
  // The first two are the handler's own, and the one that the kernel put there.
  for (int i = 2; i < written.load(); ++i)
    // A return address may stand behind the function's last instruction.
    out.push_back(
        names.name(static_cast<char*>(addresses[static_cast<std::size_t>(i)]) - (i == 2 ? 0 : 1)));
  return out;
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
