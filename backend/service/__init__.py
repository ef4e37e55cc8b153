"""The server itself: sockets, who may connect, what is asked, where it logs; and the client for programs that wait."""
