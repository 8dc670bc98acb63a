"""From a finished run to a bundle that the service loads: export, quantisation, outliers, and the gates to pass."""
