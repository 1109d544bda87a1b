"""Dynamic Cheatsheet: a sheet of notes that a curator rewrites whole, and a program that answers with it."""
