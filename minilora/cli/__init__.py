"""The command line: `main` puts the commands together, and each other module adds some of its own."""
