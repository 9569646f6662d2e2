#!/bin/sh
# run.sh CMAKE BUILD SOURCE CC CFLAGS PKG_CONFIG CONFORMANCE
#
# Installs the build into a temporary folder and works from there as a stranger would: every installed header compiles
# alone, a copy of backends/template becomes a plugin with the installed headers and no others, passes conformance and is
# found by the installed zeb, and a program links libzeb by pkg-config.
set -eu
cmake=$1 build=$2 source=$3 cc=$4 cflags=$5 pkg_config=$6 conformance=$7

fail() {
    echo "install test: $*" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
"$cmake" --install "$build" --prefix "$prefix" >"$work/install.log" 2>&1 || {
    tail -n 5 "$work/install.log" >&2
    fail "cmake --install failed"
}

# The .pc file must be right wherever the tree was installed to: no --define-prefix here.
pc=$(find "$prefix" -name zeb.pc)
[ -n "$pc" ] || fail "zeb.pc was not installed"
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
include=$("$pkg_config" --cflags zeb)
libs=$("$pkg_config" --libs zeb)
plugins=$("$pkg_config" --variable=plugindir zeb)
[ -f "$plugins/zeb_ref.so" ] || fail "plugindir of zeb.pc, $plugins, has no zeb_ref.so"

for plugin in "$plugins"/*; do
    name=$(basename "$plugin" .so)
    [ -d "$source/backends/${name#zeb_}" ] || fail "$plugin was installed, but is no plugin of backends/"
done

# Words of $include, $libs and $cflags are options: they are split on purpose.
for header in "$prefix"/include/zeb/*.h; do
    printf '#include "zeb/%s"\n' "$(basename "$header")" >"$work/alone.c"
    # shellcheck disable=SC2086
    "$cc" -std=c17 -Wall -Wextra -Wpedantic -Werror $include -fsyntax-only "$work/alone.c" ||
        fail "zeb/$(basename "$header") does not compile alone"
    if command -v c++ >/dev/null 2>&1; then
        cp "$work/alone.c" "$work/alone.cpp"
        # shellcheck disable=SC2086
        c++ -std=c++17 -Wall -Wextra -Werror $include -fsyntax-only "$work/alone.cpp" ||
            fail "zeb/$(basename "$header") does not compile as C++"
    fi
done

mkdir "$work/mine" "$work/out"
cp "$source"/backends/template/*.[ch] "$work/mine/"
cd "$work/mine"
for file in *.c; do
    # shellcheck disable=SC2086
    "$cc" -std=c17 -O1 -Wall -Wextra -Werror -fPIC -fvisibility=hidden $cflags $include \
        -MD -MF "$file.d" -c "$file" -o "$file.o" || fail "the template does not compile against the installed headers"
    if grep -F "$source/" "$file.d"; then fail "$file includes a header of the source tree"; fi
done
grep -qF "$prefix" ./*.d || fail "the template did not include the installed headers"
# shellcheck disable=SC2086
"$cc" -shared $cflags -o "$work/out/zeb_template.so" ./*.o -lm
"$conformance" --plugin-dir "$work/out" --plugin template --ref "$plugins/zeb_ref.so" >"$work/conformance.log" 2>&1 || {
    tail -n 20 "$work/conformance.log" >&2
    fail "the template built outside the tree does not pass conformance"
}

"$prefix/bin/zeb" list plugins --plugin-dir "$work/out" --format json >"$work/plugins.json" || fail "the installed zeb failed"
grep -qF "$work/out/zeb_template.so" "$work/plugins.json" || fail "the installed zeb does not find the new plugin"
grep -qF "zeb_ref.so" "$work/plugins.json" || fail "the installed zeb does not find its own plugins"

cat >"$work/embed.c" <<'C'
#include <stdio.h>

#include <zeb/bench.h>

int main(void) {
    return printf("%s\n", zeb_version()) > 1 ? 0 : 1;
}
C
# shellcheck disable=SC2086
"$cc" -std=c17 -Wall -Wextra -Werror $cflags $include "$work/embed.c" -o "$work/embed" $libs ||
    fail "a program does not link libzeb by pkg-config"
version=$(LD_LIBRARY_PATH=$("$pkg_config" --variable=libdir zeb) "$work/embed")
[ "$version" = "$("$pkg_config" --modversion zeb)" ] || fail "libzeb says it is $version"
tail -n 1 "$work/conformance.log"
