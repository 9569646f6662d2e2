# Writes OUT, a header with the commit of the tree in SOURCE; run at every build, so that a row never names an older one.
execute_process(COMMAND git describe --always --dirty --abbrev=12 WORKING_DIRECTORY "${SOURCE}"
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
    set(commit "unknown")
endif()
set(text "#define ZEB_COMMIT \"${commit}\"\n")
set(before "")
if(EXISTS "${OUT}")
    file(READ "${OUT}" before)
endif()
if(NOT text STREQUAL before)
    file(WRITE "${OUT}" "${text}")
endif()
