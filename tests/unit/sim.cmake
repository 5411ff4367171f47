weir_add_test(unit_sim PREFIX unit.sim. LIBS weir::sim
  SOURCES sim_fabric_test.cpp sim_random_test.cpp)
weir_add_test(unit_pcapng PREFIX unit.pcapng. SOURCES sim_pcapng_test.cpp)
