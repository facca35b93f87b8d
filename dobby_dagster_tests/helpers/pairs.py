"""Code with documentation, and pairs of both."""

from training.corpus.pair import Pair

PYTHON = '''
class A:
    """Keeps a sum below a limit."""

    def plain(self, x):
        """Return the sum of x and the limit.

        More about it.
        """
        return x + self.limit + 1000

    def short(self):
        """Too short."""
        return 1

@cache
def top(path):
    """Read the file at :class:`~os.path` and return its lines."""
    with open(path) as stream:
        return stream.readlines()
'''


def pair(
    code: str = "",
    summary: str = "",
    name: str = "f",
    project: str = "p",
    language: str = "python",
    kind: str = "function",
) -> Pair:
    return Pair(project, language, kind, name, code, "", 0, summary)
