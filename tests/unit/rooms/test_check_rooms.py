#!/usr/bin/env python3
"""Trees with one offence each: the check must name it, with file and line, and pass a tree without any."""
import pathlib
import tempfile
import unittest

import check_rooms

GOOD = {
    "harness/include/zeb/status.h": "#include <stdio.h>\n",
    "harness/include/zeb/graph.h": '#include "zeb/status.h"\n',
    "harness/base/text.h": '#include "zeb/status.h"\n',
    "harness/base/text.c": '#include "base/text.h"\n/* #include "run/case.h" */\n// "opencl"\nconst char *word = "cpu";\n',
    "harness/base/CMakeLists.txt": "zeb_add_room(base SOURCES text.c)\n",
    "harness/graph/builder.h": '#include "base/text.h"\n#include "zeb/graph.h"\n',
    "harness/models/model.c": '#include "graph/builder.h"\n#include "models/model.h"\n#include <jansson.h>\n',
    "harness/models/model.h": "\n",
    "harness/models/CMakeLists.txt": "zeb_add_room(models SOURCES model.c ROOMS graph base LIBS PkgConfig::JANSSON)\n",
    "harness/run/case.c": '#include "models/model.h"\n#include "suites/task.h"\n',
    "harness/cli/main.c": '#include "run/case.h"\n#include "base/text.h"\nconst char *help = "try --device opencl now";\n',
    "suites/task.h": '#include "graph/builder.h"\n',
    "suites/glue/glue.c": '#include "suites/task.h"\n#include "glue.h"\n',
    "suites/glue/glue.h": "\n",
    "backends/opencl/plugin.c": '#include "zeb/graph.h"\n#include "own.h"\n#include "deep/own2.h"\n#include <CL/cl.h>\n',
    "backends/opencl/own.h": "\n",
    "backends/opencl/deep/own2.h": "\n",
}

# What is added or replaced, and what the check must say about it.
BAD = [
    ("harness/base/text.c", '#include "base/text.h"\n#include "graph/builder.h"\n', "text.c:2: room base may not know room graph"),
    ("harness/graph/g.c", '#include "models/model.h"\n', "g.c:1: room graph may not know room models"),
    ("harness/models/m.c", '\n\n#  include "store/row.h"\n', "m.c:3: room models may not know room store"),
    ("harness/models/m.c", '#include <suites/task.h>\n', "room models may not know room suites"),
    ("suites/s.c", '#include "models/model.h"\n', "suites/s.c:1: room suites may not know room models"),
    ("suites/glue/s.c", '#include "run/case.h"\n', "room suites may not know room run"),
    ("harness/run/r.c", '#include "cli/options.h"\n', "room run may not know room cli"),
    ("harness/energy/e.c", '#include "../models/model.h"\n', "climbs out of its folder"),
    ("harness/energy/e.c", '#include "model.h"\n', "names no room"),
    ("harness/energy/e.c", '#define WHICH "run/case.h"\n#include WHICH\n', "an include must name its file"),
    ("harness/drawer/d.c", "\n", "room drawer has no place"),
    ("harness/include/zeb/p.h", '#include "base/text.h"\n', "public headers may not include"),
    ("harness/include/zeb/p.h", '#include "p2.h"\n', "public headers include only zeb/ headers"),
    ("backends/opencl/b.c", '#include "base/text.h"\n', "a plugin may not include"),
    ("backends/opencl/b.c", '#include "../cpu/own.h"\n', "climbs out of its folder"),
    ("backends/opencl/b.c", '#include "stranger.h"\n', "neither a zeb/ header nor a file of backends/opencl"),
    ("harness/run/r.c", 'const char *d = "opencl";\n', 'r.c:1: the harness names no backend, but here stands "opencl"'),
    ("harness/run/r.c", 'const char *d = "cuda:0,other";\n', "the harness names no backend"),
    ("harness/base/CMakeLists.txt", "zeb_add_room(base SOURCES text.c ROOMS graph)\n", "room base may not link room graph"),
    ("harness/models/CMakeLists.txt", "zeb_add_room(models SOURCES\n  a.c ROOMS base store)\n", "room models may not link room store"),
    ("harness/models/CMakeLists.txt", "zeb_add_room(models SOURCES a.c LIBS zeb_run)\n", "room models may not link zeb_run"),
    ("harness/drawer/CMakeLists.txt", "zeb_add_room(drawer SOURCES a.c)\n", "room drawer has no place"),
]


def offences_of(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return check_rooms.check_tree(folder)


class CheckRooms(unittest.TestCase):
    def test_good_tree_passes(self):
        offences, sources = offences_of(GOOD)
        self.assertEqual(offences, [])
        self.assertEqual(sources, sum(not name.endswith(".txt") for name in GOOD))

    def test_each_offence_is_named(self):
        for name, text, says in BAD:
            with self.subTest(says=says):
                offences, _ = offences_of({**GOOD, name: text})
                self.assertEqual(len(offences), 1, offences)
                self.assertIn(says, offences[0])
                self.assertTrue(offences[0].startswith(name + ":"))

    def test_empty_tree_is_no_pass(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(check_rooms.main(["check_rooms.py", folder]), 1)


if __name__ == "__main__":
    unittest.main()
