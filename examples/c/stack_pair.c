/* Two TCP/IP hosts in one program, joined by two queues of packets: a megabyte goes from one to the
 * other and comes back. What a program in C needs of the stack (weir_stack.h), and no more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir_stack.h>

enum { longest_packet = 2048, most_packets = 4096, wanted = 1000000 };

struct queue {
  unsigned char packet[most_packets][longest_packet];
  size_t size[most_packets];
  unsigned first, count;
};

static int put(void* context, const uint8_t* packet, size_t size) {
  struct queue* to = context;
  unsigned at = (to->first + to->count) % most_packets;
  if (to->count == most_packets || size > longest_packet) return 0;
  memcpy(to->packet[at], packet, size);
  to->size[at] = size;
  ++to->count;
  return 1;
}

static void carry(struct queue* from, weir_host* to, int64_t now) {
  for (; from->count != 0; --from->count, from->first = (from->first + 1) % most_packets)
    weir_host_input(to, now, from->packet[from->first], from->size[from->first]);
}

static void fail(const char* what, int64_t error) {
  fprintf(stderr, "%s: %s\n", what, strerror((int)-error));
  exit(1);
}

static weir_host* host_at(const char* address, struct queue* out, unsigned char seed) {
  unsigned char secret[32]; /* of a real program: from getrandom(2) */
  weir_host_options options = {sizeof options, &address, 1, secret, put, out, 0, 0, 0};
  int error;
  memset(secret, seed, sizeof secret);
  weir_host* made = weir_host_new(&options, &error);
  if (made == NULL) fail(address, error);
  return made;
}

/* What was read and could not be sent yet. */
static unsigned char held[65536];
static size_t held_size, held_sent;

static void echo(weir_host* host, int64_t now, weir_socket peer) {
  for (;;) {
    int64_t n;
    if (held_sent == held_size) {
      n = weir_receive(host, now, peer, held, sizeof held);
      if (n < 0) return; /* -EAGAIN: an event will tell */
      if (n == 0) {
        weir_shutdown_send(host, now, peer);
        return;
      }
      held_size = (size_t)n;
      held_sent = 0;
    }
    n = weir_send(host, now, peer, held + held_sent, held_size - held_sent);
    if (n < 0) return;
    held_sent += (size_t)n;
  }
}

int main(void) {
  static struct queue to_server, to_client;
  static unsigned char buffer[65536];
  int64_t now = 0, n;
  size_t sent = 0, received = 0, wrong = 0, i;
  weir_address where;
  weir_socket listener, peer = 0, stream;
  weir_event event;
  int over = 0;

  if (weir_stack_version() < WEIR_STACK_VERSION) return 2;
  weir_host* server = host_at("10.0.0.1/24", &to_client, 1);
  weir_host* client = host_at("10.0.0.2/24", &to_server, 2);
  weir_address_parse("10.0.0.1:7", &where);
  if ((n = weir_listen(server, &where, 16, &listener)) < 0) fail("listen", n);
  if ((n = weir_connect(client, now, &where, NULL, &stream)) < 0) fail("connect", n);

  while (!over) {
    carry(&to_server, server, now);
    carry(&to_client, client, now);
    while (weir_host_next_event(server, &event)) {
      if (event.what & WEIR_ACCEPTABLE) weir_accept(server, now, listener, &peer);
    }
    if (peer != 0) echo(server, now, peer);
    while (weir_host_next_event(client, &event))
      if (event.what & WEIR_FAILED) fail("connection", weir_socket_error(client, stream));
    for (i = 0; i < sizeof buffer; ++i) buffer[i] = (unsigned char)((sent + i) * 7);
    if (sent < wanted) {
      size_t most = wanted - sent < sizeof buffer ? wanted - sent : sizeof buffer;
      n = weir_send(client, now, stream, buffer, most);
      if (n > 0) sent += (size_t)n;
      if (sent == wanted) weir_shutdown_send(client, now, stream);
    }
    while ((n = weir_receive(client, now, stream, buffer, sizeof buffer)) > 0)
      for (i = 0; i < (size_t)n; ++i, ++received)
        wrong += buffer[i] != (unsigned char)(received * 7);
    over = n == 0;
    weir_host_flush(server, now);
    weir_host_flush(client, now);
    if (to_server.count + to_client.count == 0) { /* nothing travels: on to the next timer */
      int64_t a = weir_host_next_deadline(server), b = weir_host_next_deadline(client);
      int64_t next = a < b ? a : b;
      if (!over && next == INT64_MAX && sent == wanted) fail("stalled", -1);
      if (next != INT64_MAX && next > now) now = next;
      weir_host_advance(server, now);
      weir_host_advance(client, now);
    } else {
      now += 100000; /* a tenth of a millisecond on the way */
    }
  }
  printf("%zu bytes came back, %zu wrong\n", received, wrong);
  weir_close(client, now, stream);
  weir_close(server, now, peer);
  weir_host_free(client);
  weir_host_free(server);
  return received == wanted && wrong == 0 ? 0 : 1;
}
