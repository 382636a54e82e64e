"""The store on one SQLite file: the whole queue, for one machine."""
