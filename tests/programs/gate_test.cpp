// weir-gate with real peers: servers in the test's own network namespace, commands in the guest's.
// Hosts elsewhere are addresses that the test gives to its loopback device.
#include <doctest/doctest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "programs/harness.hpp"

using namespace programs;

namespace {

constexpr const char* host_v4 = "192.0.2.1";
constexpr const char* host_v6 = "2001:db8::1";

void ip(std::vector<std::string> words) {
  words.insert(words.begin(), {"/usr/bin/env", "ip"});
  const auto done = run(std::move(words));
  REQUIRE_MESSAGE(done.code == 0, done.err);
}

/// A network of the test's own, with hosts in it, and one that is not reached.
bool world() {
  if (!own_network()) return false;
  ip({"address", "add", std::string(host_v4) + "/32", "dev", "lo"});
  ip({"address", "add", std::string(host_v6) + "/128", "dev", "lo"});
  ip({"route", "add", "unreachable", "198.51.100.0/24"});
  // A gate that cannot be used here says why: then it is the machine that forbids it.
  const auto tried = run({WEIR_GATE, "run", "--", "true"});
  if (tried.code == 0) return true;
  std::printf("SKIPPED: %s\n", tried.err.c_str());
  return false;
}

std::vector<std::string> gate(std::vector<std::string> options, std::vector<std::string> command) {
  std::vector<std::string> out = {WEIR_GATE, "run"};
  out.insert(out.end(), options.begin(), options.end());
  out.emplace_back("--");
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

/// A command as a person calls it.
std::vector<std::string> by_name(std::vector<std::string> words) {
  words.insert(words.begin(), "/usr/bin/env");
  return words;
}

/// What every script of a guest's begins with.
constexpr const char* prelude = R"(
import errno, os, select, signal, socket, struct, sys, threading, time
def tcp(to, port):
    # With a timeout Python polls and asks SO_ERROR; Linux may have no error there and no connection
    # yet, when ICMP came while connect() was in the kernel still.
    s = socket.create_connection((to, port))
    s.settimeout(60)
    return s
def udp(to, port):
    s = socket.socket(socket.AF_INET6 if ':' in to else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(60)
    s.connect((to, port))
    return s
def bytes_of(n, seed=1):
    return bytes((i * 167 + seed + (i >> 8)) & 255 for i in range(min(n, 65536))) * (n // 65536 + 1)
def read_all(s):
    out = bytearray()
    while True:
        got = s.recv(65536)
        if not got: return bytes(out)
        out += got
def why(f):
    try: f()
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
    return 'ok'
)";

std::vector<std::string> python(const std::string& script,
                                std::vector<std::string> arguments = {}) {
  std::vector<std::string> out = {"/usr/bin/env", "python3", "-c", prelude + script};
  out.insert(out.end(), arguments.begin(), arguments.end());
  return out;
}

finished in_guest(const std::string& script, std::vector<std::string> arguments = {},
                  std::vector<std::string> options = {}) {
  return run(gate(std::move(options), python(script, std::move(arguments))));
}

/// Echo servers at `host`, TCP and UDP.
struct echo_server {
  explicit echo_server(const std::string& host)
      : tcp({services(), "--backend", kernel_backend, "--echo", host + ":0"}),
        udp({"/usr/bin/env", "python3", "-c", R"(
import socket, sys
host = sys.argv[1].strip('[]')
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((host, 0))
print('listening udp %s:%d' % (sys.argv[1], s.getsockname()[1]), flush=True)
while True:
    got, peer = s.recvfrom(70000)
    s.sendto(got, peer)
)",
             host}) {
    tcp_port = std::to_string(place_of(tcp.wait_line("listening echo ")).port);
    udp_port = std::to_string(place_of(udp.wait_line("listening ")).port);
  }
  process tcp, udp;
  std::string tcp_port, udp_port;
};

std::string file_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("gate_ends_with_the_status_of_its_command") {
  if (!world()) return;
  CHECK(run(gate({}, {"sh", "-c", "exit 7"})).code == 7);
  CHECK(run(gate({}, {"sh", "-c", "kill -9 $$"})).code == 128 + 9);
  const auto none = run(gate({}, {"/no/such/program"}));
  CHECK(none.code == 127);
  CHECK(none.err.find("/no/such/program") != std::string::npos);
  CHECK(run(gate({}, {"/etc/passwd"})).code == 126);
}

TEST_CASE("gate_says_what_is_wrong_with_its_command_line") {
  struct row {
    std::vector<std::string> words;
    const char* said;
  };
  for (const auto& [words, said] :
       {row{{}, "must be run or attach"}, row{{"walk"}, "'walk': must be run or attach"},
        row{{"run"}, "which command?"},
        row{{"run", "--deny", "10.0.0.0/99", "--", "true"}, "deny = '10.0.0.0/99'"},
        row{{"run", "--deny", "10.0.0.0/8:0", "--", "true"}, "must be a network"},
        row{{"run", "-p", "80", "--", "true"}, "must be PORT:PORT"},
        row{{"run", "--backend", "stack", "--", "true"}, "kernel sockets"},
        row{{"run", "--max-flows", "0", "--", "true"}, "from 1 to"},
        row{{"run", "--network.guest.address", "10.7.0.2/24", "--network.guest.host_address",
             "10.7.0.1/24", "--", "true"},
            "[network.guest]: weir-gate's own network"},
        row{{"run", "--tap", "--stack.link", "ip", "--", "true"}, "--tap and --dhcp need Ethernet"},
        row{{"attach"}, "one of --pid N, --netns"},
        row{{"attach", "--pid", "1", "--socket", "/tmp/x"}, "one of --pid N, --netns"},
        row{{"attach", "--socket", ""}, "path of at most 107 bytes"},
        row{{"attach", "--fd", "99"}, "descriptor that is open"},
        row{{"attach", "--pid", "0"}, "process's number"},
        row{{"attach", "--netns", "/no/such/file"}, "/no/such/file"}}) {
    std::vector<std::string> command = {WEIR_GATE};
    command.insert(command.end(), words.begin(), words.end());
    const auto done = run(command);
    CAPTURE(said);
    CAPTURE(done.err);
    CHECK(done.code == 2);
    CHECK(done.err.find(said) != std::string::npos);
  }
  CHECK(run({WEIR_GATE, "--help"}).code == 0);
  const auto help = run({WEIR_GATE, "run", "--help"});
  CHECK(help.code == 0);
  CHECK(help.out.find("--publish") != std::string::npos);
}

TEST_CASE("gate_carries_streams_of_every_size_and_keeps_half_closes") {
  if (!world()) return;
  for (const auto* host : {host_v4, host_v6}) {
    CAPTURE(host);
    echo_server server(host == host_v6 ? "[" + std::string(host) + "]" : host);
    const auto done = in_guest(R"(
for n in (0, 1, 1460, 1461, 65536, 100000, 5000000):
    s = tcp(sys.argv[1], int(sys.argv[2]))
    sent = bytes_of(n)[:n]
    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(s)))
    reader.start()
    s.sendall(sent)
    s.shutdown(socket.SHUT_WR)
    reader.join()
    assert got[0] == sent, (n, len(got[0]))
print('same')
)",
                               {host, server.tcp_port});
    CHECK(done.out == "same\n");
    CHECK(done.code == 0);
    CAPTURE(done.err);
  }
}

TEST_CASE("gate_tells_its_guest_what_becomes_of_a_connection") {
  if (!world()) return;
  echo_server server(host_v4);
  const auto log = "/tmp/weir-gate-log-" + std::to_string(::getpid());
  const auto done = in_guest(
      R"(
host, port = sys.argv[1], int(sys.argv[2])
print(why(lambda: tcp(host, port)), why(lambda: tcp(host, 9)), why(lambda: tcp('198.51.100.7', 9)),
      why(lambda: tcp('203.0.113.1', 9)), why(lambda: tcp('192.0.2.77', port)),
      why(lambda: tcp('2001:db8:7::1', 9)), why(lambda: tcp('10.0.2.2', port)))
)",
      {host_v4, server.tcp_port},
      {"--deny", "192.0.2.64/26", "--deny", "[2001:db8:7::]/48:1-10", "--log", log});
  CHECK(done.out == "ok ECONNREFUSED EHOSTUNREACH ENETUNREACH EHOSTUNREACH EACCES ECONNREFUSED\n");
  const auto lines = file_of(log);
  ::unlink(log.c_str());
  CAPTURE(lines);
  CHECK(lines.find("-> 192.0.2.1:9 refused out 0 in 0") != std::string::npos);
  CHECK(lines.find("-> 198.51.100.7:9 unreachable") != std::string::npos);
  CHECK(lines.find(" denied by 192.0.2.64/26 ") != std::string::npos);
  CHECK(lines.find("-> [2001:db8:7::1]:9 denied by [2001:db8:7::]/48:1-10 ") != std::string::npos);
  CHECK(lines.find("-> 10.0.2.2:" + server.tcp_port + " denied out") != std::string::npos);
}

