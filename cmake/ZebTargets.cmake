# How targets of zeb are declared: rooms of the harness, plugins, tests. Everything is C17 with warnings as errors.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

add_library(zeb_options INTERFACE)
target_compile_definitions(zeb_options INTERFACE _GNU_SOURCE)
target_compile_options(zeb_options INTERFACE
    -Wall -Wextra -Wpedantic -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wconversion
    -Wno-sign-conversion -Wpointer-arith -Wundef -Wformat=2 -Wdouble-promotion
    -fno-math-errno -ffp-contract=off)

# Plugins are found here in a build tree: one folder, as when installed.
set(ZEB_PLUGIN_OUTPUT_DIR "${CMAKE_BINARY_DIR}/plugins")
set(ZEB_PLUGIN_INSTALL_DIR "${CMAKE_INSTALL_LIBDIR}/zeb/plugins")

# Adds every folder below `parent` that has a CMakeLists.txt, so that a new backend is a new folder and no edit.
function(zeb_add_subdirectories parent)
    file(GLOB folders CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${parent}/*/CMakeLists.txt")
    foreach(file IN LISTS folders)
        get_filename_component(folder "${file}" DIRECTORY)
        add_subdirectory("${folder}")
    endforeach()
endfunction()

# zeb_add_room(NAME SOURCES a.c ... [ROOMS base graph] [LIBS PkgConfig::X])
# A room of the harness: a static library zeb_NAME that sees the public headers, "room/header.h" of the rooms it names,
# and nothing of those it does not name at link time.
function(zeb_add_room name)
    cmake_parse_arguments(ROOM "" "" "SOURCES;ROOMS;LIBS" ${ARGN})
    add_library(zeb_${name} STATIC ${ROOM_SOURCES})
    target_include_directories(zeb_${name} PUBLIC
        "${PROJECT_SOURCE_DIR}/harness/include" "${PROJECT_SOURCE_DIR}/harness" "${PROJECT_SOURCE_DIR}")
    list(TRANSFORM ROOM_ROOMS PREPEND zeb_)
    target_link_libraries(zeb_${name} PUBLIC ${ROOM_ROOMS} ${ROOM_LIBS} PRIVATE zeb_options m)
endfunction()

# zeb_add_plugin(NAME SOURCES a.c ... [LIBS x] [INCLUDES dir])
# A plugin zeb_NAME.so: sees only harness/include, links nothing of the harness, exports zeb_plugin_entry alone.
function(zeb_add_plugin name)
    cmake_parse_arguments(PLUGIN "" "" "SOURCES;LIBS;INCLUDES" ${ARGN})
    add_library(plugin_${name} MODULE ${PLUGIN_SOURCES})
    target_include_directories(plugin_${name} PRIVATE "${PROJECT_SOURCE_DIR}/harness/include" ${PLUGIN_INCLUDES})
    target_compile_definitions(plugin_${name} PRIVATE ZEB_PLUGIN_VERSION="${PROJECT_VERSION}")
    target_link_libraries(plugin_${name} PRIVATE zeb_options ${PLUGIN_LIBS} m)
    target_link_options(plugin_${name} PRIVATE -Wl,--no-undefined)
    if(CMAKE_C_FLAGS MATCHES "-fsanitize")
        set_target_properties(plugin_${name} PROPERTIES LINK_OPTIONS "") # sanitizer symbols come from the program
    endif()
    set_target_properties(plugin_${name} PROPERTIES
        PREFIX "" OUTPUT_NAME "zeb_${name}" LIBRARY_OUTPUT_DIRECTORY "${ZEB_PLUGIN_OUTPUT_DIR}")
    string(FIND "${CMAKE_CURRENT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/backends/" at)
    if(at EQUAL 0) # plugins of the tests are not for users
        install(TARGETS plugin_${name} LIBRARY DESTINATION "${ZEB_PLUGIN_INSTALL_DIR}")
    endif()
endfunction()

# zeb_add_unit_test(NAME SOURCES a.c ... [LIBS zeb_base ...]): a cmocka program, run by ctest from the source folder,
# with ZEB_SOURCE_DIR, ZEB_BINARY_DIR and ZEB_PLUGIN_DIR as string macros.
function(zeb_add_unit_test name)
    cmake_parse_arguments(TEST "" "" "SOURCES;LIBS" ${ARGN})
    add_executable(test_${name} ${TEST_SOURCES})
    target_link_libraries(test_${name} PRIVATE zeb_options ${TEST_LIBS} PkgConfig::CMOCKA m)
    target_compile_definitions(test_${name} PRIVATE
        ZEB_SOURCE_DIR="${PROJECT_SOURCE_DIR}" ZEB_BINARY_DIR="${PROJECT_BINARY_DIR}"
        ZEB_PLUGIN_DIR="${ZEB_PLUGIN_OUTPUT_DIR}")
    add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties(${name} PROPERTIES TIMEOUT 300)
endfunction()

# zeb_add_fuzz(NAME SOURCES a.c [LIBS ...] [CORPUS dir]): a libFuzzer target, and a ctest that runs it for a bounded time
# over its kept corpus. Only with -DZEB_FUZZ=ON and clang.
function(zeb_add_fuzz name)
    cmake_parse_arguments(FUZZ "" "CORPUS" "SOURCES;LIBS" ${ARGN})
    if(NOT ZEB_FUZZ)
        return()
    endif()
    if(NOT TARGET fuzzers)
        add_custom_target(fuzzers) # all of them, and nothing that they do not need
    endif()
    add_executable(fuzz_${name} ${FUZZ_SOURCES})
    add_dependencies(fuzzers fuzz_${name})
    target_link_libraries(fuzz_${name} PRIVATE zeb_options ${FUZZ_LIBS} m)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_compile_options(fuzz_${name} PRIVATE -Wno-missing-prototypes)
    add_test(NAME fuzz_${name} COMMAND "${PROJECT_SOURCE_DIR}/tests/fuzz/run" $<TARGET_FILE:fuzz_${name}>
        "${CMAKE_CURRENT_SOURCE_DIR}/${FUZZ_CORPUS}")
endfunction()
