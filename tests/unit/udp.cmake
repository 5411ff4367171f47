set(WEIR_TEST_HEADERS stack)
# UDP sockets of the stack, alone: what arrives, what is sent, what ICMP may say.
weir_add_test(unit_udp PREFIX unit.udp. LIBS weir::stack LABELS stack 
  SOURCES udp_flows_test.cpp udp_host_test.cpp udp_icmp_test.cpp udp_lending_test.cpp udp_shards_test.cpp)
weir_add_allocation_test(unit_udp_allocation PREFIX unit.udp_allocation. LIBS weir::stack LABELS stack
  SOURCES udp_allocation_test.cpp)
# On kernel sockets, from close by.
set(WEIR_TEST_HEADERS weir)
if(WEIR_WITH_URING OR WEIR_WITH_ASIO)
  weir_add_test(unit_udp_backends PREFIX unit.udp_backends. LIBS weir_internal SOURCES udp_backends_test.cpp)
  weir_add_allocation_test(unit_udp_backends_allocation PREFIX unit.udp_allocation. LIBS weir_internal
    SOURCES udp_backends_allocation_test.cpp)
endif()
