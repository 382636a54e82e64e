"""Pure values and rules: no I/O, no clock, no asyncio, no driver.

Every time is an integer number of microseconds since the Unix epoch (UTC), every duration an integer
number of microseconds. Time and randomness come in as arguments.
"""
