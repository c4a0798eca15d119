"""The command line: one module for each group of commands.

Contains options, printing and exit statuses. What a command does is a function elsewhere that Python users can call.
To add a command, write a function in a new module here and register it in `app`.
"""
