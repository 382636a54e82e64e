"""The network front doors: REST (and gRPC), thin skins on the engine's services."""

from flux.api.app import Api, create_app
from flux.api.server import ApiServer, CannotListen, serve

__all__ = ["Api", "ApiServer", "CannotListen", "create_app", "serve"]
