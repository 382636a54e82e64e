"""The REST application over a real store, in process and over real sockets."""
