"""The lab's exercises. Each module has a frozen `Config` and `run(config) -> Result`.

`QUICK` is a config for a smoke run in seconds; its numbers mean nothing.
"""
