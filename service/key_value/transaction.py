"""One atomic step on a key-value store: it reads values, and then changes them if they are still the same."""

from functools import cached_property

from service.key_value.commands import PREFIX, Argument, Backend, Command, Reply, text_of, time_of


class Transaction:
    """Reads and changes values in one atomic step. Reads do not see the changes of the same step.

    A transaction collects changes. They are written at the end, and only if no reply has changed meanwhile.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._replies: dict[Command, Reply] = {}
        self._checked: dict[Command, None] = {}  # the commands whose reply the step depends on, in order
        self.commands: list[Command] = []

    @property
    def checks(self) -> list[tuple[Command, Reply]]:
        """The replies that must still be the same when the changes are written."""
        return [(command, self._replies[command]) for command in self._checked]

    @cached_property
    def now(self) -> float:
        """The time of the store's clock, in seconds."""
        return time_of(self.read("TIME", check=False))

    def prefetch(self, *commands: Command) -> None:
        """Read replies in one round trip. Later calls of `read` return them; the step depends only on those."""
        missing = [command for command in (*commands, ("TIME",)) if command not in self._replies]
        if missing:
            self._replies.update(zip(missing, self._backend.read(missing), strict=True))

    def read(self, *command: Argument, check: bool = True) -> Reply:
        """Return the reply of a reading command.

        Args:
            command: The command and its arguments.
            check: Whether the step depends on the reply. False if the step stays correct when the reply changes.
        """
        if command not in self._replies:
            self.prefetch(command)
        if check:
            self._checked[command] = None
        return self._replies[command]

    def get(self, name: str) -> str:
        """Return a text; empty if there is none."""
        return text_of(self.read("GET", PREFIX + name))

    def write(self, *command: Argument) -> None:
        """Add a command to the changes."""
        self.commands.append(command)
