"""Networks: one torch loop for all of them. Imported only when a network is trained or asked."""
