"""The command line: one module for each group of commands.

Enters: options, printing, exit statuses. What a command does is a function elsewhere that Python users can call.
A new command is a function in a new module here, registered in `app`.
"""
