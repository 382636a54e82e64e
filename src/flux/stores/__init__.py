"""Where jobs are kept. One package a database, each implementing the ports of `flux.engine.ports`."""
