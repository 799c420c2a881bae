"""Models of one's own behind the same interface as an endpoint: each served by a child process, on loopback."""
