/* The stack as a C library: a TCP/IP host that turns packets and time into packets and events, for
 * programs in any language that can call C. It makes no system call, reads no clock and starts no
 * thread; whoever uses it hands packets in, takes packets out and says what time it is. The shared
 * library exports what is declared here and nothing else, and lets no exception out.
 *
 * A host and its sockets are used by one thread at a time. `now` is in nanoseconds since an origin
 * of the caller's choice, the same for all calls of a host, and never goes back. A call that fails
 * gives a negative errno value (-EAGAIN: not now, an event will follow). What a host writes to is
 * the caller's; what it is given is read during the call only. */
#ifndef WEIR_STACK_H
#define WEIR_STACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef WEIR_STACK_API
#define WEIR_STACK_API __attribute__((visibility("default")))
#endif

/* Of this header. It grows by one when something is added; what was there stays as it was, and the
 * library's name (libweir_stack_c.so.1) changes where that cannot be. */
#define WEIR_STACK_VERSION 2
/* Of the library. At least WEIR_STACK_VERSION: all that the header declares is there. */
WEIR_STACK_API uint32_t weir_stack_version(void);

typedef struct weir_host weir_host;
/* A socket of one host. 0: none. One that was closed is refused (-EBADF), not mistaken. */
typedef uint64_t weir_socket;

typedef struct weir_address {
  uint8_t family;    /* 4 or 6 */
  uint8_t bytes[16]; /* in network order; of IPv4 the first four */
  uint16_t port;     /* in host order */
} weir_address;

/* "10.0.0.1:80", "[fd00::1]:80". 0, or -EINVAL. */
WEIR_STACK_API int weir_address_parse(const char* text, weir_address* out);
/* The same back, with a 0 at its end; -ENOSPC: 54 bytes are always enough. */
WEIR_STACK_API int weir_address_print(const weir_address* address, char* into, size_t size);

/* Takes one IP packet; 0 where there is no room for it, which the host treats as a loss. It must
 * not call the host. */
typedef int (*weir_transmit)(void* context, const uint8_t* packet, size_t size);

typedef struct weir_host_options {
  size_t size;                  /* sizeof(weir_host_options) */
  const char* const* addresses; /* the host's own, with prefix lengths: "10.0.0.1/24" */
  size_t address_count;
  const uint8_t* secret; /* 32 random bytes that nobody else knows */
  weir_transmit transmit;
  void* context;            /* of transmit */
  uint32_t mtu;             /* 0: 1500 */
  uint32_t max_connections; /* 0: 1,048,576 */
  uint64_t max_memory;      /* bytes of all queues; 0: 1 GiB */
} weir_host_options;

/* Null where it cannot be; then *error (which may be null) is -EINVAL or -ENOMEM. */
WEIR_STACK_API weir_host* weir_host_new(const weir_host_options* options, int* error);
/* Its sockets go with it; nothing is sent. */
WEIR_STACK_API void weir_host_free(weir_host* host);

/* One packet from the wire. Replies wait for weir_host_flush(), after a batch of packets. */
WEIR_STACK_API void weir_host_input(weir_host* host, int64_t now, const void* packet, size_t size);
WEIR_STACK_API void weir_host_flush(weir_host* host, int64_t now);
/* Runs the timers that are due. */
WEIR_STACK_API void weir_host_advance(weir_host* host, int64_t now);
/* When weir_host_advance() is due; INT64_MAX: no timer runs. */
WEIR_STACK_API int64_t weir_host_next_deadline(const weir_host* host);

enum {
  WEIR_ACCEPTABLE = 1, /* a connection waits to be accepted */
  WEIR_CONNECTED = 2,  /* weir_connect() succeeded */
  WEIR_READABLE = 4,   /* bytes, datagrams, the end of the stream, or an error */
  WEIR_WRITABLE = 8,   /* there is room again, after -EAGAIN */
  WEIR_FAILED = 16     /* weir_socket_error() says how */
};
typedef struct weir_event {
  weir_socket socket;
  void* user; /* what weir_set_user() gave */
  uint32_t what;
} weir_event;
/* 1, and the oldest event; 0: there is none. Told once, and again after a call gave -EAGAIN. */
WEIR_STACK_API int weir_host_next_event(weir_host* host, weir_event* out);

/* TCP. Port 0 takes a free one. */
WEIR_STACK_API int weir_listen(weir_host* host, const weir_address* local, uint32_t backlog,
                               weir_socket* out);
/* Listens for others' addresses, a gateway's way: whoever connects to an address of the network
 * (whose port does not count) at one of the ports meets this host, and weir_local_address() of what
 * is accepted is the one that was meant. A prefix length of 0: all addresses of the family. Listeners
 * of weir_listen() go first, then the longer prefix, then the fewer ports. Packets to the network are
 * taken from now on, after the listener's end too. -EADDRINUSE: the same network and a port in
 * common, neither range within the other; -EINVAL: port 0, no port, a prefix too long. Since 2. */
WEIR_STACK_API int weir_listen_any(weir_host* host, const weir_address* network,
                                   uint8_t prefix_length, uint16_t first_port, uint16_t last_port,
                                   uint32_t backlog, weir_socket* out);
WEIR_STACK_API int weir_accept(weir_host* host, int64_t now, weir_socket listener,
                               weir_socket* out);
/* WEIR_CONNECTED or WEIR_FAILED follows. `local` may be null. */
WEIR_STACK_API int weir_connect(weir_host* host, int64_t now, const weir_address* remote,
                                const weir_address* local, weir_socket* out);
/* How many bytes were taken. */
WEIR_STACK_API int64_t weir_send(weir_host* host, int64_t now, weir_socket socket,
                                 const void* bytes, size_t size);
/* How many bytes there were; 0: the end of the stream. */
WEIR_STACK_API int64_t weir_receive(weir_host* host, int64_t now, weir_socket socket, void* into,
                                    size_t size);
/* The peer sees the end of the stream after what was sent; receiving goes on. */
WEIR_STACK_API int weir_shutdown_send(weir_host* host, int64_t now, weir_socket socket);
/* Of any socket. What a connection has sent is still delivered; no event follows. */
WEIR_STACK_API void weir_close(weir_host* host, int64_t now, weir_socket socket);
/* With a reset. */
WEIR_STACK_API void weir_abort(weir_host* host, int64_t now, weir_socket socket);
/* What ended a connection: a negative errno value, or 0. */
WEIR_STACK_API int weir_socket_error(const weir_host* host, weir_socket socket);

/* UDP. A socket that is connected talks to one remote only, and gives `to` as null. */
WEIR_STACK_API int weir_udp_bind(weir_host* host, const weir_address* local, weir_socket* out);
WEIR_STACK_API int weir_udp_connect(weir_host* host, const weir_address* remote, weir_socket* out);
WEIR_STACK_API int64_t weir_udp_send(weir_host* host, int64_t now, weir_socket socket,
                                     const weir_address* to, const void* bytes, size_t size);
/* How long the datagram is; more than `size`: the rest is lost. `from` may be null. */
WEIR_STACK_API int64_t weir_udp_receive(weir_host* host, weir_socket socket, void* into,
                                        size_t size, weir_address* from);

/* Of any socket. */
WEIR_STACK_API void weir_set_user(weir_host* host, weir_socket socket, void* user);
WEIR_STACK_API int weir_local_address(const weir_host* host, weir_socket socket, weir_address* out);
WEIR_STACK_API int weir_remote_address(const weir_host* host, weir_socket socket,
                                       weir_address* out);

#ifdef __cplusplus
}
#endif

#endif
