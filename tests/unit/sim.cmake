weir_add_test(unit_sim PREFIX unit.sim. LIBS weir::sim
  SOURCES sim_fabric_test.cpp sim_random_test.cpp)
weir_add_test(unit_virtual_driver PREFIX unit.virtual_driver. LIBS weir_internal
  SOURCES sim_virtual_driver_test.cpp)
weir_add_test(unit_pcapng PREFIX unit.pcapng. SOURCES sim_pcapng_test.cpp)
weir_add_test(unit_stack_transport PREFIX unit.stack_transport. LIBS weir_internal
  SOURCES stack_transport_device_test.cpp stack_transport_test.cpp)
