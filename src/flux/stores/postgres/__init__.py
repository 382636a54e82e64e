"""The store on PostgreSQL: many processes, many hosts, one truth."""
