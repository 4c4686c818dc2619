"""What the exit statuses of our processes mean to whoever supervises them. Numbers of sysexits.h."""

#: EX_CONFIG: a setting is wrong, or a port taken; starting again would not help.
EXIT_CONFIG = 78

#: EX_TEMPFAIL: a worker has had its time, has finished what it held, and asks for another in its place.
EXIT_RECYCLED = 75
