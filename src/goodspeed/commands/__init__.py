"""The subcommands of `goodspeed`: one file each, all of the same form."""
