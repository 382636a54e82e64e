"""What is derived from the `.sql` files, and the proof that a database takes them: `make sqlc-generate`.

A fresh database goes up through every migration, down again and up again; every statement of the stores is given to it;
and the typed bindings and the page of the schema are written from what it says.
"""
