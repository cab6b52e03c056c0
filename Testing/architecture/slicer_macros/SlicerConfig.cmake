# Stand-in of an installed Slicer for test_cmake.py: gives what an extension's CMakeLists.txt uses, and refuses what the
# real one refuses or ships wrongly without a word.
set(Slicer_FOUND TRUE)
set(Slicer_VERSION 5.12.4)
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionCPack.cmake")
