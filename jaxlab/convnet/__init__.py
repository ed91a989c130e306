"""Exercise 7: a Flax network on full MNIST. Read `network.py` first."""
