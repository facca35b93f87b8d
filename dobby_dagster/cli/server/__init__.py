"""``dobby dev``: the services it runs, and the guard before the web server."""
