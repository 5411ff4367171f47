# The Ethernet link: frames in and out, neighbours, DHCP.
set(WEIR_TEST_HEADERS std)
weir_add_test(unit_link PREFIX unit.link. LIBS weir::stack
  SOURCES link_arp_test.cpp link_dhcp_test.cpp link_dhcpv6_test.cpp link_discovery_test.cpp
    link_neighbours_test.cpp)
weir_add_allocation_test(unit_link_allocation PREFIX unit.link_allocation. LIBS weir::stack
  LABELS stack SOURCES link_allocation_test.cpp)
