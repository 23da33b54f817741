"""The files of systemd's services, as they ship; `edgeexit.daemon.service_files` fills them in."""
