"""The `aura` command, one file a subcommand."""
