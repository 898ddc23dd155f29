"""The compiler warnings of every sluice target. They are errors only in sluice's own tree (.bazelrc)."""

SLUICE_COPTS = [
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
    "-Wcast-qual",
    "-Wundef",
    "-Wvla",
    "-Wwrite-strings",
]
