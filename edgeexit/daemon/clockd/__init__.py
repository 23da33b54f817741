"""clockd, the small process that alone may write a board's clocks, and how others ask it to.

* `messages`: what goes over its Unix socket; read it first;
* `handler`: answers messages and knows who holds the clocks: no sockets, no files;
* `board_clocks`, `watching`: the clocks, by a lease for as long as somebody holds them, and who gives them back if
  clockd is killed;
* `server`, `listening`, `access`, `pace`: connections, the socket's file, who may connect, how often they may ask;
* `running`: the process: signals, and what it tells systemd;
* `client`: a lease for a process that may not write clocks; `connection`, `standing`: what it is made of.

It imports nothing beyond what the clocks need: it may run as root.
"""
