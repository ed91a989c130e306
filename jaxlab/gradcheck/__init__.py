"""Is a gradient right, and if not, which mistake is it? By up to three independent witnesses.

From Python: `check.py` is the entry, `functions.py` takes whatever function is given,
`verdict.py` judges it, `numerical.py` and `witnesses.py` have the witnesses, `mistakes.py` the
names of mistakes, `result.py` and `table.py` what comes out. `network_mistakes.py` names mistakes
in one of the lab's networks: it tries backward passes that break a rule (`networks.py`,
`rules.py`). `known_cost.py` tells whether a cost is that of such a network.

`files/` is `jaxlab check`, which judges other people's files, and does so without JAX.
"""
