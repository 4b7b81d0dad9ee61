"""The command line, one file a group of commands; `python -m curation COMMAND --help`."""
