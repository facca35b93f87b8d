"""Small files of which tests know what they hold."""

PYTHON = '''
@cache
def f(x):
    """Doc."""
    return x

# above the class
class A:
    """Doc of A."""
    limit = 3

    def m(self):
        def inner(): return 1
        return inner

    @property
    def m(self): return 2
'''

GO = """package a

// Read reads.
func (r *Reader[T]) Read(p []byte) (int, error) { return 0, nil }

type Reader struct { a int }

func F() {}
"""

MARKDOWN = "intro\n\n# A\n\ntext\n\n## B\n\nb text\n\n# C\n\n```\n# not a heading\n```\n"
