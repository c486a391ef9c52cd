"""The exercises.  Each module holds one `EXERCISE`; its file for students is in `unsolved/` under the same name."""
