"""The ``fedmend`` command."""
