"""Tests that are Python files: sluice's binaries over loopback."""

def integration_test(name, src, env, args = [], data = [], size = "medium", **kwargs):
    """Runs src with args. It may import harness.py and what else is in data.

    Each entry of env names a file, which is added to data; the variable has its path.
    """
    native.sh_test(
        name = name,
        size = size,
        srcs = ["run.sh"],
        args = ["$(location %s)" % src] + args,
        data = [src, "harness.py"] + data + env.values(),
        env = {variable: "$(location %s)" % file for variable, file in env.items()},
        **kwargs
    )

def peer_test(name, env, data = [], **kwargs):
    """An integration_test that may use endpoint.py, and so npm's ws and Python's websockets and aiohttp."""
    with_peers = dict(env)
    with_peers["AIOHTTP_PEER"] = "peers/aiohttp_peer.py"
    with_peers["WEBSOCKETS_PEER"] = "peers/websockets_peer.py"
    with_peers["WS_PEER"] = "peers/ws_peer.mjs"
    integration_test(
        name = name,
        # Where npm has not installed the package there is nothing, and the test says so.
        data = ["endpoint.py"] + data + native.glob(["node_modules/ws/**"], allow_empty = True),
        env = with_peers,
        **kwargs
    )

def tls_test(name, data = [], env = {}, **kwargs):
    """An integration_test of NAME.py that may use tls_harness.py."""
    endpoints = dict(env)
    endpoints["TLS_CERTIFICATES"] = ":tls_certificates"
    endpoints["TLS_PEER"] = ":tls_peer"
    integration_test(
        name = name,
        src = name + ".py",
        data = ["tls_harness.py"] + data,
        env = endpoints,
        **kwargs
    )
