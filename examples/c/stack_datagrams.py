#!/usr/bin/env python3
"""Two hosts of weir's stack in a Python program, by ctypes: a datagram and its answer, and a port
where nobody is. The library's path is the argument (libweir_stack_c.so)."""
import ctypes as c
import errno
import sys

stack = c.CDLL(sys.argv[1])


class Address(c.Structure):
    _fields_ = [("family", c.c_uint8), ("bytes", c.c_uint8 * 16), ("port", c.c_uint16)]


Transmit = c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_uint8), c.c_size_t)


class Options(c.Structure):
    _fields_ = [("size", c.c_size_t), ("addresses", c.POINTER(c.c_char_p)),
                ("address_count", c.c_size_t), ("secret", c.c_char_p), ("transmit", Transmit),
                ("context", c.c_void_p), ("mtu", c.c_uint32), ("max_connections", c.c_uint32),
                ("max_memory", c.c_uint64)]


stack.weir_host_new.restype = c.c_void_p
for name in ("weir_udp_send", "weir_udp_receive"):
    getattr(stack, name).restype = c.c_int64
assert stack.weir_stack_version() >= 1


def address(text):
    out = Address()
    assert stack.weir_address_parse(text.encode(), c.byref(out)) == 0, text
    return out


class Host:
    def __init__(self, own):
        self.out = []  # packets on their way
        self.transmit = Transmit(lambda _, packet, size: self.out.append(packet[:size]) or 1)
        addresses = (c.c_char_p * 1)(own.encode())
        options = Options(c.sizeof(Options), addresses, 1, own.encode().ljust(32, b"."),
                          self.transmit, None, 0, 0, 0)
        error = c.c_int()
        self.handle = c.c_void_p(stack.weir_host_new(c.byref(options), c.byref(error)))
        assert self.handle, errno.errorcode[-error.value]

    def take(self, packets, now):
        for packet in packets:
            stack.weir_host_input(self.handle, c.c_int64(now), bytes(packet),
                                  c.c_size_t(len(packet)))
        packets.clear()
        stack.weir_host_flush(self.handle, c.c_int64(now))


def check(result):
    assert result >= 0, errno.errorcode[-result]
    return result


def receive(host, socket):
    into = c.create_string_buffer(2048)
    sender = Address()
    size = stack.weir_udp_receive(host.handle, socket, into, c.c_size_t(2048), c.byref(sender))
    return size if size < 0 else into.raw[:size], sender


def send(host, socket, to, data, now):
    to = c.byref(to) if to else None
    check(stack.weir_udp_send(host.handle, c.c_int64(now), socket, to, data,
                              c.c_size_t(len(data))))


left, right = Host("10.0.0.1/24"), Host("10.0.0.2/24")
server, client, other = c.c_uint64(), c.c_uint64(), c.c_uint64()
check(stack.weir_udp_bind(right.handle, c.byref(address("10.0.0.2:53")), c.byref(server)))
check(stack.weir_udp_connect(left.handle, c.byref(address("10.0.0.2:53")), c.byref(client)))
check(stack.weir_udp_connect(left.handle, c.byref(address("10.0.0.2:9")), c.byref(other)))

send(left, client, None, b"question", 0)
send(left, other, None, b"anybody?", 0)
right.take(left.out, 1000)
asked, sender = receive(right, server)
assert asked == b"question", asked
send(right, server, sender, b"answer", 1000)
left.take(right.out, 2000)
answered, _ = receive(left, client)
refused, _ = receive(left, other)
print(answered.decode(), errno.errorcode[-refused])
stack.weir_host_free(left.handle)
stack.weir_host_free(right.handle)
