"""How fast Flux is, measured; ratios beside a peer in the same run. Never part of the tests."""
