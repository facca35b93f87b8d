"""``dobby dev``: the processes that it runs, and the guard in front of the web server."""
