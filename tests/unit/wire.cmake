set(WEIR_TEST_HEADERS std)
weir_add_test(unit_wire PREFIX unit.wire. LIBS weir::stack
  SOURCES wire_checksum_test.cpp wire_hostile_test.cpp wire_icmp_udp_test.cpp wire_ipv4_test.cpp
          wire_ipv6_test.cpp wire_plain_test.cpp wire_tcp_test.cpp)
set(WEIR_TEST_HEADERS stack)
weir_add_test(unit_ip PREFIX unit.ip. LIBS weir::stack
  SOURCES ip_addresses_test.cpp ip_hostile_test.cpp ip_icmp_test.cpp ip_input_test.cpp ip_output_test.cpp
          ip_path_mtu_test.cpp ip_reassembly_test.cpp)
weir_add_test(unit_device PREFIX unit.device. LIBS weir::stack
  SOURCES device_tun_test.cpp device_vnet_test.cpp)
weir_add_allocation_test(unit_ip_allocation PREFIX unit.ip_allocation. LIBS weir::stack
  LABELS stack SOURCES ip_allocation_test.cpp)
