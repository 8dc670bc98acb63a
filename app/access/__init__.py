"""Who may use the service: the file of API keys, the check of a key, and the addresses that need one."""
