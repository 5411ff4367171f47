// weir-bench-web: what TLS and HTTP cost on weir, beside OpenSSL in a raw loop and beside nginx:
// the server's CPU time for each request, interleaved, and the memory of an idle session.
#include <arpa/inet.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "process.hpp"
#include "raw_tls.hpp"
#include "statistics.hpp"
#include "weir_tls.hpp"

namespace weir::bench {
namespace {

struct settings {
  unsigned rounds = 9;
  double scale = 1;  // of the number of requests
  std::string only, bin_dir, nginx = "/usr/sbin/nginx", h2load = "/usr/bin/h2load";
  std::vector<std::string> keys;  // of weir's servers
};

struct contender {
  std::string name, service;  // the service that it announces
  std::vector<std::string> command;
};

struct row {
  std::string title;
  std::vector<contender> servers;  // weir's first
  double wanted;                   // at most so much of the best other
  std::uint64_t count;             // requests a round
  std::function<void(const endpoint&, std::uint64_t)> load;
};

std::string port_of(const endpoint& where) {
  return std::to_string(ntohs(reinterpret_cast<const sockaddr_in*>(where.address())->sin_port));
}

std::string free_port() {
  const int fd = listen_on(*parse_endpoint("127.0.0.1:0"), 1);
  const auto port = port_of(local_endpoint(fd));
  ::close(fd);
  return port;
}

void wait_for(const endpoint& where) {
  for (int tries = 0; tries < 500; ++tries) {
    const int fd = ::socket(where.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool there = ::connect(fd, where.address(), where.length) == 0;
    ::close(fd);
    if (there) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error("nobody listens at " + to_string(where));
}

const char* words_for(standing verdict) {
  switch (verdict) {
    case standing::met: return "met";
    case standing::not_met: return "not met";
    case standing::within_the_spread: return "within the spread";
    case standing::too_few_rounds: return "too few rounds to say";
    case standing::no_figure: break;
  }
  return "no figure";
}

/// The bench's own folder, with a certificate and a file of 1 MiB.
class folder {
 public:
  folder() {
    char name[] = "/tmp/weir-bench-web-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("no folder in /tmp");
    path = name;
    std::filesystem::permissions(path, std::filesystem::perms(0755));
    write_certificate(certificate());
    std::ofstream(path + "/file.bin", std::ios::binary) << std::string(1 << 20, 'x');
  }
  ~folder() { std::filesystem::remove_all(path); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  std::string certificate() const { return path + "/certificate.pem"; }
  std::string path;
};

class bench {
 public:
  explicit bench(settings how) : how_(std::move(how)), cpus_(allowed_cpus()) {
    pin_this_thread(cpus_.back());
  }
  int run() {
    fmt::print(
        "servers on core {}, load on core {}; {} rounds, interleaved; medians, +- half the "
        "range\n\n",
        cpus_.front(), cpus_.back(), how_.rounds);
    bool failed = false;
    for (auto& one : rows()) {
      if (!how_.only.empty() && one.title.find(how_.only) == std::string::npos) continue;
      try {
        measure(one);
      } catch (const std::exception& error) {
        failed = true;
        fmt::print("{}: {}\n\n", one.title, error.what());
      }
      std::fflush(stdout);
    }
    if (how_.only.empty() || std::string("memory").find(how_.only) != std::string::npos)
      measure_memory();
    return failed ? 1 : 0;
  }

 private:
  contender weir_tls() const {
    contender out{
        "weir", "echo", {"/proc/self/exe", "weir-tls", "--tls.certificate", in_.certificate()}};
    out.command.insert(out.command.end(), how_.keys.begin(), how_.keys.end());
    return out;
  }
  contender raw(const std::string& kind, bool release = false) const {
    contender out{kind, "echo", {"/proc/self/exe", kind, in_.certificate()}};
    if (release) out.command.push_back("release");
    return out;
  }
  contender http_server(const std::string& service) const {
    contender out{
        "weir",
        service,
        {how_.bin_dir + "/http_server", "--" + service, "127.0.0.1:0", "--root", in_.path}};
    if (service == "https")
      out.command.insert(out.command.end(), {"--tls.certificate", in_.certificate()});
    out.command.insert(out.command.end(), how_.keys.begin(), how_.keys.end());
    return out;
  }
  /// nginx with one server; `extra` goes into its block.
  contender nginx(const std::string& name, const std::string& service, const std::string& listen,
                  const std::string& extra) const {
    const auto port = free_port();
    const auto file = in_.path + "/nginx-" + port + ".conf";
    std::string secured;
    if (service == "https")
      secured = fmt::format("ssl_certificate {0}; ssl_certificate_key {0};", in_.certificate());
    std::ofstream(file) << fmt::format(
        "daemon off; master_process off; worker_rlimit_nofile 20000; pid {0}/{1}.pid;\n"
        "events {{ worker_connections 8192; }}\n"
        "http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path "
        "{0}; uwsgi_temp_path {0}; scgi_temp_path {0}; keepalive_requests 100000000; tcp_nodelay "
        "on; {2}\n server {{ listen 127.0.0.1:{1} {3}; root {0}; {4}\n location = /plaintext {{ "
        "default_type text/plain; return 200 'Hello, World!'; }} }} }}\n",
        in_.path, port, secured, listen, extra);
    const auto line = fmt::format("echo listening {} 127.0.0.1:{}; exec {} -p {} -c {} -e stderr",
                                  service, port, how_.nginx, in_.path, file);
    return {name, service, {"/bin/sh", "-c", line}};
  }
  std::function<void(const endpoint&, std::uint64_t)> h2load(const std::string& flags,
                                                             const std::string& scheme,
                                                             const std::string& path) const {
    return [this, flags, scheme, path](const endpoint& where, std::uint64_t count) {
      const auto command = fmt::format("taskset -c {} {} {} -n {} {}://{}{} 2>&1", cpus_.back(),
                                       how_.h2load, flags, count, scheme, to_string(where), path);
      std::FILE* from = ::popen(command.c_str(), "re");
      if (from == nullptr) throw std::runtime_error("cannot run h2load");
      std::string said;
      char line[512];
      while (std::fgets(line, sizeof line, from) != nullptr) said += line;
      ::pclose(from);
      if (said.find(fmt::format(" {} succeeded", count)) == std::string::npos)
        throw std::runtime_error("h2load: " + said.substr(0, 600));
    };
  }
  std::uint64_t scaled(std::uint64_t count) const {
    return std::max<std::uint64_t>(
        64, static_cast<std::uint64_t>(static_cast<double>(count) * how_.scale));
  }

  std::vector<row> rows() const {
    const auto echo = [](std::size_t size) {
      return [size](const endpoint& where, std::uint64_t count) {
        run_tls_echo({where, 64, size, count});
      };
    };
    const auto shake = [](const endpoint& where, std::uint64_t count) {
      run_tls_handshakes({where, 64, 1, count});
    };
    const std::string plain = "http", secured = "https";
    std::vector<row> out;
    out.push_back({"TLS echo 64 B, 64 connections",
                   {weir_tls(), raw("tls-epoll"), raw("tls-uring")},
                   1.05,
                   scaled(40'000),
                   echo(64)});
    out.push_back({"TLS echo 16 KiB, 64 connections",
                   {weir_tls(), raw("tls-epoll"), raw("tls-uring")},
                   1.05,
                   scaled(12'000),
                   echo(16 * 1024)});
    out.push_back({"TLS handshakes",
                   {weir_tls(), raw("tls-epoll"), raw("tls-uring")},
                   1.0526,
                   scaled(1'500),
                   shake});
    out.push_back({"HTTP /plaintext, 64 connections",
                   {http_server(plain), nginx("nginx", plain, "", "")},
                   0.8,
                   scaled(60'000),
                   h2load("--h1 -c 64", "http", "/plaintext")});
    out.push_back({"HTTPS /plaintext, 64 connections",
                   {http_server(secured), nginx("nginx", secured, "ssl", "")},
                   0.9,
                   scaled(40'000),
                   h2load("--h1 -c 64", "https", "/plaintext")});
    out.push_back({"HTTP/2 /plaintext over TLS, 64 connections of 10",
                   {http_server(secured), nginx("nginx", secured, "ssl http2", "")},
                   1.0,
                   scaled(60'000),
                   h2load("-c 64 -m 10", "https", "/plaintext")});
    out.push_back({"HTTP/2 /plaintext in the clear, 64 connections of 10",
                   {http_server(plain), nginx("nginx", plain, "http2", "")},
                   1.0,
                   scaled(60'000),
                   h2load("-c 64 -m 10", "http", "/plaintext")});
    out.push_back({"a file of 1 MiB, HTTP, 8 connections",
                   {http_server(plain), nginx("nginx, sendfile on", plain, "", "sendfile on;"),
                    nginx("nginx, sendfile off", plain, "", "sendfile off;")},
                   1.0,
                   scaled(2'000),
                   h2load("--h1 -c 8", "http", "/file.bin")});
    out.push_back({"a file of 1 MiB, HTTPS, 8 connections",
                   {http_server(secured), nginx("nginx", secured, "ssl", "")},
                   1.0,
                   scaled(1'000),
                   h2load("--h1 -c 8", "https", "/file.bin")});
    return out;
  }

  void measure(const row& what) const {
    std::vector<std::unique_ptr<server_process>> servers;
    std::vector<std::vector<double>> cost(what.servers.size());
    for (const auto& one : what.servers) {
      servers.push_back(std::make_unique<server_process>(one.command, cpus_.front(), 5000,
                                                         start_options{{one.service}, {}}));
      wait_for(servers.back()->listening());
      what.load(servers.back()->listening(), std::max<std::uint64_t>(what.count / 10, 64));
    }
    for (unsigned round = 0; round < how_.rounds; ++round)
      for (std::size_t turn = 0; turn < servers.size(); ++turn) {
        const auto i = (turn + round) % servers.size();
        const auto before = servers[i]->usage().cpu_ns;
        what.load(servers[i]->listening(), what.count);
        const auto used = servers[i]->usage().cpu_ns - before;
        cost[i].push_back(static_cast<double>(used) / 1000 / static_cast<double>(what.count));
      }
    fmt::print("{}: CPU us for each\n", what.title);
    std::size_t best = 1;
    for (std::size_t i = 0; i < servers.size(); ++i) {
      const auto s = summarize(cost[i]);
      if (i > 1 && s.median < summarize(cost[best]).median) best = i;
      fmt::print("  {:<22} {:>10.2f} +-{:.0f}%\n", what.servers[i].name, s.median,
                 100 * s.relative_spread());
    }
    const auto r = ratio(cost[0], cost[best]);
    fmt::print("  weir / {}: {:.3f} ({:.3f} to {:.3f}), wanted at most {:.2f}: {}\n\n",
               what.servers[best].name, r.median, r.median_low, r.median_high, what.wanted,
               words_for(judge(r, true, what.wanted)));
  }

  static double dirty_bytes(pid_t pid) {
    std::ifstream from(fmt::format("/proc/{}/smaps_rollup", pid));
    std::string line;
    while (std::getline(from, line))
      if (line.starts_with("Private_Dirty:")) return std::atof(line.c_str() + 14) * 1024;
    throw std::runtime_error("no smaps_rollup");
  }
  /// What 1000 further idle sessions take, when there are 1000. A session is idle once it gave its
  /// record buffers back: weir's do so within a second.
  void measure_memory() const {
    constexpr auto until_idle = std::chrono::milliseconds(1500);
    fmt::print("memory of an idle TLS session, bytes\n");
    double bare = 0;
    for (const auto& one : {raw("tls-epoll", true), weir_tls()}) {
      server_process server(one.command, cpus_.front(), 5000, start_options{{one.service}, {}});
      constexpr unsigned step = 1000;
      const idle_tls first(server.listening(), step);
      std::this_thread::sleep_for(until_idle);
      const auto before = dirty_bytes(server.pid());
      const idle_tls second(server.listening(), step);
      std::this_thread::sleep_for(until_idle);
      const auto each = (dirty_bytes(server.pid()) - before) / step;
      fmt::print("  {:<22} {:>10.0f}\n", one.name == "weir" ? "weir" : "bare SSL object", each);
      if (one.name == "weir")
        fmt::print("  weir - bare: {:.0f}, wanted at most 1536: {}\n\n", each - bare,
                   each - bare <= 1536 ? "met" : "not met");
      bare = each;
    }
  }

  settings how_;
  std::vector<int> cpus_;
  folder in_;
};

int serve(int argc, char** argv) {
  const std::string kind = argv[1];
  if (kind == "weir-tls") return serve_weir_tls(argc - 1, argv + 1);
  const raw_tls_settings how{*parse_endpoint("127.0.0.1:0"), argc > 2 ? argv[2] : "",
                             argc > 3 && std::string(argv[3]) == "release"};
  if (kind == "tls-epoll") serve_tls_epoll(how);
  serve_tls_uring(how);
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using namespace weir::bench;
  try {
    const std::string first = argc > 1 ? argv[1] : "";
    if (first == "weir-tls" || first == "tls-epoll" || first == "tls-uring")
      return serve(argc, argv);
    settings how;
    CLI::App app("TLS and HTTP beside OpenSSL in a raw loop and nginx: CPU for each request.");
    app.add_option("--rounds", how.rounds)->capture_default_str()->check(CLI::Range(1, 1000));
    app.add_option("--scale", how.scale, "times as many requests a round")->capture_default_str();
    app.add_option("--only", how.only, "rows whose title has this");
    app.add_option("--nginx", how.nginx)->capture_default_str()->check(CLI::ExistingFile);
    app.add_option("--h2load", how.h2load)->capture_default_str()->check(CLI::ExistingFile);
    app.add_option("--key", how.keys, "words for weir's servers: --key=--backend --key=asio");
    CLI11_PARSE(app, argc, argv);
    how.bin_dir = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    return bench(how).run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "weir-bench-web: {}\n", error.what());
    return 1;
  }
}
