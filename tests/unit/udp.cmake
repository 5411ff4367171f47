# UDP sockets of the stack, alone: what arrives, what is sent, what ICMP may say.
weir_add_test(unit_udp PREFIX unit.udp. LIBS weir::stack LABELS stack SOURCES udp_host_test.cpp udp_icmp_test.cpp)
weir_add_allocation_test(unit_udp_allocation PREFIX unit.udp_allocation. LIBS weir::stack LABELS stack
  SOURCES udp_allocation_test.cpp)
