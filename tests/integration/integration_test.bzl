"""integration_test: a Python file that tests sluice's binaries over loopback."""

def integration_test(name, src, args = [], data = [], env = {}, size = "medium", **kwargs):
    """Runs src with args. It may import what is in data.

    Each entry of env names a file, which is added to data; the variable has its path.
    """
    native.sh_test(
        name = name,
        size = size,
        srcs = ["run.sh"],
        args = ["$(location %s)" % src] + args,
        data = [src, "harness.py"] + data + env.values(),
        env = {name: "$(location %s)" % label for name, label in env.items()},
        **kwargs
    )
