"""From a finished run to a bundle: export, quantisation and the gates that it has to pass."""
