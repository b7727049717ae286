"""What a server is told by signals beside SIGTERM and SIGINT, which end it."""

import signal

# Another process answers on the same socket: whoever comes from here on is not to be missed.
HAND_OVER = signal.SIGUSR1