TEST_CASE("gate_allows_exceptions_from_what_it_denies") {
  if (!world()) return;
  echo_server server(host_v4);
  const auto done = in_guest(
      "print(why(lambda: tcp(sys.argv[1], int(sys.argv[2]))), "
      "why(lambda: tcp(sys.argv[1], 9)))",
      {host_v4, server.tcp_port}, {"--deny", "*", "--allow", "192.0.2.1:" + server.tcp_port});
  CHECK(done.out == "ok EHOSTUNREACH\n");
}

TEST_CASE("gate_keeps_its_guest_from_the_hosts_loopback") {
  if (!world()) return;
  echo_server four("127.0.0.1"), six("[::1]");
  const std::string tries = R"(
four, six = int(sys.argv[1]), int(sys.argv[2])
for to in ('127.0.0.1', '127.9.9.9', '0.0.0.0', '10.0.2.2', '10.0.2.3', '::ffff:127.0.0.1', '::ffff:0.0.0.0'):
    print(why(lambda: tcp(to, four)), end=' ')
for to in ('::1', '::', 'fd77:6569:7200::2', 'fd77:6569:7200::3', '::127.0.0.1'):
    print(why(lambda: tcp(to, six)), end=' ')
# Forged packets, past all that the guest's kernel would say to such addresses.
link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
def syn(to, port):
    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 0, 0, 64, 6, 0, socket.inet_aton('10.0.2.100'),
                     socket.inet_aton(to))
    link.sendto(ip + struct.pack('!HHIIBBHHH', 4000, port, 1, 0, 0x50, 2, 65535, 0, 0),
                ('weir0', 0x0800))
for to in ('127.0.0.1', '0.0.0.0', '255.255.255.255', '224.0.0.1'): syn(to, four)
print('sent')
)";
  auto done = in_guest(tries, {four.tcp_port, six.tcp_port}, {"--log", "-"});
  CAPTURE(done.err);
  CHECK(done.out.find("ok") == std::string::npos);
  CHECK(done.out.find("sent") != std::string::npos);
  CHECK(done.err.find("-> 127.") == std::string::npos);  // nothing of the kind came to be a flow
  done = in_guest(
      "print(why(lambda: tcp('10.0.2.2', int(sys.argv[1]))), "
      "why(lambda: tcp('fd77:6569:7200::2', int(sys.argv[2]))))",
      {four.tcp_port, six.tcp_port}, {"--host-loopback"});
  CHECK(done.out == "ok ok\n");
}

TEST_CASE("gate_carries_datagrams_of_every_size") {
  if (!world()) return;
  for (const auto* host : {host_v4, host_v6}) {
    CAPTURE(host);
    echo_server server(host == host_v6 ? "[" + std::string(host) + "]" : host);
    const auto done = in_guest(R"(
s = udp(sys.argv[1], int(sys.argv[2]))
for n in (0, 1, 512, 1452, 1453, 1472, 1473, 9000, 60000, 65507):
    s.send(bytes_of(n)[:n])
    assert s.recv(70000) == bytes_of(n)[:n], n
print('same')
c = udp(sys.argv[1], 9)
c.send(b'x')
print(why(lambda: c.recv(9)))
)",
                               {host, server.udp_port});
    CAPTURE(done.err);
    CHECK(done.out == "same\nECONNREFUSED\n");
  }
}

TEST_CASE("gate_denies_datagrams_as_it_denies_connections") {
  if (!world()) return;
  echo_server server(host_v4);
  const auto done = in_guest(R"(
s = udp(sys.argv[1], int(sys.argv[2]))
s.setsockopt(socket.SOL_IP, 11, 1)  # IP_RECVERR: soft errors too
s.send(b'x')
print(why(lambda: s.recv(9)))
)",
                             {host_v4, server.udp_port}, {"--deny", "192.0.2.0/24"});
  CHECK(done.out == "EHOSTUNREACH\n");
}

TEST_CASE("gate_ends_an_idle_flow_and_begins_another") {
  if (!world()) return;
  echo_server server(host_v4);
  const auto done = in_guest(R"(
s = udp(sys.argv[1], int(sys.argv[2]))
for i in range(2):
    s.send(b'hello')
    assert s.recv(9) == b'hello'
    while b'idle' not in open(sys.argv[3], 'rb').read() and i == 0: time.sleep(0.05)
print('again')
)",
                             {host_v4, server.udp_port, "/tmp/weir-gate-idle"},
                             {"--udp-idle", "1", "--log", "/tmp/weir-gate-idle"});
  ::unlink("/tmp/weir-gate-idle");
  CHECK(done.out == "again\n");
}

TEST_CASE("gate_answers_names_by_the_hosts_resolver_wherever_that_is") {
  if (!world()) return;
  process names(
      by_name({"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
               "--port=5353", "--listen-address=127.0.0.1", "--bind-interfaces",
               "--address=/example.test/192.0.2.1", "--user=root", "--pid-file="}));
  (void)names.wait_error_line("dnsmasq: started");
  const auto done = in_guest("print(socket.gethostbyname('www.example.test'))", {},
                             {"--resolve.servers", "127.0.0.1:5353"});
  CAPTURE(done.err);
  CHECK(done.out == "192.0.2.1\n");
}

namespace {

/// Answers for names under .test, on the host's loopback.
struct name_server {
  name_server()
      : dnsmasq(
            by_name({"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                     "--port=5353", "--listen-address=127.0.0.1", "--bind-interfaces",
                     "--address=/allowed.test/192.0.2.1", "--address=/other.test/192.0.2.2",
                     "--address=/sub.test/192.0.2.3", "--user=root", "--pid-file="})) {
    (void)dnsmasq.wait_error_line("dnsmasq: started");
    ip({"address", "add", "192.0.2.2/32", "dev", "lo"});
    ip({"address", "add", "192.0.2.3/32", "dev", "lo"});
  }
  process dnsmasq;
};

bool has_no_names(const finished& done) {
  if (done.err.find("must be a network or a name") == std::string::npos) return false;
  std::printf("SKIPPED: this build has no names\n");
  return true;
}

}  // namespace

TEST_CASE("gate_allows_by_name_what_its_guest_was_answered_for_it") {
  if (!world()) return;
  echo_server server(host_v4);
  const name_server names;
  const auto done = in_guest(
      R"(
port = int(sys.argv[1])
def by_tcp(name):
    question = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\0\0\x01\0\x01'
    message = b'\x12\x34\x01\0\0\x01\0\0\0\0\0\0' + question
    s = tcp('10.0.2.3', 53)
    s.send(struct.pack('>H', len(message)) + message)
    size = struct.unpack('>H', s.recv(2, socket.MSG_WAITALL))[0]
    return '.'.join(str(b) for b in s.recv(size, socket.MSG_WAITALL)[-4:])
print(why(lambda: tcp('192.0.2.1', port)))
print(socket.gethostbyname('allowed.test'), why(lambda: tcp('192.0.2.1', port)))
print(socket.gethostbyname('other.test'), why(lambda: tcp('192.0.2.2', 7)))
print(socket.gethostbyname('sub.test'), why(lambda: tcp('192.0.2.3', 7)))
print(by_tcp('www.sub.test'), why(lambda: tcp('192.0.2.3', 7)), why(lambda: tcp('192.0.2.3', 8)))
)",
      {server.tcp_port},
      {"--resolve.servers", "127.0.0.1:5353", "--deny", "*", "--allow", "10.0.2.3:53", "--allow",
       "allowed.test", "--allow", "*.sub.test:7"});
  if (has_no_names(done)) return;
  CAPTURE(done.err);
  CHECK(done.out ==
        "EHOSTUNREACH\n192.0.2.1 ok\n192.0.2.2 EHOSTUNREACH\n192.0.2.3 EHOSTUNREACH\n"
        "192.0.2.3 ECONNREFUSED EHOSTUNREACH\n");
}

TEST_CASE("gate_denies_by_name_from_the_answer_on") {
  if (!world()) return;
  echo_server server(host_v4);
  const name_server names;
  const auto log = "/tmp/weir-gate-log-" + std::to_string(::getpid());
  const auto done =
      in_guest(R"(
port = int(sys.argv[1])
print(why(lambda: tcp('192.0.2.1', port)))
socket.gethostbyname('www.allowed.test')
print(why(lambda: tcp('192.0.2.1', port)), why(lambda: tcp('192.0.2.2', port)))
)",
               {server.tcp_port},
               {"--resolve.servers", "127.0.0.1:5353", "--deny", "*.allowed.test", "--log", log});
  if (has_no_names(done)) return;
  const auto lines = file_of(log);
  ::unlink(log.c_str());
  CAPTURE(done.err);
  CHECK(done.out == "ok\nEHOSTUNREACH ECONNREFUSED\n");
  CHECK(lines.find(" denied by *.allowed.test ") != std::string::npos);
}

