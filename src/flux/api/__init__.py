"""The network front doors: REST (and gRPC), thin skins on the engine's services."""
