"""The command line, one file a group of commands. Heavy imports wait until a command runs."""