TEST_CASE("gate_tells_its_guest_what_routers_say_of_datagrams") {
  if (!world()) return;
  // A router beyond a link: it knows no way to some hosts, and others are behind a narrow one.
  process router(by_name({"unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"}));
  (void)router.wait_line("ready");
  const auto pid = std::to_string(router.pid());
  ip({"link", "add", "gw0", "type", "veth", "peer", "name", "gw1", "netns", pid});
  ip({"address", "add", "198.18.7.1/30", "dev", "gw0"});
  ip({"link", "set", "gw0", "up"});
  ip({"route", "add", "203.0.113.0/24", "via", "198.18.7.2"});
  const auto there = run(by_name({"nsenter", "-t", pid, "-n", "sh", "-ec", R"(
ip address add 198.18.7.2/30 dev gw1
ip link set gw1 up
ip route add unreachable 203.0.113.0/25
ip link add n0 mtu 1000 type veth peer name n1
ip address add 203.0.113.129/25 dev n0
ip link set n0 up
ip link set n1 up
echo 1 > /proc/sys/net/ipv4/ip_forward
)"}));
  REQUIRE_MESSAGE(there.code == 0, there.err);
  const auto done = in_guest(R"(
lost = udp('203.0.113.1', 9)
lost.setsockopt(socket.SOL_IP, 11, 1)  # IP_RECVERR: soft errors too
lost.send(b'x')
print(why(lambda: lost.recv(9)))
long = udp('203.0.113.200', 9)
long.setsockopt(socket.SOL_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
def until_too_long():
    while True:
        long.send(bytes(1400))
        time.sleep(0.05)
print(why(until_too_long), long.getsockopt(socket.SOL_IP, 14))
)");
  CAPTURE(done.err);
  CHECK(done.out == "EHOSTUNREACH\nEMSGSIZE 1000\n");
}

TEST_CASE("gate_fetches_a_page_with_curl") {
  if (!world()) return;
  process server(
      {http_server(), "--backend", kernel_backend, "--http", std::string(host_v4) + ":8080"});
  (void)server.wait_line("listening http ");
  const auto done = run(gate({}, {"curl", "-sS", "http://192.0.2.1:8080/plaintext"}));
  CHECK(done.out == "Hello, World!");
  CHECK(done.code == 0);
  CHECK(run(gate({}, {"curl", "-sS", "http://192.0.2.1:8081/"})).code == 7);  // refused
}

TEST_CASE("gate_on_ethernet_carries_what_it_carries_on_packets") {
  if (!world()) return;
  for (const auto* host : {host_v4, host_v6}) {
    CAPTURE(host);
    echo_server server(host == host_v6 ? "[" + std::string(host) + "]" : host);
    const auto done = in_guest(R"(
import subprocess
s = tcp(sys.argv[1], int(sys.argv[2]))
sent = bytes_of(3000000)[:3000000]
got = []
reader = threading.Thread(target=lambda: got.append(read_all(s)))
reader.start()
s.sendall(sent)
s.shutdown(socket.SHUT_WR)
reader.join()
u = udp(sys.argv[1], int(sys.argv[3]))
u.send(b'datagram')
device = subprocess.run(['ip', 'link', 'show', 'weir0'], capture_output=True, text=True).stdout
print(got[0] == sent, u.recv(100), 'link/ether' in device, why(lambda: tcp(sys.argv[1], 9)))
)",
                               {host, server.tcp_port, server.udp_port}, {"--tap"});
    CAPTURE(done.err);
    CHECK(done.out == "True b'datagram' True ECONNREFUSED\n");
  }
}

TEST_CASE("gate_tells_a_guest_that_asks_by_dhcp_and_router_solicitation_its_network") {
  if (!world()) return;
  if (run(by_name({"busybox", "udhcpc", "--help"})).code == 127) {
    std::printf("SKIPPED: busybox is not installed\n");
    return;
  }
  process pages(
      {http_server(), "--backend", kernel_backend, "--http", std::string(host_v4) + ":8080"});
  (void)pages.wait_line("listening http ");
  echo_server server("[" + std::string(host_v6) + "]");
  // As a distribution's script does, with the words that udhcpc hands it.
  const auto done = in_guest(R"(
import subprocess, tempfile
with tempfile.NamedTemporaryFile('w', delete=False) as f:
    f.write('#!/bin/sh\n[ "$1" = bound ] || exit 0\n'
            'ip address add $ip/$mask dev $interface; ip link set $interface mtu $mtu\n'
            'ip route add default via $router; echo $ip $mask $router $dns $mtu $lease\n')
os.chmod(f.name, 0o700)
before = subprocess.run(['ip', '-4', 'address', 'show', 'dev', 'weir0'], capture_output=True)
got = subprocess.run(['busybox', 'udhcpc', '-i', 'weir0', '-n', '-q', '-f', '-O', 'mtu',
                      '-s', f.name], capture_output=True, text=True)
os.unlink(f.name)
print(before.stdout, got.stdout.strip())
page = subprocess.run(['curl', '-sS', 'http://192.0.2.1:8080/plaintext'], capture_output=True)
print(page.stdout)
# Linux looks for a second whether another has the address that it made.
while True:
    own = subprocess.run(['ip', '-6', '-o', 'address', 'show', 'dev', 'weir0', 'scope', 'global'],
                         capture_output=True, text=True).stdout
    if 'fd77' in own and 'tentative' not in own: break
    time.sleep(0.05)
s = tcp(sys.argv[1], int(sys.argv[2]))
s.sendall(b'by IPv6'); print(s.recv(99), s.getsockname()[0].startswith('fd77:6569:7200:0:'))
)",
                             {host_v6, server.tcp_port}, {"--dhcp", "--stack.mtu", "1400"});
  CAPTURE(done.err);
  CHECK(done.out ==
        "b'' 10.0.2.100 24 10.0.2.2 10.0.2.3 1400 3600\n"
        "b'Hello, World!'\n"
        "b'by IPv6' True\n");
  CHECK(done.code == 0);
}

TEST_CASE("gate_tells_a_guest_that_asks_by_dhcpv6_its_address_and_name_server") {
  if (!world()) return;
  echo_server server("[" + std::string(host_v6) + "]");
  // A client of the messages themselves, on the kernel's sockets; busybox and Debian have none that
  // is always there.
  const auto done = in_guest(R"(
import subprocess
def ip(*words): return subprocess.run(('ip',) + words, capture_output=True, text=True).stdout
index = socket.if_nametoindex('weir0')
# Router advertisements with M and O; the client decides.
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
while 'fe80' not in ip('-6', '-o', 'address', 'show', 'dev', 'weir0', '-tentative'): time.sleep(0.02)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
raw.sendto(bytes([133] + [0] * 7), ('ff02::2', 0, 0, index))
while True:
    got = raw.recv(2000)
    if got[0] == 134: break
print('flags', hex(got[5]))
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(60)
s.bind(('::', 546))
def option(kind, value): return struct.pack('!HH', kind, len(value)) + value
def options(b):
    out = {}
    while b:
        kind, size = struct.unpack('!HH', b[:4])
        out[kind], b = b[4:4 + size], b[4 + size:]
    return out
own = option(1, bytes.fromhex('00030001') + b'client')
association = option(3, struct.pack('!III', 9, 0, 0))
def ask(kind, *parts):
    s.sendto(bytes([kind, 1, 2, 3]) + own + b''.join(parts), ('ff02::1:2', 547, 0, index))
    answer, server = s.recvfrom(2000)
    assert answer[1:4] == bytes([1, 2, 3]) and server[0].startswith('fe80')
    return answer[0], options(answer[4:])
kind, offered = ask(1, association)
given, got = ask(3, option(2, offered[2]), option(3, offered[3]))
address = socket.inet_ntop(socket.AF_INET6, options(got[3][12:])[5][:16])
print(kind, given, address, socket.inet_ntop(socket.AF_INET6, got[23]))
print(ask(11)[0], ask(1, association, option(14, b''))[0])
ip('address', 'add', address + '/128', 'dev', 'weir0', 'nodad')
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), source_address=(address, 0))
s.sendall(b'by IPv6'); print(s.recv(99))
)",
                             {host_v6, server.tcp_port}, {"--dhcp"});
  CAPTURE(done.err);
  CHECK(done.out == "flags 0xc0\n2 7 fd77:6569:7200::100 fd77:6569:7200::3\n7 7\nb'by IPv6'\n");
  CHECK(done.code == 0);
}

