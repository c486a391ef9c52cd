"""The command line: `main` is the way in; `core` has the commands for models, each other module those of one room.

`arguments` has what commands parse alike, `files` what they read and write alike.
"""
