"""Redis Streams carry the hints: one stream a lane, bounded, fed by the dispatcher whenever it runs low."""