TEST_CASE("gate_serves_debians_client_of_dhcpv6") {
  if (!world()) return;
  if (run(by_name({"dhclient", "--version"})).code == 127) {
    std::printf("SKIPPED: dhclient (isc-dhcp-client) is not installed\n");
    return;
  }
  echo_server server("[" + std::string(host_v6) + "]");
  const auto done = in_guest(R"(
import subprocess, tempfile
with tempfile.TemporaryDirectory() as here:
    script = here + '/script'
    with open(script, 'w') as f:
        f.write('#!/bin/sh\ncase $reason in BOUND6) ip -6 address add "$new_ip6_address/128" dev "$interface" nodad\n'
                'echo "$new_ip6_address $new_dhcp6_name_servers" > %s/new; mv %s/new %s/told;; esac\n'
                % (here, here, here))
    os.chmod(script, 0o700)
    while True:
        own = subprocess.run(['ip', '-6', '-o', 'address', 'show', 'dev', 'weir0', 'scope', 'link', '-tentative'],
                             capture_output=True, text=True).stdout
        if 'fe80' in own: break
        time.sleep(0.02)
    client = subprocess.Popen(['dhclient', '-6', '-1', '-d', '-sf', script, '-lf', here + '/leases',
                               '--no-pid', 'weir0'], stderr=subprocess.DEVNULL)
    while not os.path.exists(here + '/told') and client.poll() is None: time.sleep(0.02)
    told = open(here + '/told').read().strip()
    print(told)
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), source_address=(told.split()[0], 0))
    s.sendall(b'by IPv6'); print(s.recv(99))
    client.terminate()
    client.wait()
)",
                             {host_v6, server.tcp_port}, {"--dhcp"});
  CAPTURE(done.err);
  CHECK(done.out == "fd77:6569:7200::100 fd77:6569:7200::3\nb'by IPv6'\n");
}

