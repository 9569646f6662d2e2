#!/usr/bin/env python3
"""Fails when a room of zeb knows what it may not know.

  check_rooms.py TREE     prints one line an offence (file:line: sentence); exit 1 if there are any

The rule (docs/architecture.md): cli -> run -> {plugins, energy, models, tokenizers, sparsity, suites, store} -> graph ->
base. A room includes itself and rooms further down; rooms in braces do not include each other. Public headers include
public headers alone. A plugin includes zeb/ headers and its own files. CMake's ROOMS follow the same rule, and no string of
the harness is the name of a plugin. Comments are ignored.
"""
import pathlib
import re
import sys

LEVELS = [["base"], ["graph"], ["plugins", "energy", "models", "tokenizers", "sparsity", "suites", "store"], ["run"],
          ["cli"]]
MAY_KNOW = {room: {room}.union(*(LEVELS[:level])) for level, rooms in enumerate(LEVELS) for room in rooms}
PUBLIC = "zeb"
SOURCES = {".c", ".h", ".cu", ".cuh", ".cc", ".cpp", ".hpp", ".inc"}
ORDINARY_WORDS = {"cpu", "null", "ref", "template"}  # also mean other things than the plugin of that name

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>|([^\n"<]+))', re.MULTILINE)
STRING = re.compile(r'"((?:\\.|[^"\\\n])*)"')
ROOM_CALL = re.compile(r'zeb_add_room\s*\(\s*(\w+)([^)]*)\)')


def without_comments(text):
    """The text with comments as blanks (newlines kept, strings left alone), so that line numbers stay true."""
    def blank(match):
        found = match.group(0)
        return re.sub(r"[^\n]", " ", found) if found.startswith(("/*", "//")) else found
    return COMMENT_OR_STRING.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def room_of(tree, path):
    """'base', ..., 'zeb' for public headers, 'backends/<name>' for plugins, None for what the rule is silent about."""
    parts = path.relative_to(tree).parts
    if parts[:3] == ("harness", "include", PUBLIC):
        return PUBLIC
    if parts[0] == "harness" and len(parts) > 2:
        return parts[1]
    if parts[0] == "suites" and len(parts) > 1:
        return "suites"
    if parts[0] == "backends" and len(parts) > 2:
        return "backends/" + parts[1]
    return None


def check_include(tree, path, room, name, quoted):
    """Why this room may not include that name, or None."""
    target = name.split("/")[0] if "/" in name else None
    if ".." in name.split("/") or name.startswith("/"):
        return f'"{name}" climbs out of its folder: name the room instead'
    if target == PUBLIC:
        return None
    if target in MAY_KNOW:
        if room in MAY_KNOW:
            return None if target in MAY_KNOW[room] else f'room {room} may not know room {target} ("{name}")'
        return f'{"public headers" if room == PUBLIC else "a plugin"} may not include "{name}" of room {target}'
    if not quoted:
        return None  # a header of the system or of a library
    if room == PUBLIC:
        return f'public headers include only {PUBLIC}/ headers, not "{name}"'
    if (path.parent / name).is_file():
        return None
    if room.startswith("backends/"):
        own = tree / room
        if (own / name).is_file() or any(own.rglob(name)):
            return None
        return f'"{name}" is neither a {PUBLIC}/ header nor a file of {room}'
    return f'"{name}" names no room: write "{room}/{name}" or the room that it is in'


def check_source(tree, path, room, plugins):
    text = without_comments(path.read_text(encoding="utf-8", errors="replace"))
    for match in INCLUDE.finditer(text):
        quoted, angled, other = match.groups()
        if other is not None:
            if room == PUBLIC or room in MAY_KNOW:
                yield line_of(text, match.start()), "an include must name its file"
            continue
        why = check_include(tree, path, room, quoted or angled, quoted is not None)
        if why:
            yield line_of(text, match.start()), why
    if room not in MAY_KNOW:
        return
    for match in STRING.finditer(text):
        words = [word.split(":")[0] for word in match.group(1).split(",")]
        named = sorted(set(words) & plugins)
        if named:
            yield line_of(text, match.start()), f'the harness names no backend, but here stands "{match.group(1)}"'


def check_cmake(path):
    text = re.sub(r"#[^\n]*", "", path.read_text(encoding="utf-8"))
    for match in ROOM_CALL.finditer(text):
        room, words = match.group(1), match.group(2).split()
        if room not in MAY_KNOW:
            yield line_of(text, match.start()), f"room {room} has no place in the order of rooms"
            continue
        listing = False
        for word in words:
            if word in ("SOURCES", "LIBS", "ROOMS"):
                listing = word == "ROOMS"
            elif listing and word not in MAY_KNOW[room]:
                yield line_of(text, match.start()), f"room {room} may not link room {word}"
        for word in words:
            linked = word[4:] if word.startswith("zeb_") else None
            if linked in MAY_KNOW and linked not in MAY_KNOW[room]:
                yield line_of(text, match.start()), f"room {room} may not link {word}"


def check_tree(tree):
    tree = pathlib.Path(tree).resolve()
    plugins = {path.name for path in (tree / "backends").glob("*") if path.is_dir()} | {"opencl", "cuda", "vulkan"}
    plugins -= ORDINARY_WORDS
    offences, sources = [], 0
    for folder in ("harness", "suites", "backends"):
        for path in sorted((tree / folder).rglob("*")):
            room = room_of(tree, path)
            if room is None or not path.is_file():
                continue
            found = ()
            if path.suffix in SOURCES:
                sources += 1
                if not room.startswith("backends/") and room != PUBLIC and room not in MAY_KNOW:
                    found = [(1, f"room {room} has no place in the order of rooms")]
                else:
                    found = check_source(tree, path, room, plugins)
            elif path.name == "CMakeLists.txt":
                found = check_cmake(path)
            offences += [f"{path.relative_to(tree)}:{line}: {why}" for line, why in found]
    return offences, sources


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    offences, sources = check_tree(arguments[1])
    for offence in offences:
        print(offence)
    if sources == 0:
        print(f"{arguments[1]}: no sources found: this is not zeb's tree")
        return 1
    print(f"{sources} files, {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
