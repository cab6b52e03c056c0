get_property(modules GLOBAL PROPERTY STAND_IN_MODULES)
message(STATUS "Modules: ${modules}")
