"""The interfaces between the core and everything around it, as Protocols, with the values that cross them."""