TEST_CASE("gate_on_ethernet_serves_its_guest_beside_malformed_and_forged_frames") {
  if (!world()) return;
  echo_server server(host_v4), own("127.0.0.1");
  const auto done = in_guest(R"(
import random, subprocess
host, t, own = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for words in ('address add 10.0.2.100/24 dev weir0', 'route add default via 10.0.2.2'):
    subprocess.run(['ip'] + words.split(), check=True)
s = tcp(host, t)
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
link.bind(('weir0', 0))
gate, us, all = bytes.fromhex('02770a000202'), link.getsockname()[4], b'\xff' * 6
dice = random.Random(16)
def checksum(b):
    total = sum(struct.unpack('!%dH' % (len(b) // 2), b[:len(b) // 2 * 2]))
    if len(b) % 2: total += b[-1] << 8
    while total >> 16: total = (total >> 16) + (total & 65535)
    return struct.pack('!H', 65535 - total)
def v4(source, to, protocol, body):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    return head[:10] + checksum(head) + head[12:] + body
def v6(hops, body):
    ends = socket.inet_pton(socket.AF_INET6, 'fd77:6569:7200::9') + socket.inet_pton(
        socket.AF_INET6, 'fd77:6569:7200::2')
    sum = checksum(ends + struct.pack('!II', len(body), 58) + body)
    return struct.pack('!IHBB', 6 << 28, len(body), 58, hops) + ends + body[:2] + sum + body[4:]
def arp(op, mac, ip, target): return struct.pack('!HHBBH6s4s6s4s', 1, 0x800, 6, 4, op, mac,
                                                 socket.inet_aton(ip), bytes(6), socket.inet_aton(target))
def send(to, type, body, source=us):
    try: link.send(to + source + struct.pack('!H', type) + body)
    except OSError as e: assert e.errno in (errno.ENOBUFS, errno.EINVAL)
for i in range(1500):
    noise = dice.randbytes(dice.randrange(300))
    forged = b'\x02\0\0' + struct.pack('!I', i)[1:]
    send(all, 0x806, arp(1, forged, '10.0.2.%d' % (101 + i % 150), '10.0.2.2'), forged)  # neighbours
    send(all, 0x806, arp(1 + i % 2, forged, '10.0.2.2', '10.0.2.2'), forged)  # the gateway's address
    send(gate, 0x806, arp(2, us, '10.0.2.%d' % (101 + i % 150), '10.0.2.2')[:dice.randrange(28)])
    send(gate, 0x86dd, v6(254 + i % 2, bytes([133 + i % 5, 0, 0, 0]) + noise))
    send(all, 0x800, v4('0.0.0.0', '255.255.255.255', 17,
                        struct.pack('!HHHH', 68, 67, 8 + len(noise), 0) + noise))  # DHCP
    send(gate, dice.choice((0x800, 0x86dd, 0x8100, 0x88cc, 3)), noise)
    send(gate, 0x800, v4('10.0.2.100', '127.0.0.1', 6,
                         struct.pack('!HHIIBBHHH', i, own, i, 0, 0x50, 2, 65535, 0, 0)))
    if i % 100 == 0: s.send(b'%d' % i); assert s.recv(99) == b'%d' % i
later = tcp(host, t)
for x in (s, later): x.send(b'still'); assert x.recv(9) == b'still'
print('served')
)",
                             {host_v4, server.tcp_port, own.tcp_port},
                             {"--dhcp", "--log", "-", "--stop.linger_ms", "100"});
  CAPTURE(done.err);
  CHECK(done.out == "served\n");
  CHECK(done.err.find("-> 127.0.0.1:") == std::string::npos);
}

TEST_CASE("gate_under_slirp4netns_s_name_does_what_its_callers_ask") {
  if (!world()) return;
  echo_server server(host_v4), own("127.0.0.1");
  const auto done = run(python(R"(
import subprocess, tempfile
gate, host, port, own = sys.argv[1:5]
with tempfile.TemporaryDirectory() as here:
    slirp = here + '/slirp4netns'
    os.symlink(gate, slirp)
    print('--enable-seccomp' in subprocess.run([slirp, '--help'], capture_output=True, text=True).stdout)
    box = subprocess.Popen(['unshare', '-Urn', 'sh', '-c', 'echo ready; read go; exec "$@"', '-',
        'python3', '-c', '''
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b'hello')
print(s.recv(99), [n for i, n in socket.if_nameindex()])
try: socket.create_connection(('10.0.2.2', int(sys.argv[3])))
except OSError as e: print(e.strerror)
''', host, port, own], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    box.stdout.readline()
    ready, say_ready = os.pipe()
    wait, end = os.pipe()
    net = subprocess.Popen([slirp, '--disable-host-loopback', '--mtu=65520', '--enable-sandbox', '-6',
                            '-c', '-r', str(say_ready), '-e', str(wait), '--netns-type=path',
                            '/proc/%d/ns/net' % box.pid, 'tap0'],
                           pass_fds=(say_ready, wait), stdout=subprocess.DEVNULL)
    os.close(say_ready)
    os.close(wait)
    print(os.read(ready, 9))
    print(subprocess.run(['ps', '--no-headers', '--ppid', str(net.pid)], capture_output=True, text=True).stdout)
    print(box.communicate('go\n')[0].strip())
    os.close(end)  # as podman's conmon does when the container has gone
    print(net.wait())
    print(subprocess.run([slirp, '--cidr=10.1.0.0/24', '1', 't'], capture_output=True).returncode)
)",
                               {WEIR_GATE, host_v4, server.tcp_port, own.tcp_port}));
  CAPTURE(done.err);
  CHECK(done.out == "True\nb'1'\n\nb'hello' ['lo', 'tap0']\nConnection refused\n0\n2\n");
}

TEST_CASE("gate_publishes_ports_by_slirp4netns_s_api_socket") {
  if (!world()) return;
  const auto done = run(python(R"(
import json, subprocess, tempfile
gate = sys.argv[1]
with tempfile.TemporaryDirectory() as here:
    slirp, api = here + '/slirp4netns', here + '/api.sock'
    os.symlink(gate, slirp)
    # Its loopback is down, as in a namespace that podman makes.
    box = subprocess.Popen(['unshare', '-Urn', 'python3', '-c', '''
import socket, threading
print('ready', flush=True)
input()
l = socket.create_server(('0.0.0.0', 80))
def serve():
    while True:
        s, peer = l.accept()
        with s:
            asked = s.recv(99)
            while b'end' not in asked: asked += s.recv(99)
            s.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n' + asked.split()[1])
threading.Thread(target=serve, daemon=True).start()
# Podman's usual way: a process in the namespace connects to the guest's address.
with socket.create_connection(('10.0.2.100', 80), 5) as s: s.sendall(b'GET /own end'); print(s.recv(99))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('0.0.0.0', 53))
print('serving', flush=True)
while True:
    got, peer = u.recvfrom(99)
    u.sendto(b'answer to ' + got, peer)
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    box.stdout.readline()
    ready, say_ready = os.pipe()
    wait, end = os.pipe()
    net = subprocess.Popen([slirp, '--disable-host-loopback', '--api-socket', api, '-c',
                            '-r', str(say_ready), '-e', str(wait), str(box.pid), 'tap0'],
                           pass_fds=(say_ready, wait), stdout=subprocess.DEVNULL)
    os.close(say_ready)
    os.close(wait)
    os.read(ready, 9)
    box.stdin.write('go\n'); box.stdin.flush()
    print(box.stdout.readline().strip(), box.stdout.readline().strip())
    def ask(execute, ends=True, **arguments):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(api)
        s.sendall(json.dumps({'execute': execute, 'arguments': arguments}).encode())
        if ends: s.shutdown(socket.SHUT_WR)
        return json.loads(read_all(s))
    print(oct(os.stat(api).st_mode & 0o777))
    tcp_id = ask('add_hostfwd', proto='tcp', host_addr='0.0.0.0', host_port=8080,
                 guest_addr='10.0.2.100', guest_port=80)['return']['id']
    ask('add_hostfwd', False, proto='udp', host_addr='127.0.0.1', host_port=5353, guest_port=53)
    for host in '127.0.0.1', '192.0.2.1':
        print(subprocess.run(['curl', '-sS', '-H', 'X: end', 'http://%s:8080/page' % host],
                             capture_output=True, text=True).stdout)
    s = udp('127.0.0.1', 5353); s.send(b'question'); print(s.recv(99))
    print([e['host_port'] for e in ask('list_hostfwd')['return']['entries']])
    print('error' in ask('add_hostfwd', proto='tcp', host_port=8080, guest_port=80))
    for i in range(3):  # what was taken back is free when it is said
        assert ask('remove_hostfwd', id=tcp_id)['return'] == {}
        print(why(lambda: tcp('127.0.0.1', 8080)))
        tcp_id = ask('add_hostfwd', proto='tcp', host_port=8080, guest_port=80)['return']['id']
    s = socket.socket(socket.AF_UNIX); s.connect(api); s.sendall(b' ' * 4096)
    print(b'no object of JSON' in read_all(s))
    os.close(end)
    print(net.wait(), os.path.exists(api))
    box.kill()
)",
                               {WEIR_GATE}));
  CAPTURE(done.err);
  CHECK(done.out ==
        "b'HTTP/1.0 200 OK\\r\\n\\r\\n/own' serving\n0o600\n/page\n/page\n"
        "b'answer to question'\n[8080, 5353]\nTrue\n"
        "ECONNREFUSED\nECONNREFUSED\nECONNREFUSED\nTrue\n0 False\n");
}

TEST_CASE("gate_is_the_network_of_a_bubblewrap_sandbox") {
  if (!world()) return;
  const auto tried =
      run(by_name({"bwrap", "--unshare-user", "--unshare-net", "--ro-bind", "/", "/", "true"}));
  if (tried.code != 0) {
    std::printf("SKIPPED: no sandbox of bubblewrap here: %s\n", tried.err.c_str());
    return;
  }
  echo_server server(host_v4);
  // The sandbox waits until its network is there. With a user of its own in it, bubblewrap goes on
  // into a second user namespace, which does not own the network.
  const auto done = run(python(R"(
import json, subprocess
gate, host, port = sys.argv[1:4]
info, say_info = os.pipe()
wait, go = os.pipe()
inside = '''
import os, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b'hello')
print(s.recv(99), os.getuid())
try: socket.create_connection((sys.argv[1], 9))
except OSError as e: print(e.strerror)
'''
box = subprocess.Popen(
    ['bwrap', '--unshare-user', '--unshare-net', '--uid', '1000', '--ro-bind', '/', '/',
     '--dev', '/dev', '--info-fd', str(say_info), '--block-fd', str(wait),
     'python3', '-c', inside, host, port],
    pass_fds=(say_info, wait), stdout=subprocess.PIPE, text=True)
os.close(say_info)
os.close(wait)
pid = json.load(os.fdopen(info))['child-pid']
net = subprocess.Popen([gate, 'attach', '--pid', str(pid)], stdout=subprocess.PIPE, text=True)
print(net.stdout.readline().strip())
os.close(go)
print(box.communicate()[0].strip(), box.returncode)
net.terminate()
print(net.wait())
)",
                               {WEIR_GATE, host_v4, server.tcp_port}));
  CAPTURE(done.err);
  CHECK(done.out == "attached\nb'hello' 1000\nConnection refused 0\n0\n");
}

TEST_CASE("gate_is_the_network_of_an_ordinary_users_podman_container") {
  if (!world()) return;
  const auto done = run({WEIR_PODMAN, WEIR_GATE, host_v4});
  if (done.code == 77) {
    std::printf("%s", done.out.c_str());
    return;
  }
  CAPTURE(done.err);
  CHECK(done.code == 0);
  CHECK(done.out ==
        "the host's page\nby rootlesskit: the container's page\n"
        "by slirp4netns: the container's page\n");
}

namespace {

/// A virtual machine's network device: a TAP device of a network namespace of the calling thread's
/// own, whose frames go over a stream.
constexpr const char* machine = R"(
import ctypes, fcntl, subprocess, tempfile
gate, path, host, port, udp_port = sys.argv[1:6]
def attach(*options, **more):
    net = subprocess.Popen([gate, 'attach', '--stop.linger_ms', '100', *options],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    net.stdout.readline()
    return net
def device(flags):
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0: sys.exit('no namespace')
    tap = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'vm0', flags))
    for words in ('link set lo up', 'link set vm0 up'): subprocess.check_call(['ip', *words.split()])
    return tap
def plug(s):
    tap = device(0x1002)  # IFF_TAP, IFF_NO_PI
    def out():
        while True:
            frame = os.read(tap, 70000)
            s.sendall(struct.pack('!I', len(frame)) + frame)
    def into():
        frames = s.makefile('rb')
        while head := frames.read(4): os.write(tap, frames.read(*struct.unpack('!I', head)))
    for way in (out, into): threading.Thread(target=way, daemon=True).start()
def address():
    for words in ('address add 10.0.2.100/24 dev vm0', 'route add default via 10.0.2.2'):
        subprocess.check_call(['ip', *words.split()])
def talk():
    s = tcp(host, port)
    sent = bytes_of(300000)[:300000]
    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(s)))
    reader.start()
    s.sendall(sent)
    s.shutdown(socket.SHUT_WR)
    reader.join()
    u = udp(host, int(udp_port))
    u.send(b'datagram')
    print(got[0] == sent, u.recv(100), why(lambda: tcp(host, 9)))
mac = bytes.fromhex('020000000001')
def asks_who_has_the_gateway():
    return struct.pack('!I', 42) + b'\xff' * 6 + mac + struct.pack('!HHHBBH', 0x806, 1, 0x800, 6, 4, 1) + mac + bytes(
        [10, 0, 2, 100]) + bytes(6) + bytes([10, 0, 2, 2])
def frame_of(frames):
    return frames.read(*struct.unpack('!I', frames.read(4)))
)";

}  // namespace

TEST_CASE("gate_is_the_network_of_virtual_machines_that_connect_to_its_socket") {
  if (!world()) return;
  echo_server server(host_v4);
  const auto done = run(python(std::string(machine) + R"(
nowhere = subprocess.run([gate, 'attach', '--socket', '/no/such/folder/x'], capture_output=True, text=True)
print(nowhere.returncode, '/no/such/folder/x: No such file' in nowhere.stderr)
net = attach('--socket', path)
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    while True:
        try: s.connect(path); return s
        except (FileNotFoundError, ConnectionRefusedError): time.sleep(0.02)
# What can be no frame ends its connection, and the next one is served.
for bad in (bytes(4), struct.pack('!I', 13), struct.pack('!I', 1519), b'GET / HTTP/1.1\r\n\r\n'):
    s = connect(); s.sendall(bad); read_all(s)
s = connect(); s.sendall(struct.pack('!I', 60) + bytes(20)); s.shutdown(socket.SHUT_WR); read_all(s)
# One that reads nothing: some answers are dropped, and it is served when it reads again.
s = connect()
asked = 60000
for i in range(asked // 100): s.sendall(asks_who_has_the_gateway() * 100)
s.sendall(struct.pack('!I', 1518) + bytes(1518))  # the longest, and of no protocol
s.shutdown(socket.SHUT_WR)
answers = read_all(s).count(b'\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02')
print(1000 < answers < asked)
s = connect()
plug(s)
script = tempfile.NamedTemporaryFile('w', delete=False)
script.write('#!/bin/sh\n[ "$1" = bound ] && ip address add $ip/$mask dev vm0 && ip route add default via $router\n')
script.close()
os.chmod(script.name, 0o700)
if subprocess.call(['which', 'busybox'], stdout=subprocess.DEVNULL) == 0:
    subprocess.run(['busybox', 'udhcpc', '-i', 'vm0', '-n', '-q', '-f', '-s', script.name], stderr=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)
else:
    address()
os.unlink(script.name)
talk()
net.terminate()
said = net.stderr.read()
print(net.wait(), said.count('the machine is gone: a frame of'), said.count('ended within a frame'), os.path.exists(path))
)",
                               {WEIR_GATE, "/tmp/weir-gate-machine-" + std::to_string(::getpid()),
                                host_v4, server.tcp_port, server.udp_port}));
  CAPTURE(done.err);
  CHECK(done.out == "1 True\nTrue\nTrue b'datagram' ECONNREFUSED\n0 4 1 False\n");
}

TEST_CASE("gate_takes_a_stream_or_a_device_that_is_handed_in") {
  if (!world()) return;
  echo_server server(host_v4);
  const auto done = run(python(std::string(machine) + R"(
# Its machine's end is its own.
ours, theirs = socket.socketpair()
net = attach('--fd', str(theirs.fileno()), pass_fds=[theirs.fileno()])
theirs.close()
ours.sendall(asks_who_has_the_gateway())
frames = ours.makefile('rb')
while b'\x08\x06' != frame_of(frames)[12:14]: pass
ours.close()
frames.close()
print(net.wait())
# What it is not is said.
tcp_one = socket.create_server(('127.0.0.1', 0))
alone = socket.socket(socket.AF_UNIX)
r, w = os.pipe()
for fd in (r, tcp_one.fileno(), alone.fileno()):
    refused = subprocess.run([gate, 'attach', '--fd', str(fd)], pass_fds=[fd], capture_output=True, text=True)
    print(refused.returncode, refused.stderr.split(';')[0].removeprefix('weir-gate: '))
def with_a_device(flags, use):
    # A thread has its own namespace; programs that the others start stay in ours.
    made, go, taps = threading.Event(), threading.Event(), []
    def guest():
        taps.append(device(flags))
        made.set()
        go.wait()
        use()
    one = threading.Thread(target=guest)
    one.start()
    made.wait()
    net = attach('--fd', str(taps[0]), pass_fds=taps)
    go.set()
    one.join()
    os.close(taps[0])
    return net
for kind in (0x1, 0x2):  # IFF_TUN, IFF_TAP, with IFF_NO_PI and IFF_VNET_HDR
    net = with_a_device(0x5000 | kind, lambda: (address() if kind == 2 else subprocess.check_call(
        'ip address add 10.0.2.100/24 dev vm0; ip route add default dev vm0', shell=True), talk()))
    net.terminate()
    print(net.wait())
net = with_a_device(0x1002, lambda: None)
print(net.wait(), net.stderr.read().split(';')[0].removeprefix('weir-gate: '))
)",
                               {WEIR_GATE, "", host_v4, server.tcp_port, server.udp_port}));
  CAPTURE(done.err);
  CHECK(done.out ==
        "0\n"
        "2 --fd: it is neither\n"
        "2 --fd: it is a socket of another kind\n"
        "2 --fd: the socket is not connected\n"
        "True b'datagram' ECONNREFUSED\n0\n"
        "True b'datagram' ECONNREFUSED\n0\n"
        "2 --fd: the device lacks one of these flags\n");
}

TEST_CASE("gate_publishes_ports_of_its_guest") {
  if (!world()) return;
  process p(gate({"-p", "8081:80", "-p", "[::1]:8082:81", "-p", "8083:82/udp"}, python(R"(
def serve(l):
    while True:
        s, peer = l.accept()
        with s: s.sendall(b'from the guest: ' + read_all(s))
for family, at in (socket.AF_INET, ('0.0.0.0', 80)), (socket.AF_INET6, ('::', 81)):
    l = socket.create_server(at, family=family)
    threading.Thread(target=serve, args=(l,), daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('0.0.0.0', 82))
print('ready', flush=True)
while True:
    got, peer = u.recvfrom(2000)
    if got == b'end': break
    u.sendto(b'datagram: ' + got, peer)
)")));
  (void)p.wait_line("ready");
  for (const auto& [host, port] : {std::pair("127.0.0.1", 8081), std::pair("::1", 8082)}) {
    client c(host, static_cast<std::uint16_t>(port));
    c.send("hello");
    c.end_of_stream();
    CHECK(c.receive_all() == "from the guest: hello");
  }
  const auto asked = run(python(R"(
s = udp('127.0.0.1', 8083)
s.send(b'hello'); print(s.recv(99).decode())
s.send(b'end')
)"));
  CHECK(asked.out == "datagram: hello\n");
  CHECK(p.wait() == 0);
}

TEST_CASE("gate_carries_thousands_of_flows_at_once") {
  if (!world()) return;
  rlimit files{1 << 14, 1 << 14};
  ::setrlimit(RLIMIT_NOFILE, &files);
  echo_server server(host_v4);
  const auto done = in_guest(R"(
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8000, 8000))
host, t, u = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
streams = [tcp(host, t) for i in range(2000)]
flows = [udp(host, u) for i in range(1000)]
for i, s in enumerate(streams + flows): s.send(b'%d' % i)
for i, s in enumerate(streams): assert s.recv(99) == b'%d' % i
def came(s, what):  # a thousand at once may be more than the server's buffer holds: asked again
    s.settimeout(1)
    for attempt in range(20):
        try: return s.recv(99) == what
        except socket.timeout: s.send(what)
for i, s in enumerate(flows): assert came(s, b'%d' % (2000 + i))
print('all')
)",
                             {host_v4, server.tcp_port, server.udp_port});
  CAPTURE(done.err);
  CHECK(done.out == "all\n");
}

TEST_CASE("gate_serves_ten_thousand_flows_that_all_speak_at_once") {
  if (!world()) return;
  rlimit files{19'900, 19'900};
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) {
    std::printf("SKIPPED: fewer than 19,900 descriptors\n");
    return;
  }
  echo_server server(host_v4);
  // More than there are receive buffers, several times: whoever found none comes to his bytes.
  const auto done = in_guest(R"(
host, t = sys.argv[1], int(sys.argv[2])
streams = [tcp(host, t) for i in range(10000)]
for turn in range(3):
    for i, s in enumerate(streams): s.send(b'%05d' % i)
    for i, s in enumerate(streams): assert s.recv(99) == b'%05d' % i
print('all')
)",
                             {host_v4, server.tcp_port});
  CAPTURE(done.err);
  CHECK(done.out == "all\n");
}

TEST_CASE("gate_carries_one_connection_after_the_other") {
  if (!world()) return;
  // Else ports wait for TIME_WAIT's end, in the guest and here.
  const auto reuse = run(by_name({"sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse"}));
  REQUIRE_MESSAGE(reuse.code == 0, reuse.err);
  echo_server server(host_v4);
  const auto* full = std::getenv("WEIR_FULL");
  const std::string count = full != nullptr && *full == '1' ? "100000" : "3000";
  const auto done = in_guest(
      R"(
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
open('/proc/sys/net/ipv4/tcp_tw_reuse', 'w').write('1')
open('/proc/sys/net/ipv4/ip_local_port_range', 'w').write('2048 65000')
def resident():
    return int(open('/proc/%d/statm' % os.getppid()).read().split()[1]) * os.sysconf('SC_PAGESIZE')
begun = time.time()
for i in range(count):
    s = tcp(host, port)
    s.send(b'%d' % i)
    assert s.recv(99) == b'%d' % i
    if i % 4 == 0: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    if i % 4 == 1:
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b''
    s.close()
    if i == count // 3: before = resident()
    if i % 5000 == 0: print(i, file=sys.stderr, flush=True)
print('%d in %.1f s, %d KiB more' % (count, time.time() - begun, (resident() - before) // 1024),
      file=sys.stderr)
assert resident() - before < 32 << 20
print('all')
)",
      {host_v4, server.tcp_port, count});
  std::printf("%s", done.err.c_str());
  CHECK(done.out == "all\n");
}

#if WEIR_MEMORY_IS_MEASURED  // without optimization, and under a sanitizer, everything is larger
TEST_CASE("gate_keeps_little_for_flows_that_are_idle") {
  if (!world()) return;
  rlimit files{19'900, 19'900};
  ::setrlimit(RLIMIT_NOFILE, &files);
  echo_server server(host_v4);
  const auto idle = [&](const std::string& script, const std::string& port) {
    const auto done = in_guest(script, {host_v4, port});
    CAPTURE(done.err);
    REQUIRE(done.code == 0);
    return std::stod(done.out);
  };
  const std::string resident = R"(
def resident():
    return int(open('/proc/%d/statm' % os.getppid()).read().split()[1]) * os.sysconf('SC_PAGESIZE')
)";
  // What a flow of each kind takes when nothing is said on it.
  CHECK(idle(resident + R"(
one = tcp(sys.argv[1], int(sys.argv[2]))
before = resident()
streams = []
while len(streams) < 8000:
    streams.append(tcp(sys.argv[1], int(sys.argv[2])))
    if len(streams) % 1000 == 0: print(len(streams), file=sys.stderr, flush=True)
print((resident() - before) / 8000)
)",
             server.tcp_port) < 2048);
  CHECK(idle(resident + R"(
before = resident()
flows = [udp(sys.argv[1], int(sys.argv[2])) for i in range(1000)]
for s in flows:
    s.send(bytes(9000)); s.recv(9000)
# Pages go after a second of silence; the test's own limit ends what keeps them.
while resident() - before > 1000 * 6000: time.sleep(0.05)
print((resident() - before) / 1000)
)",
             server.udp_port) < 6000);
}
#endif

TEST_CASE("gate_serves_its_flows_while_its_guest_floods_scans_and_forges") {
  if (!world()) return;
  echo_server server(host_v4), own("127.0.0.1");
  const auto log = "/tmp/weir-gate-log-" + std::to_string(::getpid());
  const auto done = in_guest(R"(
host, t, own = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = tcp(host, t)
link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
def packet(source, to, protocol, body):
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    total = sum(struct.unpack('!10H', head))
    while total >> 16: total = (total >> 16) + (total & 65535)
    return head[:10] + struct.pack('!H', 65535 - total) + head[12:] + body
def syn(source, to, port, seq):
    body = struct.pack('!HHIIBBHHH', 1024 + seq % 60000, port, seq, 0, 0x50, 2, 65535, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack('!HH', 6, len(body))
    total = sum(struct.unpack('!%dH' % ((len(pseudo) + len(body)) // 2), pseudo + body))
    while total >> 16: total = (total >> 16) + (total & 65535)
    return packet(source, to, 6, body[:16] + struct.pack('!H', 65535 - total) + body[18:])
def send(p):
    try: link.sendto(p, ('weir0', 0x0800))
    except OSError as e: assert e.errno == errno.ENOBUFS
for i in range(6000):
    send(syn('10.%d.%d.9' % (i >> 8 & 255, i & 255), host, t, i))      # forged sources
    if i % 4 == 0: send(syn('10.0.2.100', '127.0.0.1', own, i))         # the host's loopback
    if i % 4 == 1: send(syn('10.0.2.100', '10.0.2.2', own, i))
    if i % 4 == 2: send(packet('10.0.2.100', host, i & 255, bytes(i % 40)))
    if i % 1000 == 0: s.send(b'%d' % i); assert s.recv(99) == b'%d' % i
print(sum(why(lambda: tcp(host, port)) == 'ok' for port in range(1, 100)))  # a scan
later = tcp(host, t)
for x in (s, later): x.send(b'still'); assert x.recv(9) == b'still'
print('served')
)",
                             {host_v4, server.tcp_port, own.tcp_port},
                             // Nobody answers for what was forged: it is not waited for.
                             {"--log", log, "--stop.linger_ms", "100"});
  const auto lines = file_of(log);
  ::unlink(log.c_str());
  CAPTURE(done.err);
  CHECK(done.out == "0\nserved\n");
  CHECK(lines.find("-> 10.0.2.2:" + own.tcp_port + " denied") != std::string::npos);
  CHECK(lines.find("-> 127.0.0.1:") == std::string::npos);
}

TEST_CASE("gate_carries_the_tools_that_people_use") {
  if (!world()) return;
  const auto installed = [](const char* tool) {
    return run(by_name({"sh", "-c", std::string("command -v ") + tool})).code == 0;
  };
  process page(
      {http_server(), "--backend", kernel_backend, "--http", std::string(host_v4) + ":8080"});
  (void)page.wait_line("listening http ");
  if (installed("wrk")) {
    const auto done = run(gate(
        {}, by_name({"wrk", "-t", "1", "-c", "20", "-d", "1", "http://192.0.2.1:8080/plaintext"})));
    CHECK(done.code == 0);
    CHECK(done.out.find("requests in") != std::string::npos);
    CHECK(done.out.find("Socket errors") == std::string::npos);
  }
  if (installed("iperf3")) {
    process server(by_name({"iperf3", "-s", "-B", host_v4, "--forceflush"}));
    (void)server.wait_line("Server listening");
    for (const auto& how : {"-P4", "-R", "--bidir", "-ub50M"}) {
      CAPTURE(how);
      const auto done = run(gate({}, by_name({"iperf3", "-c", host_v4, "-t", "1", how})));
      CAPTURE(done.err);
      CHECK(done.code == 0);
    }
  }
  if (installed("openssl")) {
    const auto key = "/tmp/weir-gate-tls-" + std::to_string(::getpid());
    REQUIRE(run(by_name({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
                         "/CN=gate.test", "-keyout", key, "-out", key + ".crt"}))
                .code == 0);
    process server(by_name({"openssl", "s_server", "-accept", std::string(host_v4) + ":8443",
                            "-key", key, "-cert", key + ".crt", "-www"}));
    (void)server.wait_line("ACCEPT");
    const auto done = run(
        gate({}, by_name({"sh", "-c",
                          "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -CAfile " +
                              key + ".crt -verify_return_error -connect 192.0.2.1:8443"})));
    CAPTURE(done.err);
    CHECK(done.out.find("HTTP/1.0 200 ok") != std::string::npos);
    ::unlink(key.c_str());
    ::unlink((key + ".crt").c_str());
  }
}

namespace {

/// A proxy for SOCKS 5 and CONNECT on one port, which writes what it was asked for. Only user
/// "me:pa ss" may pass. Names servers and echo ports of the test's are reached as they are.
constexpr const char* proxy_script = R"(
import base64
def exactly(s, n):
    out = b''
    while len(out) < n:
        got = s.recv(n - len(out))
        if not got: raise OSError('end')
        out += got
    return out
def pump(a, b):
    try:
        while True:
            got = a.recv(65536)
            if not got: break
            b.sendall(got)
        b.shutdown(socket.SHUT_WR)
    except OSError: pass
def serve(s):
    try:
        first = exactly(s, 1)
        if first == b'\x05':
            exactly(s, exactly(s, 1)[0]); s.sendall(b'\x05\x02')
            exactly(s, 1)
            user = exactly(s, exactly(s, 1)[0]); password = exactly(s, exactly(s, 1)[0])
            good = (user, password) == (b'me', b'pa ss')
            s.sendall(b'\x01' + (b'\0' if good else b'\1'))
            if not good: return
            _, _, _, kind = exactly(s, 4)
            to = socket.inet_ntop(*((socket.AF_INET, exactly(s, 4)) if kind == 1 else (socket.AF_INET6, exactly(s, 16))))
            port = struct.unpack('!H', exactly(s, 2))[0]
        else:
            head = first
            while not head.endswith(b'\r\n\r\n'): head += exactly(s, 1)
            if b'Basic ' + base64.b64encode(b'me:pa ss') not in head:
                return s.sendall(b'HTTP/1.1 407 who?\r\n\r\n')
            to, _, port = head.split()[1].decode().rpartition(':')
            to, port = to.strip('[]'), int(port)
        print('asked', to, port, flush=True)
        try: out = socket.create_connection((to, port))
        except OSError as e:
            refused = e.errno == errno.ECONNREFUSED
            if first == b'\x05': s.sendall(b'\x05' + (b'\x05' if refused else b'\x04') + b'\0\x01' + bytes(6))
            else: s.sendall(b'HTTP/1.1 ' + (b'404' if refused else b'503') + b' no\r\n\r\n')
            return
        s.sendall(b'\x05\0\0\x01' + bytes(6) if first == b'\x05' else b'HTTP/1.1 200 yes\r\nA: b\r\n\r\n')
        threading.Thread(target=pump, args=(s, out), daemon=True).start()
        pump(out, s)
    except OSError: pass
    finally: s.close()
l = socket.create_server(('127.0.0.1', 0))
print('proxy', l.getsockname()[1], flush=True)
while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
)";

}  // namespace

TEST_CASE("gate_sends_everything_by_a_proxy") {
  if (!world()) return;
  echo_server server(host_v4);
  process proxy(python(proxy_script));
  const auto port = proxy.wait_line("proxy").substr(6);
  process names(
      by_name({"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
               "--port=5353", "--listen-address=192.0.2.1", "--bind-interfaces",
               "--address=/example.test/192.0.2.9", "--user=root", "--pid-file="}));
  (void)names.wait_error_line("dnsmasq: started");
  for (const auto* scheme : {"socks5", "http"}) {
    CAPTURE(scheme);
    const auto url = std::string(scheme) + "://me:pa%20ss@127.0.0.1:" + port;
    auto done = in_guest(R"(
host, t, u = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = tcp(host, t)
s.sendall(bytes_of(300000)[:300000]); s.shutdown(socket.SHUT_WR)
print(read_all(s) == bytes_of(300000)[:300000])
print(why(lambda: tcp(host, 9)), why(lambda: tcp('198.51.100.7', 9)))
print(socket.gethostbyname('www.example.test'))
d = udp(host, u); d.send(b'x')
print(why(lambda: d.recv(9)))  # no datagrams by a proxy, and none past it
)",
                         {host_v4, server.tcp_port, server.udp_port},
                         {"--upstream", url, "--resolve.servers", "192.0.2.1:5353"});
    CAPTURE(done.err);
    CHECK(done.out == "True\nECONNREFUSED EHOSTUNREACH\n192.0.2.9\nECONNREFUSED\n");
    done = in_guest("print(why(lambda: tcp(sys.argv[1], int(sys.argv[2]))))",
                    {host_v4, server.tcp_port},
                    {"--upstream", std::string(scheme) + "://no:body@127.0.0.1:" + port});
    CHECK(done.out == "EHOSTUNREACH\n");  // as what a rule denies
  }
  (void)proxy.wait_line("asked 192.0.2.1 5353");
  const auto none = in_guest("print(why(lambda: tcp('192.0.2.1', 9)))", {},
                             {"--upstream", "socks5://127.0.0.1:1"});
  CHECK(none.out == "ENETUNREACH\n");
  const auto wrong = run(gate({"--upstream", "ftp://127.0.0.1:1"}, {"true"}));
  CHECK(wrong.code == 2);
  CHECK(wrong.err.find("must be socks5://") != std::string::npos);
}

TEST_CASE("gate_whose_tables_are_full_serves_those_that_it_has_and_others_when_there_is_room") {
  if (!world()) return;
  echo_server server(host_v4);
  const auto done = in_guest(R"(
host, t, u = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
streams = [tcp(host, t) for i in range(4)]
print(why(lambda: tcp(host, t)))
for i, s in enumerate(streams):
    s.send(b'%d' % i); assert s.recv(9) == b'%d' % i
streams.pop().close()
while why(lambda: tcp(host, t)) != 'ok': time.sleep(0.05)
flows = [udp(host, u) for i in range(4)]
for s in flows:
    s.send(b'x'); assert s.recv(9) == b'x'
late = udp(host, u)
late.settimeout(0.3)
late.send(b'x')
try: late.recv(9)
except socket.timeout: print('nothing')
for s in flows:
    s.send(b'y'); assert s.recv(9) == b'y'
)",
                             {host_v4, server.tcp_port, server.udp_port}, {"--max-flows", "4"});
  CAPTURE(done.err);
  CHECK(done.out == "ECONNREFUSED\nnothing\n");
}

TEST_CASE("gate_passes_resets_on_both_ways") {
  if (!world()) return;
  process server(python(R"(
l = socket.create_server((sys.argv[1], 7001))
print('ready', flush=True)
s, _ = l.accept()
s.recv(1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
s.close()
s, _ = l.accept()
s.send(b'x')
print(why(lambda: read_all(s)), flush=True)
)",
                        {host_v4}));
  (void)server.wait_line("ready");
  const auto done = in_guest(R"(
s = tcp(sys.argv[1], 7001)
s.send(b'x')
print(why(lambda: read_all(s)))
s = tcp(sys.argv[1], 7001)
s.recv(1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
s.close()
)",
                             {host_v4});
  CHECK(done.out == "ECONNRESET\n");
  CHECK(server.wait() == 0);
  CHECK(server.out().find("ECONNRESET") != std::string::npos);
}

TEST_CASE("gate_delivers_what_its_command_wrote_before_it_ended") {
  if (!world()) return;
  process server(python(R"(
l = socket.create_server((sys.argv[1], 7002))
print('ready', flush=True)
s, _ = l.accept()
print(len(read_all(s)), flush=True)
)",
                        {host_v4}));
  (void)server.wait_line("ready");
  const auto done =
      in_guest("s = tcp(sys.argv[1], 7002); s.sendall(bytes(300000)); os._exit(3)", {host_v4});
  CHECK(done.code == 3);
  CHECK(server.wait() == 0);
  CHECK(server.out() == "ready\n300000\n");
}

TEST_CASE("gate_that_is_stopped_stops_its_command_and_one_that_is_killed_takes_it_along") {
  if (!world()) return;
  const auto script = R"(
signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), os._exit(9)))
print('ready', os.getpid(), flush=True)
while True: time.sleep(60)
)";
  {
    process p(gate({}, python(script)));
    (void)p.wait_line("ready");
    p.signal(SIGTERM);
    CHECK(p.wait() == 9);
    CHECK(p.out().find("asked") != std::string::npos);
  }
  {
    process p(gate({}, python("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                              "print('ready', flush=True)\n"
                              "while True: time.sleep(60)\n")));
    (void)p.wait_line("ready");
    p.signal(SIGTERM);
    p.signal(SIGTERM);
    CHECK(p.wait() == 128 + SIGKILL);
  }
  process p(gate({}, python(script)));
  const auto pid = std::stoi(p.wait_line("ready").substr(6));
  p.signal(SIGKILL);
  CHECK(p.wait() == 1000 + SIGKILL);
  while (::kill(pid, 0) == 0) ::usleep(1000);  // the test's own limit ends what does not
}

TEST_CASE("gate_carries_echo_requests_where_the_host_may") {
  if (!world()) return;
  const std::string ping = R"(
def ping(to, n):
    six = ':' in to
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1)
    s.settimeout(float(sys.argv[1]))
    body = bytes_of(n)[:n]
    head = struct.pack('!BBHHH', 128 if six else 8, 0, 0, 77, 5)
    if not six:
        whole = head + body + b'\0' * (n % 2)
        total = sum(struct.unpack('!%dH' % (len(whole) // 2), whole))
        while total >> 16: total = (total >> 16) + (total & 65535)
        head = head[:2] + struct.pack('!H', 65535 - total) + head[4:]
    s.sendto(head + body, (to, 0))
    try:
        while True:
            got = s.recv(70000)
            if not six: got = got[20:]
            if got[0] in (0, 129) and got[4:8] == struct.pack('!HH', 77, 5): return got[8:] == body
    except socket.timeout: return None
)";
  ::system("echo 1 0 > /proc/sys/net/ipv4/ping_group_range");
  auto done = in_guest(ping + "print(ping('192.0.2.1', 5), ping('10.0.2.2', 5))", {"0.3"});
  CHECK(done.out == "None True\n");  // the gateway itself answers
  CHECK(done.err.find("ping_group_range") != std::string::npos);
  if (::system("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range 2>/dev/null") != 0 &&
      ::system("echo 0 0 > /proc/sys/net/ipv4/ping_group_range") != 0)
    return;
  done = in_guest(ping + R"(
print(all(ping(to, n) for to in ('192.0.2.1', '2001:db8::1') for n in (0, 1, 56, 1472, 9000)))
print(ping('127.0.0.2', 5) is not None)
)",
                  {"30"});
  CAPTURE(done.err);
  CHECK(done.out == "True\nTrue\n");
  done = in_guest(ping + "print(ping('192.0.2.1', 5))", {"0.3"}, {"--deny", "192.0.2.0/24"});
  CHECK(done.out == "None\n");
}

TEST_CASE("gate_attaches_to_a_namespace_that_is_there") {
  if (!world()) return;
  echo_server server(host_v4);
  process sleeper(by_name({"unshare", "-Urn", "sh", "-c", "echo ready $$; exec sleep 1000"}));
  const auto pid = sleeper.wait_line("ready").substr(6);
  process p({WEIR_GATE, "attach", "--pid", pid});
  (void)p.wait_line("attached");
  const auto done =
      run(by_name({"nsenter", "-t", pid, "-U", "-n", "--preserve-credentials", "python3", "-c",
                   std::string(prelude) + "s = tcp(sys.argv[1], int(sys.argv[2])); s.send(b'hi'); "
                                          "print(s.recv(9))",
                   host_v4, server.tcp_port}));
  CAPTURE(done.err);
  CHECK(done.out == "b'hi'\n");
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
}

TEST_CASE("gateway_the_example_answers_for_any_address_once_its_host_has") {
  if (!own_network() || !usable("stack")) return;
  process behind({services(), "--backend", kernel_backend, "--echo", "127.0.0.1:7015"});
  (void)behind.wait_line("listening echo ");
  process p({WEIR_GATEWAY, "--backend", "stack"});
  (void)p.wait_line("listening for any address");
  ip({"route", "add", "203.0.113.0/24", "dev", "weir0"});
  client c("203.0.113.9", 7015);
  c.send("hello");
  c.end_of_stream();
  CHECK(c.receive_all() == "hello");
  const auto refused = run(python("print(why(lambda: tcp('203.0.113.9', 7016)))"));
  CHECK(refused.out == "ECONNREFUSED\n");
  p.signal(SIGTERM);
  CHECK(p.wait() == 0);
  // On kernel sockets there is no such thing.
  const auto none = run({WEIR_GATEWAY, "--backend", kernel_backend});
  CHECK(none.code == 1);
  CHECK(none.err.find("listen on any address of 0.0.0.0/0") != std::string::npos);
}
