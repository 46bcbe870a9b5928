"""Writes files into a C source as arrays: embed.py OUT.c ID.avsc... gives `builtin_schemas`."""

import pathlib
import sys

out, *paths = sys.argv[1:]
lines = ['#include "consumer/schema_store.h"', ""]
rows = []
for path in map(pathlib.Path, paths):
    data = path.read_bytes()
    lines.append(f"static const char schema_{path.stem}[] = {{")
    for i in range(0, len(data), 20):
        lines.append("    " + " ".join(f"{b}," for b in data[i : i + 20]))
    lines.append("};")
    rows.append(f"    {{{path.stem}, {{schema_{path.stem}, sizeof schema_{path.stem}}}}},")
lines += ["const struct builtin_schema builtin_schemas[] = {", *rows, "};"]
lines.append("const size_t n_builtin_schemas = sizeof builtin_schemas / sizeof builtin_schemas[0];")
pathlib.Path(out).write_text("\n".join(lines) + "\n")
