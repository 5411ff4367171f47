set(WEIR_TEST_HEADERS std)
weir_add_test(unit_sim PREFIX unit.sim. LIBS weir::sim
  SOURCES sim_fabric_test.cpp sim_random_test.cpp)
if(WEIR_WITH_SIM)
  weir_add_test(unit_virtual_driver PREFIX unit.virtual_driver. LIBS weir_internal
    SOURCES sim_virtual_driver_test.cpp)
endif()
weir_add_test(unit_pcapng PREFIX unit.pcapng. SOURCES sim_pcapng_test.cpp)
weir_add_test(unit_footprint PREFIX unit.footprint. LIBS weir_internal
  SOURCES footprint_test.cpp ${PROJECT_SOURCE_DIR}/examples/services/services.cpp)
if(TARGET unit_footprint)
  target_include_directories(unit_footprint PRIVATE "${PROJECT_SOURCE_DIR}/examples")
endif()
if(WEIR_WITH_SIM)
  weir_add_test(unit_stack_transport PREFIX unit.stack_transport. LIBS weir_internal
    SOURCES stack_transport_test.cpp stack_transport_device_test.cpp)
endif()
